"""What the twins may cost, over any stretch of time."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from monitors.budget import BURST_SECONDS, Budget


@given(
    st.floats(0.05, 1),
    st.lists(st.tuples(st.floats(0, 5), st.floats(0.001, 3)), min_size=1, max_size=60),
)
def test_never_more_is_spent_than_the_share_a_burst_and_the_last_batch(share, steps):
    """Whenever it is asked, however long batches take."""
    now, spent = 0.0, 0.0
    budget = Budget(share, now=lambda: now)
    for wait, cost in steps:
        now += wait
        if budget.allows():
            assert spent <= share * now + BURST_SECONDS + 1e-6
            spent += cost
            budget.spend(cost)


def test_an_empty_budget_fills_again():
    clock = itertools.count(0, 1)
    budget = Budget(0.25, now=lambda: next(clock))
    budget.spend(BURST_SECONDS + 0.5)
    assert [budget.allows() for _ in range(4)] == [False, False, True, True]


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing():
    times = iter([100.0, 50.0, 51.0])
    budget = Budget(1.0, now=lambda: next(times))
    budget.spend(BURST_SECONDS + 0.5)
    assert [budget.allows(), budget.allows()] == [False, True]


def test_only_this_threads_own_work_is_spent():
    budget = Budget(0.0)
    with budget.spending():
        sum(range(100_000))
    before = BURST_SECONDS - 0.5
    budget.spend(before)
    assert budget.allows()  # so the loop took less than half a second, and was not counted twice
    budget.spend(0.5)
    assert not budget.allows()
