import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneguard.evaluation.reliability import calibration
from pruneguard.evaluation.sessions import probabilities

# Fewer rows than bins: every row is a bin of its own. Confidences 0.9 0.8 0.6 0.7; right, wrong, right, wrong.
P = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
Y = np.array([0, 0, 0, 0], np.int64)


def logits(p):
    return np.log(p).astype(np.float32)


def error(statements):
    return float(statements.error(np.ones((statements.n, 1)))[0])


def test_the_error_of_four_rows_by_hand():
    assert error(calibration.best(P, Y)) == pytest.approx((0.1 + 0.8 + 0.4 + 0.7) / 4)


def test_bins_hold_equally_many_rows_in_the_order_of_confidence():
    # 30 rows, two a bin: confidences 0.60 .. 0.89; in every bin the first is right and the second wrong.
    confidence = 0.6 + np.arange(30) / 100
    p = np.stack([confidence, 1 - confidence], axis=1)
    y = np.tile([0, 1], 15).astype(np.int64)
    shuffled = np.random.default_rng(0).permutation(30)
    expected = np.mean([abs(0.5 - pair.mean()) for pair in confidence.reshape(15, 2)])
    assert error(calibration.best(p[shuffled], y[shuffled])) == pytest.approx(expected)


def test_the_brier_score_by_hand():
    assert calibration.brier_scores(P, Y) == pytest.approx([0.02, 1.28, 0.32, 0.98])
    found = calibration.measure(logits(P), logits(P), Y, seed=0)
    assert found["calibration.brier"].value == pytest.approx(0.65)


def test_a_model_compared_with_itself_increases_nothing():
    found = calibration.measure(logits(P), logits(P), Y, seed=0)
    assert found["calibration.brier_increase"].value == found["calibration.ece_increase"].value == 0
    assert (found["calibration.brier_increase"].low, found["calibration.brier_increase"].high) == (0, 0)


def unsliced(found):
    return [name for name in found if ".slice." not in name]


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
        assert set(found) == set(unsliced(calibration.measure(logits(P), logits(P), Y, seed=0)))
        assert all(math.isnan(m.value) and m.high is None for m in found.values())


def test_what_chance_alone_shows_is_what_honest_models_show():
    honest, _, y = _sure(600, temperature=1.0, seed=4)
    p = probabilities(honest)
    for statements in (calibration.best(p, y), calibration.every(p, y)):
        rng = np.random.default_rng(0)
        drawn = [error(replace(statements, came_true=rng.random(len(y_)) < y_)) for y_ in [statements.stated] * 200]
        assert statements.chance == pytest.approx(np.mean(drawn), rel=0.1)


def test_errors_that_cancel_over_the_classes_are_seen_class_by_class(monkeypatch):
    monkeypatch.setattr(calibration, "STATEMENTS_MIN", 100)
    # Both classes are chosen with 80 %: right in all rows of one and in 60 % of the other's.
    p = np.repeat([[0.8, 0.2], [0.2, 0.8]], 100, axis=0)
    y = np.repeat([0, 1], 100).astype(np.int64)
    y[100:140] = 0
    assert error(replace(calibration.best(p, y), bins=np.zeros(200, np.int64))) == pytest.approx(0)
    # Class 0: stated 0.8 comes true in all, stated 0.2 in 40 %; class 1 likewise.
    assert error(calibration.every(p, y)) == pytest.approx(0.2)


def test_a_probability_that_says_next_to_nothing_is_no_statement():
    p = np.array([[0.985, 0.01, 0.005]])
    assert list(calibration.every(p, np.array([0])).stated) == [0.985]


def test_the_curve_names_every_bin_by_its_confidence_and_counts_all_rows():
    honest, _, y = _sure(300, temperature=1.0, seed=5)
    found = calibration.measure(honest, honest, y, seed=0)
    curve = {name: m for name, m in found.items() if name.startswith("calibration.reliability.slice.confidence=")}
    assert len(curve) == calibration.BINS
    assert sum(m.n for m in curve.values()) == 300
    heights = np.array([float(name.rpartition("=")[2]) for name in curve])
    gaps = [abs(m.value - height) * m.n / 300 for m, height in zip(curve.values(), heights, strict=True)]
    assert sum(gaps) == pytest.approx(found["calibration.ece"].value, abs=1e-4)


def test_bins_that_would_read_alike_are_one_point_of_the_curve():
    sure = logits(np.tile([1 - 1e-6, 1e-6], (60, 1)))
    found = calibration.measure(sure, sure, np.zeros(60, np.int64), seed=0)
    assert found["calibration.reliability.slice.confidence=1.0000"].n == 60


@given(st.integers(1, 80), st.integers(0, 10**6))
def test_errors_and_scores_stay_in_their_range(n, seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(3), size=n)
    y = rng.integers(3, size=n)
    assert 0 <= error(calibration.best(p, y)) <= 1
    assert 0 <= error(calibration.every(p, y)) <= 1
    assert ((calibration.brier_scores(p, y) >= 0) & (calibration.brier_scores(p, y) <= 2)).all()
