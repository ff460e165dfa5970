"""Small frameworks of one control over a handful of events: each state, at its edges."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from policies.framework import load_frameworks
from pruneguard import canonical
from pruneguard.audit.controls import History, Row, State, assess
from pruneguard.audit.frameworks import Automation, Control, Framework, Group, Need
from pruneguard.ledger.events import Event

NOW = "2026-06-01T00:00:00.000000Z"
DIGEST = "sha256:" + "a" * 64
MODEL = {"model": "digits", "number": 2}


def event(kind: str, day: str = "2026-05-30", /, refs: Mapping[str, Any] | None = None, **data: Any) -> Event:
    return Event(kind, "ada", data, refs or {}, time=f"{day}T00:00:00.000000Z")


def attached(day: str = "2026-05-30", *, document: str | None = None, **data: Any) -> Event:
    refs = {"document": document} if document else {}
    said = {"framework": "mine", "control": "C 1", "title": "The register", "statement": "It is kept.", **data}
    return event("document.attached", day, refs, **said)


def control(*needs: Need | str, automation: str = "A", **more: Any) -> Control:
    wanted = tuple(Need.of(need) if isinstance(need, str) else need for need in needs)
    return Control(
        "C 1", "C", Automation(automation), "what is wanted", text="Do.", shows="It was.", needs=wanted, **more
    )


def history(
    *events: Event, at: str = NOW, documents: Mapping[str, Any] | None = None, broken: Mapping[int, str] | None = None
) -> History:
    kinds: dict[str, list[int]] = {}
    for index, happened in enumerate(events):
        if index not in (broken or {}):
            kinds.setdefault(happened.type, []).append(index)
    stored = {digest: canonical.encode(document) for digest, document in (documents or {}).items()}
    return History(at, kinds, lambda index: events[index], stored.get, sorted((broken or {}).items()))


def row(asked: Control, told: History) -> Row:
    framework = Framework("mine", "Mine", "me", "", "", (), (Group("C", "All"),), (asked,), DIGEST)
    (found,) = assess(framework, told)
    return found


# -- what records evidence --------------------------------------------------------------------------------------------


def test_missing_evidence_is_none_and_says_what_is_missing() -> None:
    found = row(control("verdict.given"), history())
    assert (found.state, found.positions, found.missing, found.shown) == (State.NONE, (), ("verdict.given",), "")


def test_an_entry_of_the_type_is_evidence_by_its_position() -> None:
    found = row(control("verdict.given"), history(event("run.started"), event("verdict.given")))
    assert (found.state, found.positions, found.shown) == (State.EVIDENCED, (1,), "It was.")


def test_one_need_of_two_is_part_of_it_and_says_which_is_missing() -> None:
    found = row(control("verdict.given", "batch.sealed"), history(event("verdict.given")))
    assert (found.state, found.missing) == (State.PARTIAL, ("batch.sealed",))
    assert found.shown.startswith("In part")


def test_either_of_two_types_meets_a_need_that_names_both() -> None:
    assert row(control("alarm.raised|batch.sealed"), history(event("batch.sealed"))).state is State.EVIDENCED


def test_the_newest_entries_are_cited_and_no_more_than_three() -> None:
    assert row(control("batch.sealed"), history(*[event("batch.sealed")] * 9)).positions == (6, 7, 8)


def test_a_condition_is_about_what_the_event_holds() -> None:
    canary = Need(("traffic.shifted",), has="share", differs="1")
    assert row(control(canary), history(event("traffic.shifted", share="1"))).state is State.NONE
    assert row(control(canary), history(event("traffic.shifted", share="0.1"))).state is State.EVIDENCED


@pytest.mark.parametrize(
    ("document", "state"),
    [
        ({"measurements": {"robustness.noise.paired": {"n": 3}}}, State.EVIDENCED),
        ({"measurements": {"quality.paired": {"n": 3}}}, State.NONE),
        ({"measurements": {"robustness.noise.paired": {}}}, State.NONE),
        ({"measurements": []}, State.NONE),
        (["measurements"], State.NONE),
        (None, State.NONE),
    ],
)
def test_a_condition_is_looked_up_in_the_document_that_the_entry_names(document: Any, state: State) -> None:
    need = Need(("verdict.given",), "evidence", "measurements/robustness.*")
    told = history(
        event("verdict.given", refs={"evidence": [DIGEST]}), documents={DIGEST: document} if document else {}
    )
    assert row(control(need), told).state is state


def test_an_absent_document_or_one_that_is_no_json_shows_nothing() -> None:
    need = Need(("verdict.given",), "evidence", "measurements/*")
    told = history(event("verdict.given", refs={"evidence": [DIGEST, 7]}))
    assert row(control(need), told).state is State.NONE
    assert row(control(need), replace(told, read=lambda digest: b"\xff{")).state is State.NONE


def test_a_row_cites_the_documents_that_are_there() -> None:
    told = history(event("verdict.given", refs={"verdict": DIGEST, "policy": "sha256:00"}), documents={DIGEST: {}})
    assert row(control("verdict.given"), told).cited[0].documents == (DIGEST,)


# -- age and expiry ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("day", "state"), [("2026-05-02", State.EVIDENCED), ("2026-05-01", State.STALE)])
def test_recurring_evidence_is_stale_beyond_its_age(day: str, state: State) -> None:
    found = row(control("batch.sealed", days=30), history(event("batch.sealed", day)))
    assert (found.state, bool(found.missing)) == (state, state is State.STALE)


def test_the_newest_entry_decides_the_age() -> None:
    told = history(event("batch.sealed", "2025-01-01"), event("batch.sealed", "2026-05-20"))
    assert row(control("batch.sealed", days=30), told).state is State.EVIDENCED


def test_evidence_without_an_age_limit_does_not_grow_old() -> None:
    assert row(control("key.registered"), history(event("key.registered", "2020-01-01"))).state is State.EVIDENCED


@pytest.mark.parametrize(
    ("review", "state"),
    [("2026-06-02", State.EVIDENCED), ("2026-06-01", State.STALE), ("soon", State.STALE), (None, State.STALE)],
)
def test_evidence_expires_on_the_day_that_it_names(review: str | None, state: State) -> None:
    need = Need(("run.started",), "manifest", "about/owner", until="about/next_review")
    about = {"owner": "the team", **({"next_review": review} if review else {})}
    told = history(event("run.started", refs={"manifest": DIGEST}), documents={DIGEST: {"about": about}})
    assert row(control(need), told).state is state


# -- what people bring ------------------------------------------------------------------------------------------------


def test_a_shared_control_is_half_filled_until_a_person_speaks() -> None:
    shared = control("verdict.given", automation="S")
    half = row(shared, history(event("verdict.given")))
    assert (half.state, half.system, half.missing) == (State.PARTIAL, State.EVIDENCED, ("a person's signed statement",))
    assert row(shared, history(event("verdict.given"), attached())).state is State.EVIDENCED


def test_a_statement_without_a_record_is_a_statement_only() -> None:
    for automation in "AS":
        assert row(control("verdict.given", automation=automation), history(attached())).state is State.STATEMENT_ONLY


def test_a_human_process_is_evidenced_by_a_document_and_not_by_words_or_events() -> None:
    human = control(automation="M")
    assert row(human, history(event("verdict.given"))).state is State.NONE
    assert row(human, history(attached())).state is State.STATEMENT_ONLY
    assert row(human, history(attached(document=DIGEST))).state is State.EVIDENCED


@pytest.mark.parametrize(("expires", "current"), [("2026-06-01T00:00:00.000001Z", True), (NOW, False)])
def test_what_was_attached_holds_until_its_end_and_not_at_it(expires: str, current: bool) -> None:
    found = row(control(automation="M"), history(attached(document=DIGEST, expires=expires)))
    assert found.state is (State.EVIDENCED if current else State.STALE)
    assert found.attached[0].current is current


def test_a_shared_control_whose_statement_expired_is_stale_and_says_which() -> None:
    told = history(event("verdict.given"), attached(expires=NOW))
    found = row(control("verdict.given", automation="S"), told)
    assert found.state is State.STALE
    assert "entry 1 has expired" in found.missing[0]


def test_what_is_attached_to_another_control_or_framework_is_not_counted() -> None:
    told = history(attached(control="C 2", document=DIGEST), attached(framework="theirs", document=DIGEST))
    assert row(control(automation="M"), told).state is State.NONE


# -- what speaks against ----------------------------------------------------------------------------------------------


def test_an_entry_that_broke_a_rule_contradicts_the_controls_of_its_type_only() -> None:
    told = history(event("release.approved"), event("release.approved"), broken={1: "made it; somebody else must"})
    found = row(control("release.approved"), told)
    assert (found.state, found.positions) == (State.CONTRADICTED, (0, 1))
    assert "made it; somebody else must" in found.why
    assert row(control("verdict.given"), told).state is State.NONE


@pytest.mark.parametrize(("refused", "state"), [(20, State.EVIDENCED), (19, State.CONTRADICTED)])
def test_gates_that_let_bad_evidence_pass_contradict(refused: int, state: State) -> None:
    told = history(event("gates.self_tested", refused=refused, of=20))
    assert row(control("gates.self_tested", counter=("self-test-failed",)), told).state is state


@pytest.mark.parametrize(("refused", "state"), [(26, State.EVIDENCED), (25, State.CONTRADICTED)])
def test_a_drill_in_which_a_bad_network_passed_contradicts_whatever_the_other_trial_says(
    refused: int, state: State
) -> None:
    told = history(event("gates.drilled", refused=refused, of=26), event("gates.self_tested", refused=20, of=20))
    assert row(control("gates.self_tested|gates.drilled", counter=("self-test-failed",)), told).state is state


def test_only_the_newest_trial_of_the_gates_counts() -> None:
    told = history(event("gates.self_tested", refused=1, of=20), event("gates.self_tested", refused=20, of=20))
    assert row(control("gates.self_tested", counter=("self-test-failed",)), told).state is State.EVIDENCED


LIVE = (
    event("traffic.shifted", model="digits", number=1, share="1"),
    event("traffic.shifted", **MODEL, share="0.1"),
    event("traffic.shifted", **MODEL, share="1"),
    event("alarm.raised", **MODEL),
)


@pytest.mark.parametrize(
    ("after", "state"),
    [
        ((), State.CONTRADICTED),
        ((event("release.rolled_back", **MODEL, to=1),), State.EVIDENCED),
        ((event("traffic.shifted", model="digits", number=3, share="1"),), State.EVIDENCED),
        ((event("run.started", model="digits"),), State.EVIDENCED),
        ((event("run.started", model="spam"),), State.CONTRADICTED),
        ((attached(),), State.EVIDENCED),
        ((attached(control="C 2"),), State.CONTRADICTED),
        ((event("traffic.shifted", model="digits", number=3, share="0.1"),), State.CONTRADICTED),
    ],
    ids=("nothing", "rollback", "newer version", "new run", "another's run", "statement", "other control", "canary"),
)
def test_an_alarm_that_nothing_followed_contradicts(after: tuple[Event, ...], state: State) -> None:
    found = row(control("alarm.raised", counter=("alarm-unanswered",)), history(*LIVE, *after))
    assert found.state is state


def test_an_alarm_about_a_canary_is_answered_by_taking_it_back() -> None:
    told = history(*LIVE[:2], LIVE[3], event("release.rolled_back", **MODEL, to=1))
    assert row(control("alarm.raised", counter=("alarm-unanswered",)), told).state is State.EVIDENCED


@pytest.mark.parametrize(
    ("expires", "live", "state"),
    [
        ("2026-06-02T00:00:00.000000Z", True, State.EVIDENCED),
        (NOW, True, State.CONTRADICTED),
        (NOW, False, State.EVIDENCED),
    ],
)
def test_a_version_that_answers_on_a_lapsed_waiver_contradicts(expires: str, live: bool, state: State) -> None:
    told = [
        event("waiver.granted", refs={"model": DIGEST}, model="digits", rule="accuracy", expires=expires),
        event("release.proposed", refs={"model": DIGEST}, **MODEL),
        event("traffic.shifted", **MODEL, share="1"),
    ]
    asked = control("waiver.granted", counter=("waiver-lapsed",))
    assert row(asked, history(*told[: 3 if live else 2])).state is state


def test_a_newer_waiver_replaces_the_one_that_lapsed() -> None:
    waivers = [
        event("waiver.granted", refs={"model": DIGEST}, model="digits", rule="accuracy", expires=expires)
        for expires in (NOW, "2026-08-01T00:00:00.000000Z")
    ]
    told = [*waivers, event("release.proposed", refs={"model": DIGEST}, **MODEL), LIVE[2]]
    assert row(control("waiver.granted", counter=("waiver-lapsed",)), history(*told)).state is State.EVIDENCED


# -- the frameworks that are shipped ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nist-ai-rmf", "iso-42001", "eu-ai-act"])
def test_an_empty_history_evidences_nothing_anywhere(name: str) -> None:
    framework = Framework.decode(load_frameworks([name])[name])
    rows = assess(framework, history())
    assert {found.state for found in rows} == {State.NONE}
    assert all(found.missing and not found.positions for found in rows)
    assert [found.control for found in rows] == list(framework.controls)
