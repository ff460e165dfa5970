"""Policies that say what differs from another one."""

import re
from pathlib import Path

import pytest

from policies.document import load_policy, read_policy, shipped
from pruneguard.errors import InvalidInputError
from pruneguard.policy import Action, Canary, Policy, Step, Subject

PARENT = """\
policy: parent
version: 1
purpose: the parent's
approvals_min: 2
canary:
  steps:
    - {share: 0.2, requests_min: 50}
on_decay: notify
gates:
  - measurement: quality.flips
    gate: at_most
    limit: 0.1
    because: the parent's
    remedy: prune less
    subject: pruned
  - name: slices
    measurement: quality.paired
    gate: slices_non_inferior
    margin: 0.02
    rows_min: 40
    because: the parent's
    remedy: look at it
  - measurement: data.leakage
    gate: at_most
    limit: 0
    because: the parent's
    remedy: drop it
"""
HEAD = "policy: child\nversion: 1\nextends: parent.yaml\npurpose: the child's\n"


def load(folder: Path, child: str, parent: str = PARENT) -> Policy:
    (folder / "parent.yaml").write_text(parent)
    (folder / "child.yaml").write_text(child)
    return load_policy("child.yaml", relative_to=folder)


def test_what_a_child_does_not_say_is_the_parents(tmp_path: Path) -> None:
    child = load(tmp_path, HEAD)
    parent = load_policy(tmp_path / "parent.yaml")
    assert (child.name, child.purpose) == ("child", "the child's")
    assert (child.rules, child.approvals_min, child.canary) == (parent.rules, 2, Canary((Step(0.2, 50),)))
    assert child.on_decay is Action.NOTIFY


def test_a_rule_of_the_same_name_changes_field_by_field_and_keeps_its_place(tmp_path: Path) -> None:
    text = HEAD + "canary:\n  alpha: 0.5\ngates:\n  - name: quality.flips\n    limit: 0.2\n    because: the child's\n"
    child = load(tmp_path, text)
    first = child.rules[0]
    assert (first.parameters, first.because, first.remedy) == ({"limit": 0.2}, "the child's", "prune less")
    assert (first.subject, [rule.name for rule in child.rules]) == (
        Subject.PRUNED,
        ["quality.flips", "slices", "data.leakage"],
    )
    assert child.canary == Canary((Step(0.2, 50),), alpha=0.5)


def test_a_changed_gate_keeps_the_numbers_that_it_takes_and_no_others(tmp_path: Path) -> None:
    text = HEAD + "gates:\n  - name: slices\n    gate: non_inferior\n    because: the child's\n"
    (rule,) = [rule for rule in load(tmp_path, text).rules if rule.name == "slices"]
    assert rule.parameters == {"margin": 0.02, "alpha": 0.05}


def test_a_removed_rule_is_gone_and_a_new_one_stands_last(tmp_path: Path) -> None:
    new = "  - measurement: quality.accuracy\n    gate: at_least\n    limit: 0.9\n    because: a\n    remedy: b\n"
    child = load(tmp_path, HEAD + "remove:\n  slices: no slices here\ngates:\n" + new)
    assert [rule.name for rule in child.rules] == ["quality.flips", "data.leakage", "quality.accuracy"]


def test_what_is_adopted_holds_the_parent_so_that_a_changed_parent_is_another_policy(tmp_path: Path) -> None:
    before = load(tmp_path, HEAD)
    assert Policy.decode(before.encode()) == before
    flat = PARENT.replace("policy: parent", "policy: child").replace("purpose: the parent's", "purpose: the child's")
    assert load(tmp_path, flat).digest == before.digest
    assert load(tmp_path, HEAD, PARENT.replace("0.1", "0.11")).digest != before.digest


def test_a_parent_may_extend_another_and_is_found_from_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "base.yaml").write_text(PARENT)
    middle = HEAD.replace("parent.yaml", "deep/base.yaml") + "remove:\n  slices: none\n"
    child = load(tmp_path, HEAD + "remove:\n  data.leakage: none\n", middle)
    assert [rule.name for rule in child.rules] == ["quality.flips"]


def test_a_rule_has_the_place_where_it_is_written_and_those_that_inherit_it(tmp_path: Path) -> None:
    load(tmp_path, HEAD + "gates:\n  - name: slices\n    margin: 0.1\n    because: the child's\n")
    (tmp_path / "grandchild.yaml").write_text(HEAD.replace("parent.yaml", "child.yaml"))
    places = read_policy("grandchild.yaml", relative_to=tmp_path).places
    told = {rule: [(place.file.name, place.line) for place in chain] for rule, chain in places.items()}
    here = ("grandchild.yaml", 3)
    assert told == {
        "quality.flips": [("parent.yaml", 10), ("child.yaml", 3), here],
        "slices": [("child.yaml", 6), here],
        "data.leakage": [("parent.yaml", 23), ("child.yaml", 3), here],
    }


def test_a_shipped_parent_is_named_without_a_path(tmp_path: Path) -> None:
    assert load(tmp_path, HEAD.replace("parent.yaml", "standard")).rules == load_policy("standard").rules


@pytest.mark.parametrize(
    ("child", "place"),
    [
        (HEAD.replace("parent.yaml", "standart"), ":3: extends: no policy 'standart' is shipped"),
        (HEAD.replace("parent.yaml", "gone.yaml"), ":3: extends: no such file: "),
        (HEAD.replace("parent.yaml", "child.yaml"), ":3: extends: .*extend itself: child.yaml -> child.yaml"),
        (HEAD.replace("parent.yaml", "[a, b]"), ":3: extends: expected a text"),
        (HEAD + "remove:\n  slcies: x\n", ":6: remove.slcies: there is no such rule to remove; is 'slices' meant"),
        (HEAD + "remove:\n  slices:\n", ":6: remove.slices: expected a text, found None"),
        (HEAD + "remove: [slices]\n", ":5: remove: expected keys and values, found a list of 1"),
        (
            HEAD + "remove:\n  slices: x\ngates:\n  - name: slices\n    margin: 0.1\n    because: x\n",
            ":8: gates.1..name: 'slices' stands under `remove` too",
        ),
        (
            HEAD + "gates:\n  - name: slcies\n    margin: 0.1\n",
            ":6: gates.1..name: 'parent' has no rule 'slcies' to change; is 'slices' meant",
        ),
        (HEAD + "gates:\n  - name: slices\n    limit: 1\n", ":7: gates.1..limit: gate 'slices_non_inferior' takes no"),
        (HEAD + "gates:\n  - name: slices\n    margin: 0.1\n", ":6: gates.1..because: missing; the rule is another"),
        (HEAD + "gates:\n  - name: quality.flips\n    subject: any\n", ":6: gates.1..because: missing"),
        (
            HEAD + "gates:\n  - name: slices\n    remedy: a\n  - name: slices\n    remedy: b\n",
            ":8: gates.2..name: a gate before this one is called 'slices'",
        ),
        (HEAD + "gates:\n  - because: x\n", ":6: gates.1..measurement: missing"),
        (
            HEAD + "remove:\n  slices: x\n  quality.flips: x\n  data.leakage: x\n",
            ":5: remove: no rule is left, and nothing passes",
        ),
        ("policy: a\nversion: 1\npurpose: b\nremove:\n  c: d\n" + PARENT[PARENT.index("gates:") :], ":5: remove.c: "),
    ],
)
def test_a_wrong_line_is_refused_with_its_number_and_field(tmp_path: Path, child: str, place: str) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(str(tmp_path / "child.yaml")) + place):
        load(tmp_path, child)


def test_a_circle_is_refused_where_it_closes_with_the_way_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"parent.yaml:3: extends: .*child.yaml -> parent.yaml -> child.yaml"):
        load(tmp_path, HEAD, HEAD.replace("parent.yaml", "child.yaml"))


def test_a_broken_parent_is_told_with_its_own_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"parent.yaml:12: gates\[1\].limit"):
        load(tmp_path, HEAD, PARENT.replace("limit: 0.1", "limit: 2"))


def test_reading_tells_everything_that_is_wrong(tmp_path: Path) -> None:
    text = PARENT.replace("version: 1", "version: no").replace("limit: 0.1", "limit: 2").replace("margin: 0.02", "x: 1")
    (tmp_path / "bad.yaml").write_text(text.replace("    remedy: drop it\n", "").replace("share: 0.2", "share: 2"))
    draft = read_policy(str(tmp_path / "bad.yaml"))
    assert draft.policy is None
    told = [line.removeprefix(f"{tmp_path}/bad.yaml:").split(": ")[:2] for line in draft.objections]
    assert told == [
        ["2", "version"],
        ["7", "canary.steps[1].share"],
        ["12", "gates[1].limit"],
        ["19", "gates[2].x"],
        ["16", "gates[2].margin"],
        ["23", "gates[3].remedy"],
    ]


@pytest.mark.parametrize("name", sorted({*shipped()} - {"standard"}))
def test_a_shipped_policy_says_what_differs_from_standard(name: str) -> None:
    standard = {rule.name for rule in load_policy("standard").rules}
    assert {rule.name for rule in load_policy(name).rules} & standard
