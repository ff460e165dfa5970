import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneguard.evidence import Estimate, Measurement, PairedTable
from pruneguard.statistics import tango_lower
from pruneguard.verdict import Finding, Outcome
from tests.gates.cases import finding

NAME = "quality.paired"
MARGIN = 0.01


def found(table: Measurement, *, margin: float = MARGIN) -> Finding:
    return finding("non_inferior", NAME, {NAME: table}, margin=margin)


def slices(tables: dict[str, PairedTable], *, margin: float = MARGIN, rows_min: float = 30) -> Finding:
    measurements = {f"{NAME}.slice.{label}": table for label, table in tables.items()}
    return finding("slices_non_inferior", NAME, measurements, margin=margin, rows_min=rows_min)


def drawn(rows: int, *, won: float, lost: float, tables: int, seed: int) -> list[PairedTable]:
    """Tables of `rows` rows whose true shares of won and lost rows are these."""
    counts = np.random.default_rng(seed).multinomial(rows, (1 - won - lost, won, lost), size=tables)
    return [PairedTable(int(same), int(only), int(twin), 0) for same, only, twin in counts]


# -- non_inferior -------------------------------------------------------------------------------------------------


def test_enough_rows_without_a_loss_pass() -> None:
    assert found(PairedTable(9_500, 250, 250, 0)).outcome is Outcome.PASSED


def test_a_bound_on_the_margin_itself_is_not_a_pass() -> None:
    table = PairedTable(9_500, 240, 250, 10)
    assert found(table, margin=-tango_lower(table)).outcome is Outcome.UNDERPOWERED
    assert found(table, margin=-tango_lower(table) + 1e-9).outcome is Outcome.PASSED


def test_a_loss_of_the_margin_fails_and_a_row_less_is_underpowered() -> None:
    assert found(PairedTable(940, 25, 35, 0)).outcome is Outcome.FAILED
    assert found(PairedTable(940, 25, 34, 1)).outcome is Outcome.UNDERPOWERED


def test_an_underpowered_finding_names_rows_that_suffice() -> None:
    table = PairedTable(940, 30, 30, 0)
    result = found(table)
    assert result.outcome is Outcome.UNDERPOWERED
    scale = int(re.search(r"n >= (\d+)", result.flip)[1]) / table.n
    assert found(PairedTable(*(round(cell * scale) for cell in (940, 30, 30, 0)))).outcome is Outcome.PASSED


def test_the_same_losses_that_pass_on_many_rows_are_underpowered_on_few() -> None:
    assert found(PairedTable(95, 2, 2, 1)).outcome is Outcome.UNDERPOWERED
    assert found(PairedTable(9_500, 200, 200, 100)).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    "table", [PairedTable(9_500, 250, 250, 0), PairedTable(9_400, 200, 400, 0), PairedTable(9_800, 50, 145, 5)]
)
def test_the_flip_is_the_exact_number_of_rows_that_turns_the_finding(table: PairedTable) -> None:
    result = found(table)
    lost = re.search(r"(\d+) more rows lost", result.flip)
    repaired = re.search(r"(\d+) of the \d+ lost rows repaired", result.flip)
    rows = int(lost[1]) if lost else -int(repaired[1])

    def moved(k: int) -> bool:
        return found(
            PairedTable(table.both_right - k, table.candidate_only, table.twin_only + k, table.both_wrong)
        ).allows

    one_less = rows - 1 if rows > 0 else rows + 1
    assert moved(rows) != result.allows
    assert moved(one_less) == result.allows


@pytest.mark.parametrize(
    ("measurement", "why"),
    [
        (PairedTable(0, 0, 0, 0), "no rows"),
        (PairedTable(10, -1, 0, 0), "does not count rows"),
        (PairedTable(10, 1.5, 0, 0), "does not count rows"),  # type: ignore[arg-type]  # what a foreign file may hold
        (Estimate(0.0, 0.0, 0.0, 100), "is a number"),
    ],
)
def test_what_is_no_table_of_rows_is_no_evidence(measurement: Measurement, why: str) -> None:
    result = found(measurement)
    assert (result.outcome, why in result.observed) == (Outcome.NO_EVIDENCE, True)


def test_a_missing_table_is_no_evidence() -> None:
    assert finding("non_inferior", NAME, {}, margin=MARGIN).outcome is Outcome.NO_EVIDENCE


CELLS = st.integers(0, 300)


@given(st.integers(1, 300), CELLS, CELLS, CELLS, st.floats(0.001, 0.3))
def test_losing_rows_never_turns_a_no_into_a_pass(right: int, won: int, lost: int, wrong: int, margin: float) -> None:
    if not found(PairedTable(right, won, lost, wrong), margin=margin).allows:
        assert not found(PairedTable(right - 1, won, lost + 1, wrong), margin=margin).allows


@given(st.integers(1, 300), CELLS, CELLS, CELLS, st.floats(0.001, 0.3))
def test_a_wider_margin_never_turns_a_pass_into_a_no(
    right: int, won: int, lost: int, wrong: int, margin: float
) -> None:
    table = PairedTable(right, won, lost, wrong)
    if found(table, margin=margin).allows:
        assert found(table, margin=margin * 1.5).allows


@pytest.mark.parametrize(("rows", "discordance", "margin"), [(450, 0.05, 0.025), (2_000, 0.04, 0.01), (200, 0.2, 0.05)])
def test_a_model_that_is_worse_by_the_margin_passes_one_time_in_twenty(
    rows: int, discordance: float, margin: float
) -> None:
    won, lost = (discordance - margin) / 2, (discordance + margin) / 2
    seen = drawn(rows, won=won, lost=lost, tables=2_000, seed=rows)
    passes = sum(tango_lower(table) > -margin for table in seen) / len(seen)
    assert 0.02 <= passes <= 0.055
    assert all(found(table, margin=margin).allows == (tango_lower(table) > -margin) for table in seen[:50])


# -- slices_non_inferior ------------------------------------------------------------------------------------------


def test_equal_slices_pass() -> None:
    assert slices({f"class={i}": PairedTable(100, 2, 2, 5) for i in range(10)}).outcome is Outcome.PASSED


def test_one_slice_shown_worse_fails_and_only_that_one_is_named() -> None:
    tables = {f"class={i}": PairedTable(100, 2, 2, 5) for i in range(10)} | {"class=7": PairedTable(80, 0, 25, 5)}
    result = slices(tables)
    assert result.outcome is Outcome.FAILED
    assert "class=7" in result.observed
    assert "class=3" not in result.observed


def test_a_loss_that_one_slice_alone_would_show_is_not_shown_by_one_of_twenty() -> None:
    worse = {"class=0": PairedTable(90, 0, 6, 4)}
    others = {f"class={i}": PairedTable(95, 1, 1, 3) for i in range(1, 20)}
    assert slices(worse).outcome is Outcome.FAILED
    assert slices(worse | others).outcome is Outcome.PASSED


def test_a_slice_with_too_few_rows_is_listed_and_does_not_decide() -> None:
    tables = {"class=0": PairedTable(100, 1, 1, 0), "hand=left": PairedTable(0, 0, 29, 0)}
    result = slices(tables)
    assert result.outcome is Outcome.PASSED
    assert "not testable: hand=left (29)" in result.observed


def test_a_slice_with_just_enough_rows_decides() -> None:
    assert (
        slices({"class=0": PairedTable(100, 1, 1, 0), "hand=left": PairedTable(0, 0, 30, 0)}).outcome is Outcome.FAILED
    )


@pytest.mark.parametrize("tables", [{}, {"hand=left": PairedTable(29, 0, 0, 0)}])
def test_no_testable_slice_is_no_evidence(tables: dict[str, PairedTable]) -> None:
    assert slices(tables).outcome is Outcome.NO_EVIDENCE


def test_one_slice_that_is_no_table_is_no_evidence_for_all() -> None:
    measurements = {f"{NAME}.slice.class=0": PairedTable(99, 0, 0, 0), f"{NAME}.slice.class=1": Estimate(0.0)}
    result = finding("slices_non_inferior", NAME, measurements, margin=MARGIN)
    assert (result.outcome, "class=1" in result.observed) == (Outcome.NO_EVIDENCE, True)


def test_slices_of_another_measurement_are_not_looked_at() -> None:
    measurements = {"robustness.noise.paired.slice.class=0": PairedTable(99, 0, 0, 0)}
    assert finding("slices_non_inferior", NAME, measurements, margin=MARGIN).outcome is Outcome.NO_EVIDENCE


def test_a_pass_says_from_which_loss_its_smallest_slice_would_have_failed() -> None:
    tables = {"class=0": PairedTable(400, 0, 0, 0), "class=1": PairedTable(40, 0, 0, 0)}
    lost = int(re.search(r"class=1 \(n 40\) would fail from (\d+) rows lost", slices(tables).observed)[1])
    assert slices(tables | {"class=1": PairedTable(40 - lost, 0, lost, 0)}).outcome is Outcome.FAILED
    assert slices(tables | {"class=1": PairedTable(41 - lost, 0, lost - 1, 0)}).outcome is Outcome.PASSED


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9), st.integers(0, 20)), min_size=1, max_size=6))
def test_losing_rows_of_a_slice_never_turns_a_fail_into_a_pass(cells: list[tuple[int, int, int]]) -> None:
    before = {f"s={i}": PairedTable(right, won, lost, 0) for i, (right, won, lost) in enumerate(cells)}
    first = before["s=0"]
    after = before | {"s=0": PairedTable(first.both_right - 1, first.candidate_only, first.twin_only + 1, 0)}
    if slices(before).outcome is Outcome.FAILED:
        assert slices(after).outcome is Outcome.FAILED


def test_ten_equally_good_slices_fail_one_time_in_twenty_at_most_where_a_plain_rule_fails_one_time_in_three() -> None:
    seen = drawn(1_000, won=0.075, lost=0.075, tables=3_000, seed=11)
    groups = [seen[start : start + 10] for start in range(0, 3_000, 10)]
    plain = [min(table.difference for table in group) < -0.02 for group in groups]
    failed = [
        slices({f"class={i}": table for i, table in enumerate(group)}, margin=0.005).outcome is Outcome.FAILED
        for group in groups
    ]
    assert sum(failed) / len(groups) <= 0.05
    assert 0.25 <= sum(plain) / len(groups) <= 0.45


def test_ten_slices_worse_by_just_the_margin_fail_together_at_the_stated_rate() -> None:
    seen = drawn(300, won=0.04, lost=0.07, tables=4_000, seed=12)
    groups = [seen[start : start + 10] for start in range(0, 4_000, 10)]
    failed = [
        slices({f"class={i}": table for i, table in enumerate(group)}, margin=0.03).outcome is Outcome.FAILED
        for group in groups
    ]
    # The score test is approximate this far out in its tail: 5 % nominal is up to 6 % here.
    assert sum(failed) / len(groups) <= 0.08
