import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneguard.evaluation import ood
from pruneguard.evaluation.ood import Ranking


def area(inside, outside):
    return Ranking.of(np.array(inside, float), np.array(outside, float)).area


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
    ranking = Ranking.of(np.array(inside, float), np.array(outside, float))
    assert ranking.area == pytest.approx(np.mean(pairs))
    assert ranking.outside.mean() == pytest.approx(np.mean(pairs))


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth = 0.7602499389065233  # P(N(1, 1) > N(0, 1)) is the normal distribution at 1 / sqrt(2)
    hits = 0
    for _ in range(400):
        estimate = Ranking.of(rng.normal(1, 1, 80), rng.normal(0, 1, 60)).estimate()
        hits += estimate.low <= truth <= estimate.high
    assert 0.92 <= hits / 400 <= 0.98


def test_a_difference_on_the_same_rows_is_narrower_than_two_areas():
    rng = np.random.default_rng(1)
    inside, outside = rng.normal(1, 1, 200), rng.normal(0, 1, 200)
    first = Ranking.of(inside, outside)
    second = Ranking.of(inside + rng.normal(0, 0.1, 200), outside + rng.normal(0, 0.1, 200))
    drop, alone = first.minus(second), first.estimate()
    assert drop.high - drop.low < (alone.high - alone.low) / 2
    assert first.minus(first).value == 0


def test_energy_and_confidence_by_hand():
    logits = np.log(np.array([[1.0, 3.0], [2.0, 2.0]])).astype(np.float32)
    assert ood.energy(logits) == pytest.approx([np.log(4), np.log(4)])
    assert ood.confidence(logits) == pytest.approx([0.75, 0.5])


def test_a_score_that_is_not_finite_leaves_the_area_unknown():
    estimate = Ranking.of(np.array([1.0, np.nan]), np.array([0.0, 0.5])).estimate()
    assert math.isnan(estimate.value)
    assert estimate.high is None
    assert np.isnan(ood.energy(np.array([[np.inf, 0.0]], np.float32))).all()


def test_without_outliers_nothing_is_measured(pair, digits):
    logits = pair.logits(digits.gate.x)
    assert ood.measure(pair, logits, None) == {}
    assert ood.measure(pair, logits, digits.outliers[:0]) == {}


def test_networks_are_less_sure_of_noise_than_of_digits(pair, digits):
    found = ood.measure(pair, pair.logits(digits.gate.x), digits.outliers)
    assert found["ood.twin_auroc"].low > 0.6
    drop = found["ood.twin_auroc"].value - found["ood.auroc"].value
    assert found["ood.auroc_drop"].value == pytest.approx(drop)
    assert found["ood.auroc"].n == len(digits.gate) + len(digits.outliers)
