import math

import numpy as np
import pytest

from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.security import membership
from pruneguard.evidence import PairedTable
from pruneguard.statistics import clopper_pearson, tango_lower, tango_upper
from pruneguard.workload import Split
from tests.evaluation.small import linear

EYE = linear(np.eye(2))  # logits are the row itself
HALF = linear(np.eye(2) / 2)  # the same answers, less sure


def rows(margins) -> Split:
    """One row per margin, all of class 0: logit 0 is the margin, logit 1 nothing."""
    margins = np.asarray(margins, np.float32)
    return Split(np.stack([margins, 0 * margins], axis=1), np.zeros(len(margins), np.int64))


def measured(candidate, twin, *, train, split):
    pair = Pair.load(candidate, twin, classes=2)
    return membership.measure(pair, pair.logits(split.x), split, train, seed=0)


def test_rows_that_were_learnt_by_heart_are_told_from_others_by_their_loss():
    found = measured(EYE, EYE, train=rows([5.0] * 50), split=rows([1.0] * 50))
    assert found["membership.advantage"].value == 1
    assert found["membership.advantage"].n == 100
    assert found["membership.advantage_increase"].value == 0


def test_an_advantage_is_a_difference_of_shares_by_hand():
    # 9 of 10 members called so, 6 of 10 others; the bounds are those of two independent shares.
    called = membership.Called(np.arange(10) < 9, np.arange(10) < 6)
    (low, high), (other_low, other_high) = clopper_pearson(9, 10, alpha=0.05), clopper_pearson(6, 10, alpha=0.05)
    advantage = called.advantage()
    assert advantage.value == pytest.approx(0.3)
    assert advantage.low == pytest.approx(0.3 - math.hypot(0.9 - low, other_high - 0.6))
    assert advantage.high == pytest.approx(0.3 + math.hypot(high - 0.9, 0.6 - other_low))


def test_the_increase_is_paired_on_the_same_rows():
    ours = membership.Called(np.arange(40) < 30, np.arange(40) < 20)
    theirs = membership.Called(np.arange(40) >= 30, np.arange(40) >= 20)
    inside, outside = PairedTable(0, 30, 10, 0), PairedTable(0, 20, 20, 0)
    increase = ours.minus(theirs)
    assert increase.value == pytest.approx(0.5)  # (30 - 10) / 40 - (20 - 20) / 40
    low, other_high = tango_lower(inside, alpha=0.025), tango_upper(outside, alpha=0.025)
    assert increase.low == pytest.approx(0.5 - math.hypot(0.5 - low, other_high))


def test_a_threshold_is_not_judged_by_the_rows_it_was_chosen_on():
    """Without any memory the best threshold of a sample looks good on that sample, and not on another."""
    rng = np.random.default_rng(0)
    values = []
    for _ in range(20):
        train, split = rows(rng.normal(size=30)), rows(rng.normal(size=30))
        estimate = measured(EYE, EYE, train=train, split=split)["membership.advantage"]
        assert estimate.low < 0 < estimate.high
        values.append(estimate.value)
    assert abs(np.mean(values)) < 0.06  # choosing and judging on the same rows gives 0.2


def test_a_temperature_changes_no_ranking_and_so_no_advantage():
    rng = np.random.default_rng(1)
    found = measured(HALF, EYE, train=rows(rng.normal(2, 1, 60)), split=rows(rng.normal(0, 1, 90)))
    assert found["membership.advantage"] == found["membership.twin_advantage"]
    assert found["membership.advantage"].low > 0.2
    increase = found["membership.advantage_increase"]
    assert increase.value == 0
    assert increase.low < 0 < increase.high  # no disagreement on 120 rows is no proof that there is none


def test_as_many_rows_are_drawn_on_either_side():
    found = measured(EYE, EYE, train=rows(np.ones(50)), split=rows(np.ones(8)))
    assert {each.n for each in found.values()} == {16}


@pytest.mark.parametrize("train", [rows([1.0]), rows([])])
def test_too_few_rows_tell_nothing(train):
    found = measured(EYE, EYE, train=train, split=rows([1.0, 2.0]))
    assert set(found) == {f"membership.{name}" for name in membership.NAMES}
    assert all(math.isnan(each.value) for each in found.values())


def test_answers_that_are_no_numbers_tell_nothing():
    broken = linear([[math.nan, 0.0], [0.0, 0.0]])
    found = measured(broken, EYE, train=rows([1.0] * 5), split=rows([1.0] * 5))
    assert all(math.isnan(each.value) for each in found.values())


def test_nobody_right_and_all_alike_is_no_advantage():
    found = measured(EYE, EYE, train=rows([-1.0] * 9), split=rows([-1.0] * 9))
    assert found["membership.advantage"].value == 0
