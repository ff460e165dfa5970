import numpy as np
import pytest

from pruneguard.evaluation.efficiency import cost, latency


def test_energy_and_price_follow_from_processor_time_as_stated(monkeypatch, pair, digits):
    taken = np.array([[0.001, 9.0], [0.003, 9.0], [0.002, 9.0]])  # the twin's column is not the candidate's cost
    monkeypatch.setattr(latency, "answers", lambda ours, theirs, batch: taken)
    found = cost.measure(pair, digits.gate.x)
    seconds, energy, dollars = (found[f"efficiency.cost.{name}"] for name in ("cpu", "energy", "dollars"))
    assert (seconds.value, seconds.unit, seconds.n) == (pytest.approx(2.0), "s", 3)
    assert (energy.value, energy.unit) == (pytest.approx(20.0), "J")
    assert (dollars.value, dollars.unit) == (pytest.approx(2.0 * 0.04 / 3600), "USD")
    assert seconds.high - seconds.value == pytest.approx(1.96 * taken[:, 0].std() / 3**0.5 * 1000)
    assert "10 W and 0.04 dollars" in cost.METHOD
    assert "not metered" in cost.METHOD


def test_a_networks_answers_cost_something_surely(pair, digits, quick):
    for name, estimate in cost.measure(pair, digits.gate.x).items():
        assert 0 < estimate.low <= estimate.value <= estimate.high, name
