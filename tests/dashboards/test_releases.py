from datetime import timedelta
from typing import Any

from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Selectbox

from pruneguard import home, releases
from pruneguard.ledger.state import Status
from pruneguard.settings import Settings
from pruneguard.testing import people
from tests.dashboards.stage import open_app, shown
from tests.ledgers import edit


def press(app: AppTest, *, actor: str | None, reason: str) -> AppTest:
    """Fill in the rollback's form and submit it."""
    if actor is not None:
        operator(app).select(actor)
    app.text_input[0].input(reason)
    return app.button[0].click().run()


def operator(app: AppTest) -> Selectbox[str]:
    return next(box for box in app.selectbox if box.label.startswith("Operator"))


def status(settings: Settings, model: str, number: int) -> Status:
    ledger = home.read_ledger(settings)
    found = ledger.state().models[model].releases[number].status
    ledger.close()
    return found


def test_a_rollback_says_what_it_will_do_and_shows_the_event_it_made(settings: Settings) -> None:
    app = open_app(settings, "releases", model="voice")
    assert "stops answering" in shown(app)
    press(app, actor="otto", reason="errors in the log")
    assert "Version 2 was rolled back; version 1 answers" in app.success[0].value
    assert '"reason":"errors in the log"' in app.code[0].value
    assert status(settings, "voice", 2) is Status.ROLLED_BACK
    assert status(settings, "voice", 1) is Status.LIVE


def test_a_rollback_without_a_reason_changes_nothing(settings: Settings) -> None:
    app = press(open_app(settings, "releases", model="voice"), actor="otto", reason="   ")
    assert app.error[0].value == "Nothing was rolled back: reason missing."
    assert status(settings, "voice", 2) is Status.CANARY


def test_a_rollback_without_an_operator_changes_nothing(settings: Settings) -> None:
    app = press(open_app(settings, "releases", model="voice"), actor=None, reason="errors")
    assert app.error[0].value == "Nothing was rolled back: operator missing."
    assert status(settings, "voice", 2) is Status.CANARY


def test_only_operators_can_be_chosen(settings: Settings) -> None:
    assert operator(open_app(settings, "releases", model="voice")).options == ["otto"]


def test_the_second_operator_is_told_what_the_first_did(settings: Settings) -> None:
    app = open_app(settings, "releases", model="voice")
    ledger = home.open_ledger(settings)
    releases.roll_back(ledger, model="voice", reason="first", actor="otto")
    ledger.close()
    press(app, actor="otto", reason="second")
    assert status(settings, "voice", 2) is Status.ROLLED_BACK
    assert "rolled back to version 1: first" in shown(app).replace("\\", "")
    assert "there is no earlier one to return to" in shown(app)
    assert not app.success


def test_markup_in_a_reason_stays_text(settings: Settings) -> None:
    app = open_app(settings, "releases", model="voice")
    press(app, actor="otto", reason="![x](http://example.org/x.png) <b>now</b>")
    timeline = app.table[-1].value["What"][0]
    assert "\\!\\[x\\]\\(http" in timeline
    assert "\\<b\\>" in timeline


def test_a_canary_shows_its_share_and_what_it_still_needs(settings: Settings) -> None:
    app = open_app(settings, "releases", model="voice")
    assert "answers 10 % of the requests" in shown(app)
    assert list(app.table[0].value["Traffic"]) == ["10 %", "90 %"]
    assert "120 of 200 requests sealed" in app.get("progress")[0].proto.text


def test_a_waiting_release_names_who_can_approve_and_how(settings: Settings) -> None:
    app = open_app(settings, "releases", model="spam")
    assert "needs 1 approval from" in app.warning[0].value
    assert app.code[0].value.startswith("pruneguard approve spam 2")


def test_the_first_version_has_nowhere_to_go_back_to(settings: Settings) -> None:
    app = open_app(settings, "releases", model="signs")
    assert "there is no earlier one to return to" in shown(app)
    assert not app.button


def test_a_ledger_found_edited_blocks_the_rollback(settings: Settings) -> None:
    audit = open_app(settings, "audit_trail")
    edit(settings, index=3)
    next(button for button in audit.button if button.label == "Verify now").click().run()
    app = open_app(settings, "releases", model="voice")
    assert not app.exception
    assert not app.button


def waived(settings: Settings) -> None:
    """Somebody takes on what a candidate of `spam` failed, and it is proposed and approved by a click."""
    ledger, signers = home.open_ledger(settings), people()
    verdict = next(v for v in ledger.state().models["spam"].verdicts if not v.passed)
    about: dict[str, Any] = {"reason": "a pilot", "control": "a person looks", "candidate": verdict.candidate}
    for rule in verdict.objections:
        until = timedelta(days=30)
        releases.waive(ledger, model="spam", rule=rule, until=until, signer=signers["grace"], **about)
    named = {"model": "spam", "candidate": verdict.candidate, "verdict": verdict.digest}
    releases.propose(ledger, **named, causation="a pilot", signer=signers["ada"])
    releases.approve(ledger, model="spam", number=3, reason="read the waivers", actor="grace")
    ledger.close()


def test_what_was_waived_is_shown_as_failed_with_its_score_and_a_click_as_a_click(settings: Settings) -> None:
    waived(settings)
    app = open_app(settings, "releases", model="spam")
    warning = next(box.value for box in app.warning if "waived" in box.value)
    assert "failed, waived" in warning
    assert "a person looks" in warning
    said = shown(app).replace("\\", "")
    assert "grace (server-attested)" in said
    assert "grace (signed)" in said
    assert "failed; " in shown(open_app(settings, "model", model="spam")).replace("\\", "")
