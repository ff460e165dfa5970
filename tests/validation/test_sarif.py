"""SARIF 2.1.0: what section 3 of the standard requires, and what code scanning makes of it."""

import json
from pathlib import Path

from pruneguard.documents import Place
from pruneguard.validation import sarif
from tests.validation.made import BAD, GOOD, LEFT_OUT, MODEL, validation, without

PLACES = {
    "quality.paired": Place(Path("ci/policy.yaml"), 3),
    "quality.slices": Place(Path("ci/base.yaml"), 8),
    "calibration.ece": Place(Path("/opt/standard.yaml"), 6),
}


def run(found, *, places=PLACES):
    log = json.loads(sarif.render(found, places=places))
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


def test_a_result_points_at_the_file_and_the_line_that_its_rule_is_written_in():
    found = run(validation(without(BAD, "calibration.ece")))
    places = {r["ruleId"]: r["locations"][0]["physicalLocation"] for r in found["results"]}
    told = {rule: (place["artifactLocation"]["uri"], place["region"]["startLine"]) for rule, place in places.items()}
    assert told == {
        "quality.paired": ("ci/policy.yaml", 3),
        "quality.slices": ("ci/base.yaml", 8),
        "calibration.ece": ("file:///opt/standard.yaml", 6),
        "ood.auroc_drop": ("ci/policy.yaml", 1),  # nobody said where
    }
    listed = places["quality.paired"]["artifactLocation"]["index"]
    assert found["artifacts"][listed]["location"]["uri"] == "ci/policy.yaml"
    assert "index" not in places["quality.slices"]["artifactLocation"]  # the log lists what was judged, and by what


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
