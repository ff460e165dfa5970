import numpy as np
import pytest

from pruneguard.evaluation import latency
from pruneguard.evaluation.contender import Pair
from pruneguard.evidence import Estimate
from tests.evaluation.small import linear


def test_the_ratio_of_medians_by_hand():
    taken = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0], [100.0, 4.0], [2.0, 4.0]])
    estimate = latency.ratio_of_medians(taken, seed=0)
    assert (estimate.value, estimate.n) == (2 / 4, 5)
    assert estimate.low <= 0.5 <= estimate.high


def test_the_same_ratio_in_every_round_has_no_width():
    taken = np.array([[1.0, 2.0]] * 20)
    assert latency.ratio_of_medians(taken, seed=0) == Estimate(0.5, 0.5, 0.5, 20)


def test_the_twin_is_not_raced_against_itself(twin, digits):
    for name in latency.BATCHES:
        found = latency.measure(Pair.load(twin, twin, classes=10), digits.gate.x, name=name, seed=0)
        assert found == {name: Estimate(1.0, 1.0, 1.0, 0)}


def test_a_network_with_a_hundred_times_the_work_is_slower():
    rng = np.random.default_rng(0)
    small, large = (linear(rng.normal(size=(4000, width))) for width in (2, 800))
    # The classes differ, so the pair is put together by hand; latency does not look at answers.
    pair = Pair(large, small, latency.Session(large.onnx), latency.Session(small.onnx))
    rows = rng.random((3, 4000)).astype(np.float32)
    assert set(latency.BATCHES) == {"efficiency.latency_ratio", "efficiency.latency_ratio_b64"}
    for name in latency.BATCHES:
        (estimate,) = latency.measure(pair, rows, name=name, seed=0).values()
        assert estimate.low > 1.5
        assert latency.ROUNDS_MIN <= estimate.n <= latency.ROUNDS_MAX


def test_few_rows_are_repeated_to_fill_a_batch(monkeypatch, pair, digits):
    sizes = []
    monkeypatch.setattr(latency, "rounds", lambda ours, theirs, batch: sizes.append(len(batch)) or np.ones((3, 2)))
    for name in latency.BATCHES:
        found = latency.measure(pair, digits.gate.x[:10], name=name, seed=0)
        assert found[name].value == pytest.approx(1)
    assert sizes == [1, 64]
