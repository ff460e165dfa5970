"""Policies that can be read and that no model can pass."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from policies import checking, sizing
from policies.document import Draft, load_policy, read_policy, shipped
from policies.explaining import rows_for
from pruneguard.evidence import PairedTable
from pruneguard.gates.paired import non_inferior
from pruneguard.policy import Rule
from pruneguard.verdict import Outcome
from pruneguard.workload import Snapshot, Split
from tests.policies.test_document import EXAMPLES

HEAD = "policy: mine\nversion: 1\npurpose: testing\ngates:\n"


def draft(folder: Path, *rules: str) -> Draft:
    """A policy of rules in YAML's short form, rule n on line 4 + n."""
    lines = "".join(f"  - {{{rule}, because: a, remedy: b}}\n" for rule in rules)
    (folder / "mine.yaml").write_text(HEAD + lines)
    return read_policy("mine.yaml", relative_to=folder)


def at(limit: float, gate: str, measurement: str = "quality.accuracy", **more: str) -> str:
    more = {"name": f'"{gate} {limit}"', **more}
    return f"measurement: {measurement}, gate: {gate}, limit: {limit}, " + ", ".join(
        f"{k}: {v}" for k, v in more.items()
    )


@pytest.mark.parametrize(
    ("upper", "lower"), [("at_most", "at_least"), ("at_most_surely", "at_least"), ("at_most", "at_least_surely")]
)
def test_two_limits_that_exclude_each_other_are_refused_at_the_second(tmp_path: Path, upper: str, lower: str) -> None:
    told = list(checking.objections(draft(tmp_path, at(0.8, lower), at(0.7, upper))))
    assert len(told) == 1
    assert told[0].startswith(f"{tmp_path}/mine.yaml:6: gates[2].limit: '{lower} 0.8' asks for 0.8 or more")
    assert "no model passes both" in told[0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (at(0.7, "at_least"), at(0.7, "at_most")),
        (at(0.7, "at_least"), at(0.8, "at_least")),
        (at(0.8, "at_least"), at(0.7, "at_most", "quality.flips")),
    ],
)
def test_limits_that_a_model_can_keep_both_are_no_objection(tmp_path: Path, first: str, second: str) -> None:
    assert list(checking.objections(draft(tmp_path, first, second))) == []


def test_a_ratio_below_1_asked_of_the_twin_is_refused(tmp_path: Path) -> None:
    ratio = "efficiency.size_ratio"
    (told,) = checking.objections(draft(tmp_path, at(0.9, "at_most", ratio)))
    assert ":5: gates[1].limit: the dense twin is judged too" in told
    for harmless in (at(0.9, "at_most", ratio, subject="pruned"), at(1, "at_most", ratio), at(0.5, "at_least", ratio)):
        assert list(checking.objections(draft(tmp_path, harmless))) == []


def test_what_cannot_be_read_is_told_instead(tmp_path: Path) -> None:
    told = list(checking.objections(draft(tmp_path, at(2, "at_most"), "gate: at_most")))
    assert [line.split(": ")[1] for line in told] == ["gates[1].limit", "gates[2].measurement"]


@pytest.mark.parametrize("reference", [*shipped(), *map(str, sorted(EXAMPLES.glob("*/policy.yaml")))])
def test_a_policy_of_ours_can_be_passed(reference: str) -> None:
    assert list(checking.objections(read_policy(reference))) == []


# -- with data ----------------------------------------------------------------------------------------------------

MARGIN = "measurement: quality.paired, gate: non_inferior, margin: 0.05"
SLICES = "name: slices, measurement: quality.paired, gate: slices_non_inferior, margin: 0.05, rows_min: 30"


class Whole:
    """A workload whose network rounds: no gradient comes through."""

    def build(self) -> nn.Module:
        return nn.Sequential(Rounded(), nn.Linear(3, 2))


class Rounded(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.detach().round()


def snapshot(rows: int, *, outliers: int = 0) -> Snapshot:
    """Two classes in equal shares, `rows` in each split."""
    split = Split(np.zeros((rows, 3), np.float32), np.arange(rows, dtype=np.int64) % 2)
    return Snapshot(split, split, split, 2, outliers=np.zeros((outliers, 3), np.float32) if outliers else None)


def test_the_least_rows_are_those_with_which_a_perfect_model_just_passes(tmp_path: Path) -> None:
    (rule,) = load(tmp_path, MARGIN)
    least = rows_for(rule, discordance=0.0)
    assert least == 52  # z = 1.645: z^2 (1 - m) / m = 51.4
    for rows, outcome in ((least, Outcome.PASSED), (least - 1, Outcome.UNDERPOWERED)):
        table = {rule.measurement: PairedTable(rows, 0, 0, 0)}
        assert non_inferior(rule.measurement, rule.parameters, table).outcome is outcome
    assert list(sizing.objections(draft(tmp_path, MARGIN), snapshot(least))) == []
    told = list(sizing.objections(draft(tmp_path, MARGIN), snapshot(least - 1)))
    assert [line.split(": ")[1] for line in told] == ["gates[1].margin"] * 2  # gate and release split
    assert "the gate split has 51 rows; without one discordant row it takes 52" in told[0]


def load(folder: Path, *rules: str) -> tuple[Rule, ...]:
    policy = draft(folder, *rules).policy
    assert policy is not None
    return policy.rules


def test_slices_of_which_none_can_be_tested_are_refused(tmp_path: Path) -> None:
    told = list(sizing.objections(draft(tmp_path, SLICES), snapshot(59)))
    assert told == []  # 30 rows of class 0
    gate, release = sizing.objections(draft(tmp_path, SLICES), snapshot(58))
    assert ":5: gates[1].rows_min: the largest slice of the gate split has 29 rows" in gate
    assert "release split" in release


def test_an_inherited_rule_is_refused_at_the_line_that_inherits_it(tmp_path: Path) -> None:
    draft(tmp_path, MARGIN)
    (tmp_path / "child.yaml").write_text("policy: child\nversion: 1\npurpose: testing\nextends: mine.yaml\n")
    told, _ = sizing.objections(read_policy("child.yaml", relative_to=tmp_path), snapshot(51))
    assert told.startswith(f"{tmp_path}/child.yaml:4: extends: margin of the inherited rule 'quality.paired': the gate")


def test_what_is_never_measured_of_the_rows_or_the_network_is_told_rule_by_rule(tmp_path: Path) -> None:
    asked = {
        "ood.auroc_drop": "the data have no outliers",
        "robustness.blur.paired": "the rows are those of a table, and what is done to such is noise, scaling, gain",
        "robustness.pgd.paired": "no gradient reaches the rows",
        "fairness.odds_gap_increase": "the data name no protected columns",
        "data.card_gaps": "the workload names no data card",
    }
    rules = [at(0.03, "at_most", name, name=name) for name in asked if "paired" not in name]
    rules += [f"measurement: {name}, gate: non_inferior, margin: 0.5" for name in asked if "paired" in name]
    data = snapshot(60)
    read = draft(tmp_path, *rules, MARGIN, at(0, "at_most", "data.openings"))
    assert read.policy is not None
    told = list(sizing.objections(read, data, sizing.unmeasured(read.policy, Whole(), data)))
    assert len(told) == len(asked)
    assert all(any(f"measurement: never measured here: {why}" in line for line in told) for why in asked.values())


def test_what_the_data_bring_is_no_gap(tmp_path: Path) -> None:
    names = ("ood.auroc_drop", "fairness.odds_gap_increase")
    policy = draft(tmp_path, *(at(0.03, "at_most", name, name=name) for name in names)).policy
    assert policy is not None
    plain = snapshot(60, outliers=3)
    sex = {"sex": np.array(["f", "m"] * 30)}
    split = Split(plain.gate.x, plain.gate.y, sex)
    data = replace(plain, train=split, gate=split, release=split, protected=("sex",))
    assert sizing.unmeasured(policy, Whole(), data) == {}


def test_of_what_is_never_measured_no_number_of_rows_is_asked(tmp_path: Path) -> None:
    read = draft(tmp_path, MARGIN)
    assert read.policy is not None
    few = snapshot(51)
    (told,) = sizing.objections(read, few, {"quality.paired": "nobody looks"})
    assert "nobody looks" in told
    assert list(sizing.doubts(read.policy, snapshot(100), {"quality.paired": "nobody looks"})) == []


def test_slices_of_groups_are_counted_by_group_and_label(tmp_path: Path) -> None:
    rule = "name: fair, measurement: fairness.paired, gate: slices_non_inferior, margin: 0.05, rows_min: 15"
    plain = snapshot(60)

    def grouped(groups: int) -> Snapshot:
        split = Split(plain.gate.x, plain.gate.y, {"sex": (np.arange(60) // 2 % groups).astype(str)})
        return replace(plain, gate=split, release=split, protected=("sex",))

    assert list(sizing.objections(draft(tmp_path, rule), grouped(2))) == []  # 15 rows of each group and label
    told = list(sizing.objections(draft(tmp_path, rule), grouped(3)))
    assert "the largest slice of the gate split has 10 rows" in told[0]


def test_rows_that_can_show_a_margin_and_often_will_not_are_a_doubt(tmp_path: Path) -> None:
    policy = draft(tmp_path, MARGIN).policy
    assert policy is not None
    enough = rows_for(policy.rules[0], discordance=sizing.DISCORDANCE)
    assert enough == 172  # 8.56 * 0.05 / 0.05^2 = 171.3
    (told,) = sizing.doubts(policy, snapshot(enough - 1))
    assert "171 rows; with one in 20 discordant it takes 172" in told
    assert list(sizing.doubts(policy, snapshot(enough))) == []
    assert list(sizing.doubts(policy, snapshot(40))) == []  # an objection says more


def test_standard_asks_for_as_many_rows_as_it_says(tmp_path: Path) -> None:
    standard = read_policy("standard")
    data = replace(snapshot(4300), outliers=np.zeros((5, 3), np.float32))
    assert list(sizing.objections(standard, data)) == []
    assert [line.split(":")[0] for line in sizing.doubts(load_policy("standard"), data)] == []
