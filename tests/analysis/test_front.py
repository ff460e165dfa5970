import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneguard.analysis.front import dominates, front

COSTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), max_size=12)


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ([], ()),
        ([(1, 1)], (0,)),
        ([(1, 4), (2, 2), (4, 1), (3, 3), (2, 3)], (0, 1, 2)),
        ([(1, 1), (1, 1)], (0, 1)),  # equal points stand together
        ([(1, 2), (1, 1)], (1,)),  # no worse in one, better in the other
        ([(1, 2, 3), (3, 2, 1), (2, 2, 2), (2, 2, 3)], (0, 1, 2)),
    ],
)
def test_the_front_is_what_nothing_else_beats(costs, expected):
    assert front(costs) == expected


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_never_on_the_front_and_pushes_nothing_off_it(bad):
    assert front([(bad, 0), (1, 1)]) == (1,)


@given(COSTS)
def test_every_point_is_on_the_front_or_behind_one_that_is(costs):
    best = front(costs)
    for number, cost in enumerate(costs):
        assert (number in best) != any(dominates(costs[other], cost) for other in best)
