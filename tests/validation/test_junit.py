"""JUnit XML as CI servers count it."""

import xml.etree.ElementTree as ET
from dataclasses import replace

from pruneguard.validation import junit
from tests.validation.made import BAD, GOOD, LEFT_OUT, validation, without


def cases(found):
    """The suite, and its test cases by name."""
    root = ET.fromstring(junit.render(found))  # noqa: S314  # our own
    (suite,) = root
    assert root.tag == "testsuites"
    assert all(root.get(name) == suite.get(name) for name in ("tests", "failures", "errors", "skipped"))
    return suite, {case.get("name"): case for case in suite.iter("testcase")}


def test_every_rule_is_a_case_and_the_counts_are_those_of_the_cases():
    suite, found = cases(validation(without(BAD, "calibration.ece"), left_out=(LEFT_OUT,)))
    kinds = {name: [child.tag for child in case] for name, case in found.items()}
    assert kinds == {
        "quality.paired": ["failure"],
        "quality.slices": ["failure"],
        "ood.auroc_drop": ["failure"],
        "calibration.ece": ["error"],
        "artifact.deviation": ["skipped"],
    }
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "5", "failures": "3", "errors": "1", "skipped": "1"}
    assert found["ood.auroc_drop"].find("failure").get("type") == "underpowered"


def test_a_failure_says_observed_required_what_would_turn_it_and_the_remedy():
    _, found = cases(validation(BAD))
    text = found["quality.paired"].find("failure").text
    lines = dict(line.split(": ", 1) for line in text.splitlines())
    assert lines["observed"].startswith("-2.40 points")
    assert lines["required"] == "difference above -2.00 points at 95 % confidence"
    assert "lost rows repaired" in lines["would turn it"]
    assert lines["remedy"] == "Prune less."


def test_nothing_fails_where_all_passed():
    suite, found = cases(validation(GOOD))
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")
    assert all([child.tag for child in case] == ["system-out"] for case in found.values())


def test_a_name_with_markup_or_control_characters_is_still_xml():
    found = validation(GOOD)
    source = replace(found.sources[0], name='a"<b>\x00\x0b.onnx')
    suite, _ = cases(replace(found, sources=(source, *found.sources[1:])))
    assert suite.get("name") == 'a"<b>.onnx: policy mine 3'
