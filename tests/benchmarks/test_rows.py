"""A row of a benchmark is met or missed, and nothing in between."""

import math

import pytest

from benchmarks.rows import Row


def row(value: float, goal: str) -> Row:
    return Row(name="row", value=value, low=value, high=value, unit="s", goal=goal, how="not at all")


@pytest.mark.parametrize(
    ("value", "goal", "met"),
    [
        (50.0, "<= 50", True),
        (50.0001, "<= 50", False),
        (0.85, ">= 0.85", True),
        (0.8499, ">= 0.85", False),
        (0.0, "= 0", True),
        (1.0, "= 0", False),
        (math.nan, "<= 50", False),
        (math.nan, ">= 0", False),
        (math.nan, "= 0", False),
    ],
)
def test_a_goal_is_met_at_its_limit_and_not_beyond(value: float, goal: str, met: bool) -> None:
    assert row(value, goal).met is met


@pytest.mark.parametrize("goal", ["", "fast", "50", "< 50", "<=50", "<= 50 ms"])
def test_a_goal_that_cannot_be_read_is_refused(goal: str) -> None:
    with pytest.raises(ValueError, match="not a comparison and a number"):
        _ = row(1.0, goal).met


def test_repeated_runs_become_their_median_with_the_extremes() -> None:
    found = Row.over([3.0, 1.0, 2.0], name="row", unit="s", goal="<= 2", how="three runs")
    assert (found.low, found.value, found.high, found.met) == (1.0, 2.0, 3.0, True)
