import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, norm

from pruneguard.errors import InvalidInputError
from pruneguard.evidence import PairedTable
from pruneguard.statistics import (
    betting_upper,
    clopper_pearson,
    clopper_pearson_upper,
    holm,
    rows_needed,
    tango_lower,
    tango_p,
    tango_p_worse,
    tango_upper,
)

CELLS = st.integers(0, 400)
TABLES = st.builds(PairedTable, CELLS, CELLS, CELLS, CELLS)
MARGINS = st.floats(0.001, 0.5)


def drawn(rng: random.Random, rows: int, *, won: float, lost: float) -> PairedTable:
    marks = rng.choices((0, 1, 2), weights=(1 - won - lost, won, lost), k=rows)
    return PairedTable(marks.count(0), marks.count(1), marks.count(2), 0)


def test_tango_gives_the_published_interval_of_the_airway_data() -> None:
    airway = PairedTable(both_right=11, candidate_only=1, twin_only=7, both_wrong=2)
    ends = tango_lower(airway, alpha=0.025), tango_upper(airway, alpha=0.025)
    assert ends == pytest.approx((-0.5172, -0.0260), abs=5e-5)


@pytest.mark.parametrize("n", [1, 21, 450, 10_000])
def test_tango_without_discordance_has_its_closed_form(n: int) -> None:
    z = norm.ppf(0.975)
    assert tango_lower(PairedTable(n, 0, 0, 0), alpha=0.025) == pytest.approx(-(z**2) / (n + z**2), rel=1e-9)


@given(TABLES, MARGINS)
def test_the_p_value_and_the_bound_say_the_same(table: PairedTable, margin: float) -> None:
    lower = tango_lower(table, alpha=0.05)
    if abs(lower + margin) > 1e-9:
        assert (tango_p(table, margin=margin) < 0.05) == (lower > -margin)


@given(TABLES, MARGINS)
def test_shown_worse_and_the_upper_bound_say_the_same(table: PairedTable, margin: float) -> None:
    upper = tango_upper(table, alpha=0.05)
    if abs(upper + margin) > 1e-9:
        assert (tango_p_worse(table, margin=margin) < 0.05) == (upper < -margin)


@given(TABLES)
def test_the_interval_contains_the_difference(table: PairedTable) -> None:
    if table.n:
        assert tango_lower(table) <= table.difference <= tango_upper(table)


@given(TABLES, st.integers(1, 50))
def test_a_lost_row_never_raises_the_bound(table: PairedTable, rows: int) -> None:
    before = PairedTable(table.both_right + rows, table.candidate_only, table.twin_only, table.both_wrong)
    after = PairedTable(table.both_right, table.candidate_only, table.twin_only + rows, table.both_wrong)
    assert tango_lower(after) <= tango_lower(before) + 1e-12


def test_no_rows_bound_nothing() -> None:
    empty = PairedTable(0, 0, 0, 0)
    assert (tango_lower(empty), tango_upper(empty)) == (-1.0, 1.0)
    assert (tango_p(empty, margin=0.5), tango_p_worse(empty, margin=0.5)) == (1.0, 1.0)


def test_a_table_that_counts_less_than_no_rows_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="less than no rows"):
        tango_lower(PairedTable(10, -1, 2, 0))


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_an_impossible_error_rate_is_refused(alpha: float) -> None:
    with pytest.raises(InvalidInputError, match="alpha"):
        tango_lower(PairedTable(1, 0, 0, 0), alpha=alpha)


def test_the_rows_needed_are_those_of_the_published_rule() -> None:
    wanted = {(0.05, 0.01): 4_282, (0.1, 0.01): 8_564, (0.05, 0.02): 1_071, (0.1, 0.02): 2_141}
    assert {key: rows_needed(discordance=key[0], margin=key[1]) for key in wanted} == wanted


def test_the_rows_needed_give_the_power_they_promise() -> None:
    rng = random.Random(5)
    rows = rows_needed(discordance=0.1, margin=0.03, power=0.9)
    passes = [tango_lower(drawn(rng, rows, won=0.05, lost=0.05)) > -0.03 for _ in range(600)]
    assert 0.87 <= sum(passes) / len(passes) <= 0.95


def test_the_rows_needed_suffice_when_nothing_is_discordant() -> None:
    rows = rows_needed(discordance=0, margin=0.01)
    assert tango_lower(PairedTable(rows, 0, 0, 0)) > -0.01 >= tango_lower(PairedTable(rows - 1, 0, 0, 0))


def test_no_number_of_rows_shows_a_loss_as_large_as_the_margin() -> None:
    with pytest.raises(InvalidInputError, match="no number of rows"):
        rows_needed(discordance=0.05, margin=0.01, difference=-0.01)


@pytest.mark.parametrize("n", [1, 7, 450, 10_000])
@pytest.mark.parametrize("share", [0.0, 0.003, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_clopper_pearson_agrees_with_the_beta_quantiles_of_scipy(n: int, share: float, alpha: float) -> None:
    k = round(n * share)
    low = beta.ppf(alpha / 2, k, n - k + 1) if k else 0.0
    high = beta.ppf(1 - alpha / 2, k + 1, n - k) if k < n else 1.0
    assert clopper_pearson(k, n, alpha=alpha) == pytest.approx((low, high), abs=1e-11)
    assert clopper_pearson_upper(k, n, alpha=alpha / 2) == pytest.approx(high, abs=1e-11)


def test_clopper_pearson_without_rows_bounds_nothing() -> None:
    assert clopper_pearson(0, 0, alpha=0.05) == (0.0, 1.0)


def test_more_hits_than_rows_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="5 of 3"):
        clopper_pearson_upper(5, 3, alpha=0.05)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_the_betting_bound_lies_above_the_mean(values: list[float]) -> None:
    assert sum(values) / len(values) - 1e-9 <= betting_upper(values, alpha=0.05) <= 1.0


def test_the_betting_bound_misses_the_mean_no_more_often_than_stated() -> None:
    rng = random.Random(3)
    bounds = [betting_upper([rng.betavariate(0.2, 2) for _ in range(150)], alpha=0.1) for _ in range(400)]
    assert sum(bound < 0.2 / 2.2 for bound in bounds) / len(bounds) <= 0.1


def test_the_betting_bound_is_far_below_hoeffdings_for_small_values() -> None:
    values = [0.002 * (index % 5) for index in range(2_000)]
    hoeffding = sum(values) / len(values) + math.sqrt(math.log(1000) / (2 * len(values)))
    assert betting_upper(values, alpha=0.001) < hoeffding / 4


def test_the_betting_bound_of_no_values_is_one() -> None:
    assert betting_upper([], alpha=0.05) == 1.0


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf])
def test_the_betting_bound_refuses_what_is_not_in_the_unit_interval(value: float) -> None:
    with pytest.raises(InvalidInputError, match="outside"):
        betting_upper([0.5, value], alpha=0.05)


def test_holm_rejects_step_by_step() -> None:
    assert holm([0.01, 0.02, 0.02, 0.9], alpha=0.05) == (True, False, False, False)
    assert holm([0.001, 0.015, 0.02, 0.04], alpha=0.05) == (True, True, True, True)
    assert holm([], alpha=0.05) == ()


def test_holm_never_rejects_nan() -> None:
    assert holm([math.nan, 0.001], alpha=0.05) == (False, True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_holm_does_not_depend_on_the_order(p_values: list[float], rng: random.Random) -> None:
    order = rng.sample(range(len(p_values)), len(p_values))
    straight = holm(p_values, alpha=0.05)
    assert holm([p_values[i] for i in order], alpha=0.05) == tuple(straight[i] for i in order)
