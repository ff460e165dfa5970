"""SARIF 2.1.0: what section 3 of the standard requires, and what code scanning makes of it."""

import json

import pytest

from pruneguard.validation import sarif
from tests.validation.made import BAD, GOOD, LEFT_OUT, MODEL, validation, without

POLICY = """\
policy: mine
gates:
  - measurement: quality.paired  # on the same rows
  - name: quality.slices
    measurement: quality.paired
  - {measurement: 'calibration.ece', gate: at_most}
"""


def run(found, **changes):
    log = json.loads(sarif.render(found, **changes))
    assert log["version"] == "2.1.0"
    (only,) = log["runs"]
    return only


def test_only_what_refuses_is_a_result_and_each_is_an_error_of_a_listed_rule():
    found = run(validation(without(BAD, "calibration.ece"), left_out=(LEFT_OUT,)))
    rules = found["tool"]["driver"]["rules"]
    assert [result["ruleId"] for result in found["results"]] == [
        "quality.paired",
        "quality.slices",
        "ood.auroc_drop",
        "calibration.ece",
    ]
    for result in found["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert (result["kind"], result["level"]) == ("fail", "error")
        assert result["message"]["text"].startswith(result["properties"]["outcome"])
    assert run(validation(GOOD))["results"] == []


def test_a_result_points_at_the_line_of_the_policy_that_names_its_rule():
    found = run(validation(without(BAD, "calibration.ece")), policy_text=POLICY)
    places = {r["ruleId"]: r["locations"][0]["physicalLocation"] for r in found["results"]}
    assert {rule: place["region"]["startLine"] for rule, place in places.items()} == {
        "quality.paired": 3,
        "quality.slices": 4,
        "calibration.ece": 6,
        "ood.auroc_drop": 1,  # inherited from another file
    }
    for place in places.values():
        artifact = found["artifacts"][place["artifactLocation"]["index"]]
        assert artifact["location"]["uri"] == place["artifactLocation"]["uri"] == "ci/policy.yaml"


def test_files_are_named_by_uri_and_only_files_have_a_hash():
    artifacts = {each["roles"][0]: each for each in run(validation(GOOD))["artifacts"]}
    assert artifacts["analysisTarget"]["location"] == {"uri": "out/model%201.onnx"}
    assert artifacts["analysisTarget"]["hashes"] == {"sha-256": MODEL.removeprefix("sha256:")}
    assert "hashes" not in artifacts["policy"]  # its digest is that of its rules, not of the file's bytes


def test_a_rule_that_was_left_out_is_listed_as_not_enabled():
    rules = run(validation(GOOD, left_out=(LEFT_OUT,)))["tool"]["driver"]["rules"]
    enabled = {rule["id"]: rule["defaultConfiguration"]["enabled"] for rule in rules}
    assert [rule for rule, on in enabled.items() if not on] == ["artifact.deviation"]
    assert len(enabled) == len(rules)


@pytest.mark.parametrize("line", ["  - measurement: a.b", "    name: 'a.b'  # so", '  - {gate: at_most, name: "a.b"}'])
def test_a_rule_is_found_as_people_write_it(line):
    assert sarif.line_of("a.b", f"policy: x\n{line}\n") == 2


@pytest.mark.parametrize(
    "line", ["  - measurement: a.bc", "  - measurement: a.b.c", "    because: a.b", "  - measurement: aXb"]
)
def test_a_line_about_something_else_is_no_place(line):
    assert sarif.line_of("a.b", f"policy: x\n{line}\n") == 1
