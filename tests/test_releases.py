"""The acts that move a release, on the test story's ledger: version 1 is live again after version 2 was rolled back."""

import pytest

from pruneguard import releases, testing
from pruneguard.artifacts import Artifacts
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.state import Status


@pytest.fixture
def ledger() -> Ledger:
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


def test_a_search_verdict_releases_nothing(ledger: Ledger) -> None:
    given = ledger.state().models["digits"].verdicts[-1]
    event = ledger.entry(given.index).event
    script = testing.Script(ledger, Artifacts("memory://test-releases"))
    script.record("run.started", "ada", {"manifest": given.digest}, signed=True, run="digits-9")
    refs = {**event.refs, "verdict": "sha256:" + "0" * 64}
    script.record("verdict.given", "ada", refs, run="digits-9", split="gate", passed=True, objections=[])
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
