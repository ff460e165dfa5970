from typing import Any

import pytest

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.verdict import Finding, Outcome, Verdict


def finding(outcome: Outcome) -> Finding:
    return Finding("accuracy", "non_inferior", outcome, "-0.2 points", "above -1 points", "3 rows", "prune less")


def verdict(*outcomes: Outcome) -> Verdict:
    findings = tuple(finding(outcome) for outcome in outcomes)
    return Verdict("sha256:p", "sha256:c", "sha256:t", "sha256:d", ("sha256:e",), findings)


def test_a_verdict_without_findings_is_a_no() -> None:
    assert not verdict().passed


def test_a_verdict_passes_when_everything_was_passed_or_waived() -> None:
    assert verdict(Outcome.PASSED, Outcome.WAIVED).passed


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNDERPOWERED, Outcome.NO_EVIDENCE])
def test_one_finding_that_is_no_pass_stops_the_verdict_and_is_its_objection(outcome: Outcome) -> None:
    result = verdict(Outcome.PASSED, outcome, Outcome.PASSED)
    assert not result.passed
    assert result.objections == (finding(outcome),)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_verdict_comes_back_as_it_was_written(outcome: Outcome) -> None:
    assert Verdict.decode(verdict(outcome).encode()) == verdict(outcome)


def test_the_digest_names_every_finding() -> None:
    digests = {verdict(outcome).digest for outcome in Outcome}
    assert len(digests) == len(Outcome)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"passed": True}, "its findings say otherwise"),
        ({"passed": None}, "its findings say otherwise"),
        ({"kind": "evidence/v1"}, "expected 'verdict/v1'"),
        ({"findings": [{"outcome": "splendid"}]}, "malformed verdict"),
        ({"findings": [{"outcome": "passed"}]}, "malformed verdict"),
        ({"findings": None}, "malformed verdict"),
    ],
)
def test_a_document_that_is_no_honest_verdict_is_refused(change: dict[str, Any], why: str) -> None:
    content = canonical.encode({**verdict(Outcome.FAILED).to_document(), **change})
    with pytest.raises(InvalidInputError, match=why):
        Verdict.decode(content)
