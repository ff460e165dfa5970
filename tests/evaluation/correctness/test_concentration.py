import math

import numpy as np
import pytest

from pruneguard.evaluation.correctness import concentration
from pruneguard.evidence import Estimate
from pruneguard.statistics import clopper_pearson

NAME = "quality.flips_concentration"


def rows(n, *inside):
    mask = np.zeros(n, bool)
    mask[list(inside)] = True
    return mask


def test_a_group_with_half_of_the_changes_and_a_fifth_of_the_rows(monkeypatch):
    monkeypatch.setattr(concentration, "ROWS_MIN", 10)
    changed, group = rows(50, 0, 1, 2, 30, 40, 45), rows(50, *range(10))
    found = concentration.measure(changed, [("site=a", group)], alpha=0.05)
    low, high = clopper_pearson(3, 6, alpha=0.05)
    assert found[NAME] == Estimate(2.5, pytest.approx(5 * low), pytest.approx(5 * high), 50)
    assert found[f"{NAME}.slice.site=a"] == Estimate(2.5, pytest.approx(5 * low), pytest.approx(5 * high), 10)


def test_a_group_with_all_changes_and_one_with_none():
    changed = rows(200, 1, 2)
    found = concentration.measure(changed, groups(200), alpha=0.05)
    assert (found[f"{NAME}.slice.site=a"].value, found[f"{NAME}.slice.site=a"].high) == (2, 2)
    assert (found[f"{NAME}.slice.site=b"].value, found[f"{NAME}.slice.site=b"].low) == (0, 0)


def groups(n):
    return [("site=a", np.arange(n) < n // 2), ("site=b", np.arange(n) >= n // 2), ("rare=x", rows(n, 0, 1))]


def test_the_largest_concentration_is_named_for_all_groups_at_once():
    changed = rows(200, *range(30), 150)
    found = concentration.measure(changed, groups(200), alpha=0.05)
    assert set(found) == {NAME, f"{NAME}.slice.site=a", f"{NAME}.slice.site=b"}  # two rows show nothing
    most, worst = found[NAME], found[f"{NAME}.slice.site=a"]
    assert most.value == worst.value == pytest.approx(2 * 30 / 31)
    assert most.low < worst.low  # two groups were looked at
    assert most.low == pytest.approx(2 * clopper_pearson(30, 31, alpha=0.025)[0])
    assert most.n == 200


def test_where_nothing_changed_nothing_is_concentrated_and_everything_is_open():
    found = concentration.measure(np.zeros(200, bool), groups(200), alpha=0.05)
    assert found[NAME] == Estimate(0.0, 0.0, 2.0, 200)


def test_without_a_group_of_enough_rows_it_is_unknown():
    found = concentration.measure(rows(20, 3), groups(20), alpha=0.05)
    assert list(found) == [NAME]
    assert math.isnan(found[NAME].value)


def test_changes_that_fall_anywhere_are_seldom_called_concentrated():
    rng = np.random.default_rng(0)
    label = rng.integers(8, size=800)
    eight = [(f"class={c}", label == c) for c in range(8)]
    alarms = sum(concentration.measure(rng.random(800) < 0.08, eight, alpha=0.05)[NAME].low > 1 for _ in range(200))
    assert alarms / 200 <= 0.06
    hit = (rng.random(800) < 0.04) | ((label == 3) & (rng.random(800) < 0.3))
    assert concentration.measure(hit, eight, alpha=0.05)[NAME].low > 1.5
