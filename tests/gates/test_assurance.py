import math
from dataclasses import replace

import numpy as np
import pytest

from pruneguard.evidence import Estimate, PairedTable
from pruneguard.gates.assurance import ENOUGH, Assurance, assurance
from pruneguard.statistics import tango_lower
from tests.gates.cases import policy, rule

PAIRED = rule("non_inferior", "quality.paired", margin=0.01, alpha=0.05)
DRIFT = rule("at_most_surely", "quality.divergence", limit=0.1)
FLOOR = rule("at_least", "quality.accuracy", limit=0.9)
SIZE = rule("at_most", "efficiency.size_ratio", limit=0.5)
ROWS = 5000


def table(won: int, lost: int, rows: int = ROWS) -> PairedTable:
    wrong = rows // 20
    return PairedTable(rows - won - lost - wrong, won, lost, wrong)


@pytest.mark.parametrize(("won", "lost"), [(50, 60), (60, 75), (60, 80), (70, 95)])
def test_the_chance_is_that_of_other_rows_drawn_from_what_these_leave_open(won: int, lost: int) -> None:
    seen = table(won, lost)
    said = assurance(policy(PAIRED), {"quality.paired": seen}).chance
    generator = np.random.default_rng(1)
    cells = np.array([seen.both_right, seen.candidate_only, seen.twin_only, seen.both_wrong])
    truths = generator.dirichlet(cells + 0.5, 2000)
    drawn = (PairedTable(*(int(cell) for cell in generator.multinomial(ROWS, truth))) for truth in truths)
    again = np.mean([tango_lower(each, alpha=0.05) > -0.01 for each in drawn])
    assert said == pytest.approx(again, abs=0.04)


def test_what_passes_far_from_its_limit_passes_again_and_no_rule_is_named():
    said = assurance(policy(PAIRED), {"quality.paired": table(40, 3)})
    assert said.chance > 0.99
    assert said.rule is None
    assert said.enough


def test_what_just_passes_passes_again_about_every_second_time():
    lost = max(n for n in range(60, 200) if tango_lower(table(60, n), alpha=0.05) > -0.01)
    said = assurance(policy(PAIRED), {"quality.paired": table(60, lost)})
    assert said.chance == pytest.approx(0.5, abs=0.06)
    assert not said.enough
    assert said.rule == PAIRED.name


def test_fewer_rows_let_less_pass_and_more_are_taken_for_as_many():
    measured = {"quality.paired": table(60, 75)}
    chances = [assurance(policy(PAIRED), measured, rows=rows).chance for rows in (0.3, 1.0, 3.0)]
    assert chances[0] < chances[1] == chances[2]


def test_what_is_timed_does_not_hang_on_the_number_of_rows():
    quick = rule("at_most", "efficiency.latency_ratio", limit=1.0)
    measured = {"efficiency.latency_ratio": Estimate(0.99, 0.97, 1.01, 200)}
    chances = [assurance(policy(quick), measured, rows=rows).chance for rows in (0.2, 1.0)]
    assert chances[0] == chances[1]
    assert 0.7 < chances[0] < 0.8


def test_the_rule_with_the_least_chance_counts():
    measured = {"quality.paired": table(40, 3), "quality.divergence": Estimate(0.09, 0.082, 0.099, 5000)}
    said = assurance(policy(PAIRED, DRIFT), measured)
    assert said.rule == DRIFT.name
    assert said.chance == assurance(policy(DRIFT), measured).chance < 0.7


def test_an_interval_is_moved_to_the_side_on_which_the_rule_fails():
    low = {"quality.accuracy": Estimate(0.91, 0.9, 0.92, 5000)}
    assert 0.5 < assurance(policy(FLOOR), low).chance < 0.99
    error = 0.01 / 1.96
    expected = 0.5 * (1 + math.erf(0.01 / (error * math.sqrt(2)) / math.sqrt(2)))
    assert assurance(policy(FLOOR), low).chance == pytest.approx(expected, abs=0.002)


def test_what_no_row_decides_is_taken_as_it_is():
    assert assurance(policy(SIZE), {"efficiency.size_ratio": Estimate(0.5)}) == Assurance(0.999, None)


def test_slices_are_foreseen_too():
    slices = rule("slices_non_inferior", "quality.paired", margin=0.05, rows_min=10)
    good, bad = ({f"quality.paired.slice.class={n}": table(5, 5 + lost, 500) for n in range(10)} for lost in (0, 45))
    assert assurance(policy(slices), good).chance > 0.99
    assert assurance(policy(slices), bad).chance < ENOUGH


def test_no_discordant_row_among_few_is_no_proof_of_none():
    loose = policy(replace(PAIRED, parameters={"margin": 0.05, "alpha": 0.05}))
    assert assurance(loose, {"quality.paired": table(0, 0, 70)}).chance < 0.999
    assert assurance(loose, {"quality.paired": table(0, 0, 5000)}).chance == 0.999


def test_it_reads_as_a_sentence():
    said = str(Assurance(0.61, "quality.paired"))
    assert said == "a chance of 61 % to pass again on other rows (quality.paired would fail first)"
