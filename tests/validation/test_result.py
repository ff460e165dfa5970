"""The value that all reports are made from."""

from tests.validation.made import BAD, GOOD, LEFT_OUT, validation, without


def test_what_refuses_comes_first_and_the_headline_counts_it():
    found = validation(without(BAD, "calibration.ece"))
    assert [(f.rule, f.outcome.value) for f in found.findings] == [
        ("quality.paired", "failed"),
        ("quality.slices", "failed"),
        ("ood.auroc_drop", "underpowered"),
        ("calibration.ece", "no evidence"),
    ]
    assert not found.passed
    assert found.headline == "refused: 4 of 4 rules of policy mine 3 do not pass"


def test_a_rule_without_evidence_says_why_and_how_to_judge_without_it():
    found = validation(without(GOOD, "calibration.ece"))
    assert found.findings[0].observed == "calibration.ece was not measured: no answers"
    assert found.advice.endswith("leave it out by name: --leave-out calibration.ece")
    assert found.verdict.findings[2].observed == "calibration.ece was not measured"  # as the gate said it
    assert validation(GOOD).advice == ""


def test_a_pass_says_what_was_left_out():
    assert validation(GOOD).headline == "passed: all 4 rules of policy mine 3"
    assert validation(GOOD, left_out=(LEFT_OUT,)).headline == "passed: all 4 rules of policy mine 3; 1 more left out"


def test_the_document_holds_what_an_auditor_needs_to_decide_again():
    document = validation(BAD, left_out=(LEFT_OUT,)).to_document()
    assert document["verdict"]["passed"] is document["passed"] is False
    assert document["verdict"]["policy"] == validation(BAD).policy.digest
    assert [each["subject"] for each in document["evidence"]] == [document["sources"]["model"]["digest"]]
    assert document["left_out"] == ["artifact.deviation"]
