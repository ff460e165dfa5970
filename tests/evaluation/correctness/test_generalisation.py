import math
from dataclasses import replace

import numpy as np
import pytest

from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.correctness import generalisation
from pruneguard.evaluation.estimates import difference, minus
from pruneguard.evaluation.yardstick import Yardstick
from pruneguard.evidence import Estimate
from pruneguard.workload import Split
from tests.evaluation.small import linear

SIGN = [[-4.0, 4.0]]
"""Class 1 above zero."""


def split(*rows):
    values, labels = zip(*rows, strict=True)
    return Split(np.array(values, np.float32)[:, None], np.array(labels, np.int64))


def measured(candidate, twin, fresh, train):
    pair = Pair.load(linear(candidate), linear(twin), classes=2)
    return generalisation.measure(pair, pair.logits(fresh.x), fresh, train, seed=0)


def test_the_gap_is_accuracy_on_training_rows_minus_accuracy_on_fresh_ones():
    train = split((1, 1), (-1, 0), (2, 1), (-2, 0))
    fresh = split((1, 1), (-1, 0), (2, 1), (-2, 1))
    found = measured(SIGN, [[4.0, -4.0]], fresh, train)
    values = {name.removeprefix("generalisation."): m.value for name, m in found.items()}
    assert values == {"gap": 0.25, "twin_gap": -0.25, "gap_increase": 0.5}
    assert found["generalisation.gap"].n == 8


def test_a_model_against_itself_widens_nothing():
    rows = split((1, 1), (-1, 0))
    found = measured(SIGN, SIGN, rows, rows)["generalisation.gap_increase"]
    assert found.value == 0
    assert found.low < 0 < found.high  # two rows prove nothing


def test_no_more_training_rows_are_asked_than_the_split_has(pair, digits):
    few = digits.gate.taken(np.arange(100))
    answers, asked = pair.logits(few.x), []
    counting = replace(pair, twin_session=Counting(pair.twin_session, asked), yardstick=Yardstick())
    found = generalisation.measure(counting, answers, few, digits.train, seed=1)
    assert asked == [100]
    assert found["generalisation.gap"].n == 200
    assert generalisation.measure(counting, answers, few, digits.train, seed=1) == found
    assert asked == [100]  # the same rows for the next candidate


class Counting:
    def __init__(self, session, asked):
        self._session, self._asked = session, asked

    def logits(self, x):
        self._asked.append(len(x))
        return self._session.logits(x)


def test_the_interval_of_a_difference_by_hand():
    found = minus(Estimate(0.9, 0.86, 0.93, 100), Estimate(0.8, 0.77, 0.84, 50))
    assert found.value == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1 - math.hypot(0.04, 0.04))
    assert found.high == pytest.approx(0.1 + math.hypot(0.03, 0.03))
    assert found.n == 150


def test_the_difference_from_nothing_known_is_unknown():
    assert math.isnan(minus(Estimate(0.9, 0.8, 1.0, 10), Estimate(math.nan, n=0)).value)


def test_the_interval_of_the_increase_covers_the_truth_as_often_as_it_says():
    # On training rows the candidate is right in 99 % and its twin in 97 %, on fresh ones in 90 % and 93 %.
    rng = np.random.default_rng(0)

    def table(n, ours, theirs):
        common = rng.random(n)
        return generalisation.paired(np.where(rng.random(n) < 0.8, common, rng.random(n)) < ours, common < theirs)

    hits = 0
    for _ in range(300):
        estimate = minus(difference(table(300, 0.99, 0.97), alpha=0.05), difference(table(300, 0.9, 0.93), alpha=0.05))
        hits += estimate.low <= 0.05 <= estimate.high
    assert hits / 300 >= 0.92
