"""Real artefacts before a policy's gates: what counts as refused, as seen, and as enough clean ones."""

import json
from dataclasses import replace

import pytest

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.evidence import Estimate, Evidence, PairedTable
from pruneguard.gates.exhibits import CLEAN_MIN, STOPPED, ArtefactTest, Exhibit, tried
from tests.gates.cases import policy, rule

CANDIDATE, TWIN, DATA, OTHER = (f"sha256:{digit * 64}" for digit in "1234")
POLICY = policy(
    rule("non_inferior", "quality.paired", margin=0.01),
    rule("at_most", "calibration.ece_increase", limit=0.02),
)
GOOD = {"quality.paired": PairedTable(990, 5, 5, 0), "calibration.ece_increase": Estimate(0.0, n=1000)}
BAD = GOOD | {"quality.paired": PairedTable(900, 0, 100, 0)}


def exhibit(measured=GOOD, *, fault=None, aims_at="quality.paired", **changes) -> Exhibit:
    evidence = (Evidence(CANDIDATE, TWIN, DATA, measured),)
    return replace(Exhibit("it", fault, aims_at, CANDIDATE, TWIN, DATA, evidence), **changes)


def of(*exhibits: Exhibit) -> ArtefactTest:
    return ArtefactTest(POLICY, 1, exhibits)


def test_a_rule_that_refuses_what_it_looked_at_has_seen_the_fault() -> None:
    found = tried(POLICY, exhibit(BAD, fault="loses rows"))
    assert (found.refused, found.by, found.seen) == (True, ("quality.paired non_inferior",), True)


def test_a_fault_that_another_rule_refuses_was_not_seen_by_its_own() -> None:
    found = tried(POLICY, exhibit(BAD, fault="stated too surely", aims_at="calibration.ece_increase"))
    assert (found.refused, found.seen) == (True, False)


@pytest.mark.parametrize(("context", "seen"), [({STOPPED: "quality"}, False), ({}, True)])
def test_what_could_not_be_measured_is_seen_and_what_was_not_come_to_is_not(context, seen) -> None:
    only = {"calibration.ece_increase": GOOD["calibration.ece_increase"]}
    evidence = (Evidence(CANDIDATE, TWIN, DATA, only, context),)
    found = tried(POLICY, exhibit(fault="no gradient", evidence=evidence))
    assert (found.refused, found.seen) == (True, seen)


def test_evidence_about_another_file_than_the_released_one_is_seen_for_what_it_is() -> None:
    found = tried(POLICY, exhibit(fault="swapped", candidate=OTHER))
    assert (found.refused, found.seen) == (True, True)


def test_what_could_not_be_measured_is_refused() -> None:
    assert tried(POLICY, exhibit(fault="does not load", refusal="these 3 bytes are not a model")).refused


def test_one_bad_artefact_that_passes_fails_the_whole_test() -> None:
    clean, bad, let = exhibit(), exhibit(BAD, fault="bad"), exhibit(fault="nobody sees it")
    assert of(clean, bad).passed
    assert not of(clean, bad, let).passed


@pytest.mark.parametrize(("passing", "enough"), [(20, True), (16, True), (15, False), (0, False)])
def test_clean_ones_have_to_pass_at_the_stated_rate(passing: int, enough: bool) -> None:
    assert CLEAN_MIN == 0.8
    clean = [exhibit() for _ in range(passing)] + [exhibit(BAD) for _ in range(20 - passing)]
    assert of(exhibit(BAD, fault="bad"), *clean).passed is enough


def test_with_nothing_bad_or_nothing_clean_nothing_was_shown() -> None:
    assert not of(exhibit()).passed
    assert not of(exhibit(BAD, fault="bad")).passed
    assert not of().passed


def test_whoever_reads_the_document_decides_every_verdict_again() -> None:
    content = of(exhibit(BAD, fault="bad"), exhibit()).encode()
    read = ArtefactTest.decode(content, policy=POLICY)
    assert [each.refused for each in (*read.bad, *read.clean)] == [True, False]
    assert read.encode() == content


@pytest.mark.parametrize(("field", "value"), [("refused", False), ("by", []), ("candidate", OTHER), ("fault", None)])
def test_a_document_whose_evidence_says_otherwise_is_refused(field, value) -> None:
    document = json.loads(of(exhibit(BAD, fault="bad"), exhibit()).encode())
    document["exhibits"][0][field] = value
    with pytest.raises(InvalidInputError, match="does not lead"):
        ArtefactTest.decode(canonical.encode(document), policy=POLICY)


def test_a_document_of_another_policy_is_refused() -> None:
    content = of(exhibit(BAD, fault="bad"), exhibit()).encode()
    with pytest.raises(InvalidInputError, match="does not lead"):
        ArtefactTest.decode(content, policy=replace(POLICY, version=2))
