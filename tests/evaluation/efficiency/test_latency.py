import numpy as np
import pytest

from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.efficiency import latency
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


def test_the_ratio_of_tails_by_hand():
    """The third longest of 300 answers is the one that one in a hundred reaches."""
    ours = np.concatenate([np.ones(297), [6.0, 8.0, 50.0]])
    theirs = np.concatenate([[90.0, 5.0, 3.0], np.ones(297)])
    estimate = latency.ratio_of_tails(np.stack([ours, theirs], axis=1), seed=0)
    assert (estimate.value, estimate.n) == (6 / 3, 300)
    assert estimate.low <= 1 / 5 < 6 <= estimate.high


def test_the_interval_of_tails_is_that_of_drawing_answers_again():
    rng = np.random.default_rng(0)
    taken = np.stack([rng.lognormal(0.5, 0.3, 1000), rng.lognormal(0.0, 0.3, 1000)], axis=1)
    drawn = [taken[rng.integers(1000, size=(2000, 1000)), side] for side in (0, 1)]
    tails = [np.sort(each, axis=1)[:, -10] for each in drawn]
    low, high = np.quantile(tails[0] / tails[1], [0.025, 0.975])
    estimate = latency.ratio_of_tails(taken, seed=0)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), rel=0.03)


def test_a_few_answers_have_no_tail():
    few = latency.ratio_of_tails(np.ones((latency.ANSWERS_MIN - 1, 2)), seed=0)
    assert np.isnan(few.value)
    assert (few.high, few.n) == (None, latency.ANSWERS_MIN - 1)
    assert latency.ratio_of_tails(np.ones((latency.ANSWERS_MIN, 2)), seed=0).value == 1


def test_the_twin_is_not_raced_against_itself(twin, digits):
    for name in latency.BATCHES:
        found = latency.measure(Pair.load(twin, twin, classes=10), digits.gate.x, name=name, seed=0)
        assert found == dict.fromkeys((name, f"{name}.p99"), Estimate(1.0, 1.0, 1.0, 0))


@pytest.mark.parametrize("name", ["efficiency.latency_ratio", "efficiency.latency_ratio_b64"])
def test_a_network_with_a_hundred_times_the_work_is_slower(name):
    rng = np.random.default_rng(0)
    small, large = (linear(rng.normal(size=(4000, width))) for width in (2, 800))
    # The classes differ, so the pair is put together by hand; latency does not look at answers.
    pair = Pair(large, small, latency.Session(large.onnx), latency.Session(small.onnx))
    rows = rng.random((3, 4000)).astype(np.float32)
    estimate = latency.measure(pair, rows, name=name, seed=0)[name]
    assert estimate.low > 1.5
    assert latency.ROUNDS_MIN <= estimate.n <= latency.ROUNDS_MAX


def test_slow_networks_are_timed_once_at_least(pair, digits, monkeypatch):
    monkeypatch.setattr(latency, "SECONDS_MAX", 0.0)
    single = latency.answers(pair.candidate_session, pair.twin_session, digits.gate.x[:1])
    assert single.shape == (1, 2)
    assert (single > 0).all()


def test_few_rows_are_repeated_to_fill_a_batch(monkeypatch, pair, digits):
    sizes = []
    for timed in ("rounds", "answers"):
        monkeypatch.setattr(latency, timed, lambda ours, theirs, batch: sizes.append(len(batch)) or np.ones((300, 2)))
    for name in latency.BATCHES:
        for estimate in latency.measure(pair, digits.gate.x[:10], name=name, seed=0).values():
            assert estimate.value == 1
    assert sizes == [1, 1, 8, 8, 64, 64, 256, 256]
