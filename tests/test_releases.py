"""The acts that move a release, on the test story's ledger: version 1 is live again after version 2 was rolled back."""

from dataclasses import replace
from datetime import timedelta

import pytest

from pruneguard import releases, testing
from pruneguard.artifacts import Artifacts
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.state import GivenVerdict, Status
from pruneguard.policy import Canary, Step

STEPS = tuple(Step(share, requests_min=200) for share in (0.1, 0.5))


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setattr(testing, "POLICY", replace(testing.POLICY, canary=Canary(STEPS)))
    ledger = testing.memory_ledger()
    testing.story(ledger, Artifacts("memory://test-releases"))
    return ledger


def test_a_rollback_with_nowhere_to_go_is_refused(ledger: Ledger) -> None:
    size = ledger.size
    otto = testing.people()["otto"]
    with pytest.raises(InvalidInputError, match="no earlier live version"):
        releases.roll_back(ledger, model="digits", reason="a test", actor="otto", signer=otto)
    assert ledger.size == size


def test_a_version_that_was_rolled_back_takes_no_traffic(ledger: Ledger) -> None:
    with pytest.raises(InvalidInputError, match="only an approved release"):
        releases.shift(ledger, model="digits", number=2, share=0.5)


def test_a_share_that_is_asked_for_again_after_another_is_given_again(ledger: Ledger) -> None:
    people, before = testing.people(), ledger.state().models["digits"].releases[2]
    verdict, otto = before.verdict, people["otto"]
    releases.propose(
        ledger, model="digits", candidate=before.digest, verdict=verdict, causation="again", signer=people["ada"]
    )
    releases.approve(ledger, model="digits", number=3, reason="all well", signer=people["grace"])

    def shifted(share: float) -> int:
        return releases.shift(ledger, model="digits", number=3, share=share, actor="otto", signer=otto).index

    at = [shifted(share) for share in (0.1, 0.1, 0.5, 0.1, 0.5, 1, 1)]
    assert at[0] == at[1] < at[2] < at[3] < at[4] < at[5] == at[6]
    releases.roll_back(ledger, model="digits", reason="worse", actor="otto", signer=otto)
    with pytest.raises(InvalidInputError, match="rolled back; only an approved release takes traffic"):
        shifted(1)


def test_a_search_verdict_releases_nothing(ledger: Ledger) -> None:
    given = ledger.state().models["digits"].verdicts[-1]
    event = ledger.entry(given.index).event
    script = testing.Script(ledger, Artifacts("memory://test-releases"))
    script.record("run.started", "ada", {"manifest": given.digest}, signed=True, run="digits-9")
    refs = {**event.refs, "verdict": "sha256:" + "0" * 64}
    script.record("verdict.given", "ada", refs, run="digits-9", split="gate", passed=True, rules=1, objections={})
    with pytest.raises(InvalidInputError, match="only the release split"):
        releases.propose(
            ledger,
            model="digits",
            candidate=given.candidate,
            verdict=refs["verdict"],
            causation="again",
            signer=testing.people()["ada"],
        )


def test_an_unknown_model_or_release_names_the_known(ledger: Ledger) -> None:
    with pytest.raises(InvalidInputError, match=r"\['digits'\]"):
        releases.find_model(ledger.state(), "nobody")
    with pytest.raises(InvalidInputError, match=r"\[1, 2\]"):
        releases.find_release(ledger.state(), model="digits", number=3)


def test_nothing_waits_for_approval_once_it_was_given(ledger: Ledger) -> None:
    assert releases.awaiting_approval(ledger.state()) == []
    assert ledger.state().models["digits"].releases[2].status is Status.ROLLED_BACK


def waive_all(ledger: Ledger, *, days: float = 30, by: str = "grace") -> GivenVerdict:
    """Take on every failed rule of the candidate that the story rejected."""
    verdict = next(v for v in ledger.state().models["digits"].verdicts if not v.passed)
    for rule in verdict.objections:
        releases.waive(
            ledger,
            model="digits",
            rule=rule,
            until=timedelta(days=days),
            reason="a pilot",
            control="a person looks at every answer",
            signer=testing.people()[by],
        )
    return verdict


def test_a_rejected_candidate_is_proposed_once_all_of_it_is_waived(ledger: Ledger) -> None:
    with pytest.raises(InvalidInputError, match="judged and not released"):
        releases.proposable(ledger.state(), model="digits")
    verdict = waive_all(ledger)
    found = releases.proposable(ledger.state(), model="digits")
    assert found.digest == verdict.digest
    ada, grace = testing.people()["ada"], testing.people()["grace"]
    about = {"model": "digits", "candidate": found.candidate, "verdict": found.digest}
    releases.propose(ledger, **about, causation="once more", signer=ada)
    releases.approve(ledger, model="digits", number=3, reason="read the waivers", signer=grace)
    state = ledger.state()
    told = releases.told_waivers(state, state.models["digits"].releases[3], state.clock)
    passed, rules = verdict.score().split("/")
    assert told.startswith(f"failed, waived: {passed}/{rules} rules pass, {rules}/{rules} with waivers; ")
    assert "by grace until" in told
    assert releases.told_approvals(state.models["digits"].releases[3]) == "grace (signed)"


def test_a_waiver_that_lapsed_is_told_of_what_takes_traffic_only(ledger: Ledger) -> None:
    found = waive_all(ledger)
    about = {"model": "digits", "candidate": found.candidate, "verdict": found.digest}
    releases.propose(ledger, **about, causation="once more", signer=testing.people()["ada"])
    releases.approve(ledger, model="digits", number=3, reason="read", signer=testing.people()["grace"])
    never = "9999-01-01T00:00:00.000000Z"
    assert releases.lapsed_waivers(ledger.state(), never) == []
    releases.shift(ledger, model="digits", number=3)
    assert releases.lapsed_waivers(ledger.state(), ledger.state().clock) == []
    lapsed = releases.lapsed_waivers(ledger.state(), never)
    assert {waiver.rule for _, waiver in lapsed} == set(found.objections)
    assert {release.number for release, _ in lapsed} == {3}
    state = ledger.state()
    assert "LAPSED" in releases.told_waivers(state, state.models["digits"].releases[3], never)


def test_a_rule_that_nothing_failed_cannot_be_waived(ledger: Ledger) -> None:
    with pytest.raises(InvalidInputError, match="objects to 'no leakage'; rules that failed are"):
        releases.waive(
            ledger,
            model="digits",
            rule="no leakage",
            until=timedelta(days=1),
            reason="a pilot",
            control="none",
            signer=testing.people()["grace"],
        )


def test_a_click_is_recorded_as_one(ledger: Ledger) -> None:
    found = waive_all(ledger)
    about = {"model": "digits", "candidate": found.candidate, "verdict": found.digest}
    releases.propose(ledger, **about, causation="once more", signer=testing.people()["ada"])
    done = releases.approve(ledger, model="digits", number=3, reason="read", actor="grace")
    assert done.event.data["assurance"] == "server-attested"
    release = ledger.state().models["digits"].releases[3]
    assert releases.told_approvals(release) == "grace (server-attested)"
    releases.shift(ledger, model="digits", number=3, share=0.1, actor="otto")
    back = releases.roll_back(ledger, model="digits", reason="seen enough", actor="otto")
    assert back.event.data["assurance"] == "server-attested"
