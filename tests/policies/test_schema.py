"""The JSON Schema that editors read says what the loader says, as far as a schema can."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from policies.document import SHIPPED
from policies.schema import schema
from pruneguard.gates import GATES, MEASUREMENTS
from tests import plugged
from tests.policies.test_document import EXAMPLES, GOOD
from tests.policies.test_extending import HEAD

FILE = SHIPPED.parent / "policy.schema.json"
POLICIES = [*sorted(SHIPPED.glob("*.yaml")), *sorted(EXAMPLES.glob("*/policy.yaml"))]


def faults(text: str) -> list[str]:
    document: Any = YAML(typ="safe", pure=True).load(text)
    return [fault.message for fault in Draft202012Validator(schema()).iter_errors(document)]


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


def test_the_file_beside_the_policies_is_the_schema_of_our_own_gates() -> None:
    assert json.loads(FILE.read_text()) == schema(), "pruneguard policy schema > policies/policy.schema.json"


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_policy_of_ours_is_valid(path: Path) -> None:
    assert faults(path.read_text()) == []


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_policy_tells_editors_where_the_schema_is(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("=")[2]).resolve() == FILE


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("gate: at_least", "gate: at_leest"),
        ("gate: at_least", "gate: non_inferior"),
        ("gate: at_least\n    limit: 0.9", "gate: non_inferior\n    margin: 0.1"),
        ("quality.accuracy", "quality.acuracy"),
        ("limit: 0.9", "limit: 1.1"),
        ("limit: 0.9", "limit: high"),
        ("limit: 0.9", "limmit: 0.9"),
        ("    limit: 0.9\n", ""),
        ("because: the task needs it", "becuase: x"),
        ("remedy: train longer", "remedy:"),
        ("margin: 0.02", "margin: 1"),
        ("margin: 0.02", "margin: 0"),
        ("margin: 0.02", "margin: 0.02\n    alpha: 0"),
        ("margin: 0.02", "margin: 0.02\n    rows_min: 0"),
        ("margin: 0.02", "margin: 0.02\n    limit: 0"),
        ("subject: pruned", "subject: prune"),
        ("share: 0.2", "share: 1.2"),
        ("share: 0.2", "shares: 0.2"),
        ("share: 0.2", "share: 1"),
        ("share: 0.2, ", ""),
        ("    - {share: 0.2, requests_min: 50}\n", "    []\n"),
        ("canary:", "canary:\n  slower_max: -0.1"),
        ("requests_min: 50", "requests_min: 0"),
        ("twin_share: 0.5", "twin_share: 0"),
        ("alpha: 0.02", "alpha: 0"),
        ("tolerance: 0.03", "tolerance: 1"),
        ("on_decay: notify", "on_decay: panic"),
        ("waivers: false", "waivers: never"),
        ("server_attested: false", "server_attested: 0"),
        ("approvals_min: 2", "approvals_min: 0"),
        ("version: 3", "version: three"),
        ("purpose: testing", "purpose: [a, b]"),
        ("policy: mine", "policy: My policy"),
        ("policy: mine", "polcy: mine"),
        ("gates:\n", "remove: {}\ngates:\n"),
    ],
)
def test_a_line_that_the_loader_refuses_is_not_valid(line: str, instead: str) -> None:
    assert faults(GOOD) == []
    assert faults(GOOD.replace(line, instead, 1))


@pytest.mark.parametrize(
    ("child", "valid"),
    [
        ("", True),
        ("remove:\n  slices: none here\n", True),
        ("gates:\n  - name: slices\n    margin: 0.1\n    because: x\n", True),
        ("gates:\n  - measurement: quality.paired\n    margin: 0.1\n", True),
        ("remove: [slices]\n", False),
        ("remove:\n  slices:\n", False),
        ("gates:\n  - margin: 0.1\n", False),
        ("gates:\n  - name: slices\n    mragin: 0.1\n", False),
        ("gates:\n  - name: slices\n    gate: at_most\n    measurement: quality.flips\n    margin: 1\n", False),
    ],
)
def test_what_a_child_says_may_be_a_part_of_a_rule(child: str, valid: bool) -> None:
    assert (not faults(HEAD + child)) is valid


def test_every_gate_and_measurement_is_offered_with_what_it_is() -> None:
    offered = schema()["$defs"]["change"]["properties"]
    assert offered["gate"]["enum"] == list(GATES)
    assert offered["measurement"]["enum"] == list(MEASUREMENTS)
    for field in ("gate", "measurement"):
        assert len(offered[field]["enum"]) == len(offered[field]["markdownEnumDescriptions"])
    assert [name for name, each in schema()["properties"].items() if not each.get("description")] == []


def test_a_packages_gate_is_offered_where_the_package_is_installed(tmp_path: Path) -> None:
    with plugged.example(tmp_path):
        assert f"{plugged.RECALL}/every_slice_at_least" in schema()["$defs"]["change"]["properties"]["gate"]["enum"]
