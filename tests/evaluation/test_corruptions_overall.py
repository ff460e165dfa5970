import math

import numpy as np
import pytest

from pruneguard.evaluation.corruptions.overall import excess_error, relative_error

# Rows of four, two families each; 1 is wrong.
OURS = np.array([[1, 1], [1, 0], [0, 0], [0, 1]], bool)
TWIN = np.array([[1, 0], [0, 0], [0, 1], [0, 0]], bool)
CLEAN, TWIN_CLEAN = np.array([1, 0, 0, 0], bool), np.array([0, 0, 0, 0], bool)


def test_the_relative_error_is_all_errors_over_all_of_the_twins_by_hand():
    found = relative_error(OURS, TWIN)
    assert (found.value, found.n) == (4 / 2, 4)
    each = np.array([2 / 1 - 1 / 0.5, 1, -1 / 0.5, 1])
    assert math.log(found.high / 2) == pytest.approx(1.96 * each.std(ddof=1) / 2, rel=1e-4)
    assert found.high / found.value == pytest.approx(found.value / found.low)


def test_a_twin_has_its_own_errors_exactly():
    rng = np.random.default_rng(0)
    wrong = rng.random((300, 12)) < 0.3
    found = relative_error(wrong, wrong)
    assert found.value == found.low == found.high == 1
    clean = rng.random(300) < 0.1
    excess = excess_error(wrong, wrong, clean, clean)
    assert excess.value == excess.low == excess.high == 0


def test_without_an_error_of_the_twin_or_without_rows_nothing_is_known():
    for few in (relative_error(OURS, TWIN & False), relative_error(OURS[:1], TWIN[:1])):
        assert math.isnan(few.value)
        assert few.high is None
    assert math.isnan(excess_error(OURS[:1], TWIN[:1], CLEAN[:1], TWIN_CLEAN[:1]).value)


def test_no_error_at_all_is_no_proof_that_there_is_none():
    found = relative_error(OURS & False, TWIN)
    assert found.value == found.low == 0
    assert found.to_document()["high"] is None


def test_the_excess_error_is_what_damage_adds_by_hand():
    found = excess_error(OURS, TWIN, CLEAN, TWIN_CLEAN)
    assert found.value == (4 / 8 - 2 / 8) - (1 / 4 - 0)
    each = np.array([0.5 - 1, 0.5, -0.5, 0.5])
    assert found.high - found.value == pytest.approx(1.96 * each.std(ddof=1) / 2, rel=1e-4)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_the_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(2)
    related = added = 0
    for _ in range(1000):
        hard = 0.3 * rng.random((200, 1))  # what is hard for one is hard for the other, in every family
        ours, theirs = rng.random((200, 12)) < 1.4 * hard, rng.random((200, 12)) < hard
        clean, twin_clean = (rng.random(200) < 0.5 * hard[:, 0] for _ in range(2))
        ratio, excess = relative_error(ours, theirs), excess_error(ours, theirs, clean, twin_clean)
        related += ratio.low <= 1.4 <= ratio.high
        added += excess.low <= 0.4 * 0.15 <= excess.high
    assert 930 <= related <= 970
    assert 930 <= added <= 970
