"""What a policy would have decided on a model's past."""

from pathlib import Path

import pytest

from policies.rejudging import Fate, ReadDocument, retried, without_evidence
from pruneguard import testing
from pruneguard.artifacts import Artifacts
from pruneguard.errors import UnavailableError
from pruneguard.ledger.state import Model
from pruneguard.verdict import Outcome
from tests.gates.cases import policy, rule

SEEN = rule("at_least", "quality.accuracy", limit=0.5)
UNSEEN = rule("at_most", "quality.flips", limit=0.5)
STRICT = rule("at_least", "quality.accuracy", limit=0.999)


@pytest.fixture
def past(tmp_path: Path) -> tuple[list[Model], ReadDocument]:
    ledger, artifacts = testing.memory_ledger(), Artifacts(str(tmp_path))
    testing.register(ledger)
    testing.story(ledger, artifacts)
    return list(ledger.state().models.values()), artifacts.get


def test_the_policy_that_judged_decides_the_same_again(past: tuple[list[Model], ReadDocument]) -> None:
    trials = retried(testing.POLICY, *past)
    assert {trial.given.passed for trial in trials} == {True, False}
    assert not any(trial.changed for trial in trials)
    for trial in trials:
        assert (trial.fate is Fate.PASSES) == trial.given.passed
        assert trial.refused_by == tuple(trial.given.objections)


def test_a_laxer_policy_passes_what_failed_and_a_stricter_one_fails_what_passed(
    past: tuple[list[Model], ReadDocument],
) -> None:
    for judged, passed, fate in ((policy(SEEN), False, Fate.PASSES), (policy(STRICT), True, Fate.FAILS)):
        changed = [trial for trial in retried(judged, *past) if trial.changed]
        assert changed
        assert all((trial.given.passed, trial.fate) == (passed, fate) for trial in changed)


def test_what_was_never_measured_is_no_pass_and_no_failure(past: tuple[list[Model], ReadDocument]) -> None:
    judged = policy(SEEN, UNSEEN)
    trials = retried(judged, *past)
    assert {trial.fate for trial in trials} == {Fate.OPEN}
    assert {trial.unmeasured for trial in trials} == {(UNSEEN.name,)}
    assert without_evidence(judged, trials) == [UNSEEN.name]
    assert not any(trial.changed for trial in trials)


def test_what_was_measured_fails_whatever_was_not(past: tuple[list[Model], ReadDocument]) -> None:
    for trial in retried(policy(STRICT, UNSEEN), *past):
        assert trial.fate is Fate.FAILS
        assert trial.outcomes[STRICT.name] is Outcome.FAILED


def test_a_verdict_whose_evidence_is_gone_is_told_as_that(past: tuple[list[Model], ReadDocument]) -> None:
    models, _ = past

    def gone(digest: str) -> bytes:
        raise UnavailableError(f"{digest} is not here")

    trials = retried(policy(SEEN), models, gone)
    assert {trial.fate for trial in trials} == {Fate.OPEN}
    assert all("is not here" in trial.gone for trial in trials)
    assert without_evidence(policy(SEEN), trials) == [SEEN.name]
