import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneguard.evaluation import calibration

# Fewer rows than bins: every row is a bin of its own. Confidences 0.9 0.8 0.6 0.7; right, wrong, right, wrong.
P = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
Y = np.array([0, 0, 0, 0], np.int64)


def logits(p):
    return np.log(p).astype(np.float32)


def test_the_error_of_four_rows_by_hand():
    assert calibration.ece_of(P, Y) == pytest.approx((0.1 + 0.8 + 0.4 + 0.7) / 4)


def test_bins_hold_equally_many_rows_in_the_order_of_confidence():
    # 30 rows, two a bin: confidences 0.60 .. 0.89; in every bin the first is right and the second wrong.
    confidence = 0.6 + np.arange(30) / 100
    p = np.stack([confidence, 1 - confidence], axis=1)
    y = np.tile([0, 1], 15).astype(np.int64)
    shuffled = np.random.default_rng(0).permutation(30)
    expected = np.mean([abs(0.5 - pair.mean()) for pair in confidence.reshape(15, 2)])
    assert calibration.ece_of(p[shuffled], y[shuffled]) == pytest.approx(expected)


def test_the_brier_score_by_hand():
    assert calibration.brier_scores(P, Y) == pytest.approx([0.02, 1.28, 0.32, 0.98])
    found = calibration.measure(logits(P), logits(P), Y, seed=0)
    assert found["calibration.brier"].value == pytest.approx(0.65)


def test_a_model_compared_with_itself_increases_nothing():
    found = calibration.measure(logits(P), logits(P), Y, seed=0)
    assert found["calibration.brier_increase"].value == found["calibration.ece_increase"].value == 0
    assert (found["calibration.brier_increase"].low, found["calibration.brier_increase"].high) == (0, 0)


def _sure(n, *, temperature, seed):
    """Labels drawn from the softmax of some logits, and the logits divided by a temperature."""
    rng = np.random.default_rng(seed)
    z = 2 * rng.normal(size=(n, 4))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    y = np.array([rng.choice(4, p=row) for row in p])
    return (z / temperature).astype(np.float32), z.astype(np.float32), y


def test_overconfidence_is_found_and_its_interval_excludes_none():
    overconfident, honest, y = _sure(2000, temperature=0.4, seed=1)
    found = calibration.measure(overconfident, honest, y, seed=0)
    assert found["calibration.ece_increase"].low > 0.05
    assert found["calibration.brier_increase"].low > 0


def test_chance_is_not_taken_for_miscalibration():
    honest, _, y = _sure(300, temperature=1.0, seed=2)
    error = calibration.measure(honest, honest, y, seed=0)["calibration.ece"]
    assert error.value > 0.02  # what the bins show by chance
    assert error.low == 0


def test_the_same_seed_gives_the_same_intervals():
    first, second, y = _sure(200, temperature=0.7, seed=3)
    assert calibration.measure(first, second, y, seed=5) == calibration.measure(first, second, y, seed=5)
    assert calibration.measure(first, second, y, seed=5) != calibration.measure(first, second, y, seed=6)


def test_answers_that_are_not_finite_leave_every_number_unknown():
    broken = logits(P)
    broken[2, 0] = np.inf
    for pair in ((broken, logits(P)), (logits(P), broken)):
        found = calibration.measure(*pair, Y, seed=0)
        assert len(found) == 5
        assert all(math.isnan(m.value) and m.high is None for m in found.values())


@given(st.integers(1, 80), st.integers(0, 10**6))
def test_errors_and_scores_stay_in_their_range(n, seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(3), size=n)
    y = rng.integers(3, size=n)
    assert 0 <= calibration.ece_of(p, y) <= 1
    assert ((calibration.brier_scores(p, y) >= 0) & (calibration.brier_scores(p, y) <= 2)).all()
