"""How old evidence may be, as a policy says it: read, inherited, compared, explained, tried on the past."""

from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from policies.comparing import Change, differences
from policies.document import load_policy
from policies.explaining import terms
from policies.rejudging import retried
from policies.schema import schema
from pruneguard.errors import InvalidInputError
from pruneguard.evidence import Estimate, Evidence
from pruneguard.ledger.state import GivenVerdict, Model
from tests.gates.cases import CANDIDATE, DATA, TWIN, evidence, policy, rule

LIMITED = replace(policy(rule("at_most", "quality.flips", limit=0.1)), evidence_days_max=30)
HEAD = "policy: mine\nversion: 1\npurpose: testing\nextends: high-risk\n"


def written(folder: Path, text: str) -> Path:
    file = folder / "mine.yaml"
    file.write_text(HEAD + text)
    return file


def test_a_child_has_its_parents_days_or_its_own(tmp_path: Path) -> None:
    assert load_policy(written(tmp_path, "")).evidence_days_max == load_policy("high-risk").evidence_days_max == 30
    assert load_policy(written(tmp_path, "evidence_days_max: 7\n")).evidence_days_max == 7


@pytest.mark.parametrize("days", ["0", "4000", "a week", "1.5"])
def test_days_that_are_none_are_refused_with_their_line(tmp_path: Path, days: str) -> None:
    with pytest.raises(InvalidInputError, match=r":5: evidence_days_max: expected a whole number from 1 to 3650"):
        load_policy(written(tmp_path, f"evidence_days_max: {days}\n"))


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [(30, 31, Change.LAXER), (30, 29, Change.STRICTER), (30, None, Change.LAXER), (None, 3650, Change.STRICTER)],
)
def test_more_days_are_laxer_and_no_limit_is_the_laxest(old: int | None, new: int | None, change: Change) -> None:
    (found,) = differences(*(replace(LIMITED, evidence_days_max=days) for days in (old, new)))
    assert (found.name, found.change) == ("evidence_days_max", change)


def test_a_policy_tells_its_days_in_plain_words() -> None:
    assert terms(LIMITED)[-1] == "What was measured more than 30 days before it is judged does not count."
    assert not any("days before" in text for text in terms(replace(LIMITED, evidence_days_max=None)))


def test_editors_know_the_days() -> None:
    jsonschema.validate({"evidence_days_max": 30}, {"properties": schema()["properties"]})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"evidence_days_max": 0}, {"properties": schema()["properties"]})


@pytest.mark.parametrize(("admitted", "passes"), [("2026-01-02", True), ("2025-11-01", False)])
def test_past_evidence_is_tried_as_old_as_it_was_then(admitted: str, passes: bool) -> None:
    about_data = Evidence(DATA, None, DATA, {"data.leakage": Estimate(0.0)}, measured_at=f"{admitted}T00:00:00.000000Z")
    about_model = replace(evidence({"quality.flips": Estimate(0.0)}), measured_at="2026-01-05T00:00:00.000000Z")
    documents = {each.digest: each.encode() for each in (about_data, about_model)}
    given = GivenVerdict("v", "run", CANDIDATE, TWIN, DATA, "p", tuple(documents), "gate", True, 2, {}, None, 0)
    both = replace(LIMITED, rules=(*LIMITED.rules, rule("at_most", "data.leakage", limit=0)))
    (trial,) = retried(both, [Model("tiny", verdicts=[given])], documents.__getitem__)
    assert (trial.fate == "passes") is passes
