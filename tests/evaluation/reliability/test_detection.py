import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneguard.evaluation import resampling
from pruneguard.evaluation.reliability.detection import Ranking, false_positives, newcombe


def ranking(inside, outside):
    return Ranking(np.array(inside, float), np.array(outside, float))


def area(inside, outside):
    return ranking(inside, outside).area


def test_the_area_of_a_known_ranking():
    # Of the six pairs, 0.9 > both, 0.7 > 0.1 and ties with 0.7, 0.3 > 0.1 only.
    assert area([0.9, 0.7, 0.3], [0.7, 0.1]) == pytest.approx((2 + 1.5 + 1) / 6)


def test_perfect_inverted_and_blind_scores():
    assert area([3, 4], [1, 2]) == 1
    assert area([1, 2], [3, 4]) == 0
    assert area([1, 1], [1, 1, 1]) == 0.5


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_the_area_counts_pairs(inside, outside):
    pairs = [(a > b) + (a == b) / 2 for a in inside for b in outside]
    one = ranking(inside, outside)
    assert one.area == pytest.approx(np.mean(pairs))
    assert one.components[1].mean() == pytest.approx(np.mean(pairs))


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth = 0.7602499389065233  # P(N(1, 1) > N(0, 1)) is the normal distribution at 1 / sqrt(2)
    hits = 0
    for _ in range(400):
        estimate = Ranking(rng.normal(1, 1, 80), rng.normal(0, 1, 60)).auroc()
        hits += estimate.low <= truth <= estimate.high
    assert 0.93 <= hits / 400 <= 0.99


def test_a_difference_on_the_same_rows_is_narrower_than_two_areas():
    rng = np.random.default_rng(1)
    inside, outside = rng.normal(1, 1, 200), rng.normal(0, 1, 200)
    first = Ranking(inside, outside)
    second = Ranking(inside + rng.normal(0, 0.1, 200), outside + rng.normal(0, 0.1, 200))
    drop, alone = first.auroc_minus(second), first.auroc()
    assert drop.high - drop.low < (alone.high - alone.low) / 2
    assert first.auroc_minus(first).high == 0


def test_an_area_of_one_is_not_certain():
    found = ranking(range(10, 60), range(10)).auroc()
    assert (found.value, found.high) == (1, 1)
    assert found.low == newcombe(1.0, 50, 10)[0] < 0.98
    # At the end of a score interval the distance is as many standard errors as the level says.
    truth, half = found.low, 29
    spread = truth * (1 - truth) * (1 + half * ((1 - truth) / (2 - truth) + truth / (1 + truth))) / 500
    assert 1 - truth == pytest.approx(1.959964 * math.sqrt(spread))


def test_few_rows_far_apart_cover_the_truth_where_delong_has_no_width():
    truth = 0.9976611325094764  # P(N(4, 1) > N(0, 1)) is the normal distribution at 4 / sqrt(2)
    rng = np.random.default_rng(2)
    found = [Ranking(rng.normal(4, 1, 60), rng.normal(0, 1, 40)).auroc() for _ in range(300)]
    assert np.mean([each.value == 1 for each in found]) > 0.1  # DeLong's interval would be a point
    assert np.mean([each.low <= truth <= each.high for each in found]) >= 0.95


def test_two_areas_of_one_are_not_surely_equal():
    first, second = ranking([5, 6, 7, 8], [1, 2, 3]), ranking([6, 9, 8, 8], [0, 2, 1])
    found = first.auroc_minus(second)
    assert found.value == 0
    assert found.low == -found.high == first.auroc().low - 1


def test_one_row_of_a_kind_has_an_interval():
    found = ranking([2], [1]).auroc()
    assert (found.value, found.high) == (1, 1)
    assert found.low < 0.5


def test_a_score_that_is_not_finite_leaves_everything_unknown():
    broken, whole = ranking([1, math.nan], [0, 0.5]), ranking([1, 2], [0, 0.5])
    found = [broken.auroc(), whole.auroc_minus(broken), *false_positives([(broken, whole)], seed=0)[0]]
    assert all(math.isnan(each.value) and each.high is None and each.n == 4 for each in found)


# -- at the threshold that keeps 95 % -------------------------------------------------------------------------------


def test_false_positives_by_hand():
    # Of 20 rows one may be lost: the threshold is the second lowest score, 2; a tie passes.
    one = ranking(range(1, 21), [0, 1, 2, 3])
    other = ranking(range(1, 21), [0, 1, 1, 30])
    assert list(one.admitted) == [False, False, True, True]
    rate, twin_rate, increase = false_positives([(one, other)], seed=0)[0]
    assert (rate.value, twin_rate.value, increase.value) == (0.5, 0.25, 0.25)


def test_no_outlier_that_passes_is_not_a_promise():
    perfect = ranking(range(100, 200), range(40))
    rate, _, increase = false_positives([(perfect, ranking(range(100, 200), range(40)))], seed=0)[0]
    assert (rate.value, rate.low) == (0, 0)
    assert rate.high == pytest.approx(1 - 0.025 ** (1 / 40))
    assert increase.low == -increase.high < -0.05


def test_a_model_passes_no_more_than_itself():
    one = ranking(np.random.default_rng(0).normal(1, 1, 50), np.random.default_rng(1).normal(0, 1, 50))
    increase = false_positives([(one, one)], seed=0)[0][2]
    assert (increase.low, increase.value, increase.high) == (0, 0, 0)


def test_the_interval_of_the_rate_covers_the_truth_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(resampling, "RESAMPLES", 400)
    rng = np.random.default_rng(3)
    truth = 0.3612423  # P(N(0, 1) >= 2 - 1.644854)
    hits = 0
    for seed in range(100):
        one = Ranking(rng.normal(2, 1, 150), rng.normal(0, 1, 80))
        rate = false_positives([(one, one)], seed=seed)[0][0]
        hits += rate.low <= truth <= rate.high
    assert hits >= 90


def test_the_resamples_thresholds_are_those_of_the_drawn_rows():
    rng = np.random.default_rng(4)
    one = Ranking(rng.normal(2, 1, 400), rng.normal(0, 1, 30))
    inside, outside = (rng.multinomial(n, np.full(n, 1 / n), size=5).T.astype(float) for n in (400, 30))
    expected = [
        Ranking(np.repeat(one.inside, i.astype(int)), np.repeat(one.outside, o.astype(int))).admitted.mean()
        for i, o in zip(inside.T, outside.T, strict=True)
    ]
    assert one.admitted_share(inside, outside) == pytest.approx(expected)
