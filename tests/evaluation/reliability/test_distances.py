import numpy as np
import pytest

from pruneguard.evaluation.reliability import distances

# Two classes around (0, 0) and (10, 0); both spread four times as far upwards as sideways.
AROUND = np.array([[1, 0], [-1, 0], [0, 4], [0, -4]], np.float32)
KNOWN = np.concatenate([AROUND, AROUND + np.float32([10, 0])])
LABELS = np.repeat([3, 7], 4)


def test_the_distance_is_in_units_of_the_spread_of_each_direction():
    rows = np.array([[0, 0], [10, 0], [2, 0], [0, 8]], np.float32)
    found = distances.mahalanobis(KNOWN, LABELS, rows)
    assert found[:2] == pytest.approx([0, 0], abs=1e-9)
    # Variances: 2 / 4 sideways, 32 / 4 upwards, and a thousandth of their mean.
    ridge = 1e-3 * (0.5 + 8) / 2
    assert found[2:] == pytest.approx([-4 / (0.5 + ridge), -64 / (8 + ridge)])


def test_a_channel_that_is_silent_in_training_counts_where_it_speaks():
    silent = np.hstack([KNOWN, np.zeros((8, 1), np.float32)])
    quiet, loud = distances.mahalanobis(silent, LABELS, np.array([[0, 0, 0], [0, 0, 1]], np.float32))
    assert quiet == pytest.approx(0, abs=1e-9)
    assert loud < -100


def test_features_that_never_vary_have_distances_still():
    level = np.ones((4, 2), np.float32)
    found = distances.mahalanobis(level, np.array([0, 0, 1, 1]), np.array([[1, 1], [1, 3]], np.float32))
    assert found == pytest.approx([0, -4])


def test_what_is_not_finite_is_no_score():
    broken = KNOWN.copy()
    broken[0, 0] = np.nan
    assert np.isnan(distances.mahalanobis(broken, LABELS, KNOWN)).all()
    assert np.isnan(distances.nearest_neighbour(KNOWN, broken[:1])).all()


def test_the_neighbour_is_the_tenth_nearest_by_angle():
    angles = np.arange(30) / 30
    known = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    rows = np.array([[5, 0], [0, 0]], np.float32)
    found = distances.nearest_neighbour(known, rows)
    assert found == pytest.approx([np.cos(angles[distances.NEIGHBOUR - 1]), 0])
    assert distances.nearest_neighbour(known[:2], rows[:1]) == pytest.approx([np.cos(angles[1])])


def test_rows_are_compared_in_pieces_with_the_same_result(monkeypatch):
    rng = np.random.default_rng(0)
    known, rows = rng.normal(size=(40, 5)).astype(np.float32), rng.normal(size=(25, 5)).astype(np.float32)
    whole = distances.nearest_neighbour(known, rows)
    monkeypatch.setattr(distances, "_CHUNK", 4)
    assert distances.nearest_neighbour(known, rows) == pytest.approx(whole)
