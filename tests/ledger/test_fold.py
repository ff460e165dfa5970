"""The fold itself: order, signatures, what happens once, what stood when; and what no sequence of acts can reach."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruneguard.ledger import dsse, fold, rules
from pruneguard.ledger.events import CATALOGUE, PAYLOAD_TYPE, TELEMETRY, Entry, Event
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.state import BATCHES_KEPT, DRIFT_KEPT, Assurance, State, Status
from tests.ledger.making import SLIM, STUMP, TEAM, TWIN, Log, digest, later, opened, raw, says, signer, started


@pytest.fixture
def log() -> Log:
    return started()


def starting(run: str = "r2") -> Event:
    return Event("run.started", "ada", {"run": run, "model": "digits"}, {"manifest": digest("m")})


# -- signatures


def test_a_decision_without_a_signature_is_refused(log: Log) -> None:
    assert says(log.add(starting()), "only a person's own signature")
    assert "r2" not in log.state.runs


def test_another_persons_signature_is_refused(log: Log) -> None:
    assert says(log.add(starting(), Signer("ada", signer("grace").key)), "the signature is not 'ada'")


def test_a_signature_over_another_event_is_refused(log: Log) -> None:
    envelope = signer("ada").sign(replace(starting(), ledger=log.state.id))
    swapped = replace(envelope, payload=envelope.payload.replace(b'"r2"', b'"r3"'))
    assert says(log.fold(Entry.decode(swapped.encode())), "the signature is not 'ada'")


def test_a_signature_over_another_type_of_payload_is_refused(log: Log) -> None:
    content = raw(replace(starting(), ledger=log.state.id))
    other = dsse.Envelope.sign(content, "text/plain", keyid="ada", key=signer("ada").key)
    assert says(log.fold(Entry.decode(replace(other, payload_type=PAYLOAD_TYPE).encode())), "signature")


def test_the_key_id_of_an_envelope_proves_nothing(log: Log) -> None:
    content = raw(replace(starting(), ledger=log.state.id))
    lying = dsse.Envelope.sign(content, PAYLOAD_TYPE, keyid="ada", key=signer("grace").key)
    assert says(log.fold(Entry.decode(lying.encode())), "the signature is not 'ada'")


def test_a_signature_for_one_ledger_is_none_in_another(log: Log) -> None:
    """Same people, same keys, same name: an approval that was given elsewhere cannot be brought along."""
    elsewhere = started()
    for each in (log, elsewhere):
        each.judge(SLIM, "v1")
        each.propose(SLIM, "v1", 1)
    assert not elsewhere.approve(SLIM, 1)
    assert says(log.fold(elsewhere.effective[-1]), "signed for the ledger")
    assert log.statuses == {1: Status.PROPOSED}


# -- order


def test_a_ledger_is_opened_once_by_the_service_and_before_anything_else(log: Log) -> None:
    assert says(log.act("ledger.opened", rules.MONITOR, origin="y"), "opened already")
    assert log.state.origin == "log.example/x"
    fresh = Log()
    assert any("not opened yet" in why for why in fresh.register("root", "admin"))
    assert says(fresh.act("ledger.opened", "eve", origin="y"), "only 'monitor' opens a ledger")
    assert says(Log().act("ledger.opened", rules.MONITOR, origin=" "), "origin is")


def test_what_happened_once_does_not_happen_again(log: Log) -> None:
    assert not log.act("run.finished", "ada", run="r1", model="digits", outcome="done", causation="r1/finish")
    why = log.act("run.started", "ada", {"manifest": "m"}, run="r2", model="digits", causation="r1/finish")
    assert says(why, "'r1/finish' has happened already")


def test_entries_are_folded_in_order(log: Log) -> None:
    opening = Entry(Event("ledger.opened", rules.MONITOR, {"origin": "y"}), None)
    with pytest.raises(ValueError, match="in order"):
        fold.apply(log.state, 3, opening)
    with pytest.raises(ValueError, match="in order"):
        fold.skip(log.state, 3)


def test_an_entry_that_breaks_a_rule_changes_nothing_but_the_record_of_it(log: Log) -> None:
    log.release(TWIN, 1)
    before = (log.state.clock, log.state.signed.copy(), log.state.causations.copy(), log.statuses)
    why = log.act(
        "run.started",
        "grace",
        {"manifest": "m"},
        run="r9",
        model="faces",
        causation="r9",
        time=later(before[0], days=9),
    )
    assert why
    assert log.state.violations == [(log.state.size - 1, why[0])]
    assert (log.state.clock, log.state.signed, log.state.causations, log.statuses) == before


def test_the_clock_never_goes_back(log: Log) -> None:
    now = log.state.clock
    assert not log.start("r2", time=later(now, days=-1))
    assert log.state.clock == now
    assert not log.start("r3", time=later(now, days=1))
    assert log.state.clock == later(now, days=1)


def test_every_type_of_event_has_a_rule_and_an_effect() -> None:
    assert rules._RULES.keys() == fold._EFFECTS.keys() == CATALOGUE.keys()


# -- telemetry is bounded


@pytest.mark.parametrize(
    ("type_", "ref", "kept"), [("batch.sealed", "batch", BATCHES_KEPT), ("drift.reported", "report", DRIFT_KEPT)]
)
def test_of_telemetry_only_the_newest_is_remembered(type_: str, ref: str, kept: int) -> None:
    log = started()
    log.release(TWIN, 1)
    told: dict[str, Any] = {"model": "digits", "number": 1, "rows": 1, "drifted": 0}
    refs = {"model": TWIN, ref: "seen"}
    before = len(log.state.causations)
    for number in range(kept + 2):
        assert not log.act(type_, rules.MONITOR, refs, **told, causation=f"w/{number}")
    model = log.state.models["digits"]
    newest = model.batches if type_ == "batch.sealed" else model.drift
    assert [newest[0]["causation"], newest[-1]["causation"]] == ["w/2", f"w/{kept + 1}"]
    assert len(log.state.causations) == before + kept
    assert says(log.act(type_, rules.MONITOR, refs, **told, causation="w/2"), "has happened already")
    assert len(log.state.kept) == log.state.size - kept - 2


def test_a_summary_of_telemetry_cannot_be_passed_off_as_another_entry(log: Log) -> None:
    log.release(TWIN, 1)
    assert not log.seal(TWIN, 1, index=0, refs="none")
    newest = log.state.models["digits"].batches[-1]
    assert newest["index"] == log.state.size - 1
    assert newest["refs"] == {"model": TWIN, "batch": digest("rows seen")}


# -- what stood at a time


def test_a_model_tells_what_answered_at_any_moment_and_who_decided_it(log: Log) -> None:
    assert log.state.models["digits"].standing(log.state.clock) == ()
    log.release(TWIN, 1)
    first = log.state.clock
    log.judge(SLIM, "v2")
    log.propose(SLIM, "v2", 2)
    log.approve(SLIM, 2)
    log.shift(SLIM, 2, "0.1")
    canary = log.state.clock
    log.shift(SLIM, 2)
    live = log.state.clock
    log.roll_back(SLIM, 2, to=1)
    model = log.state.models["digits"]

    def stood(at: str) -> list[tuple[int, float]]:
        return [(answering.release.number, answering.stretch.share) for answering in model.standing(at)]

    assert stood(later(first, microseconds=-1)) == []
    assert stood(first) == stood(later(canary, microseconds=-1)) == [(1, 1.0)]
    assert stood(canary) == [(1, 1.0), (2, 0.1)]
    assert stood(live) == [(2, 1.0)]
    assert stood(log.state.clock) == [(1, 1.0)]
    (answering,) = model.standing(live)
    assert answering.verdict.digest == digest("v2")
    assert [a.assurance for a in answering.release.approvals] == [Assurance.SIGNED]
    types = [log.effective[index].event.type for index in answering.decided_by]
    assert types == ["verdict.given", "release.proposed", "release.approved", "traffic.shifted"]


def test_a_clock_that_was_set_back_changes_no_order(log: Log) -> None:
    log.release(TWIN, 1)
    log.release(SLIM, 2)
    live = log.state.clock
    assert not log.roll_back(SLIM, 2, to=1, time=later(live, days=-1))
    model = log.state.models["digits"]
    assert [s.time for s in model.history] == sorted(s.time for s in model.history)
    assert [a.release.number for a in model.standing(live)] == [1]


# -- what is absent


def test_a_fold_without_dropped_telemetry_leads_to_the_same_decisions() -> None:
    log = started()
    log.release(TWIN, 1)
    for _ in range(5):
        assert not log.seal(TWIN, 1)
    log.release(SLIM, 2)
    again = State()
    for index, entry in enumerate(log.effective):
        if entry.event.type in TELEMETRY:
            fold.skip(again, index)
        else:
            fold.apply(again, index, entry)
    assert again.violations == []
    (start, end) = again.skipped[0]
    assert end - start == 5
    assert again.kept == log.state.kept
    assert again.models["digits"].releases == log.state.models["digits"].releases


# -- what no sequence of acts can reach


def live_version(entries: list[Entry]) -> int | None:
    """Which version of the one model answers, told a second way: no rules, no roles, only what took effect."""
    history: list[int] = []
    for entry in entries:
        data = entry.event.data
        if entry.event.type == "traffic.shifted" and float(data["share"]) == 1:
            history.append(data["number"])
        elif entry.event.type == "release.rolled_back" and history[-1] == data["number"]:
            history.pop()
    return history[-1] if history else None


ACTS = (
    "prepare",
    "judge badly",
    "waive",
    "propose",
    "approve",
    "click",
    "self-approve",
    "canary",
    "live",
    "roll back",
    "alarm and roll back",
    "wait",
    "revoke",
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ACTS), st.sampled_from((0, 0, 0, 1, 2, 3))), max_size=40))
def test_whatever_people_try_what_takes_traffic_was_judged_and_agreed_to(acts: list[tuple[str, int]]) -> None:
    """What the rules let through, told a second way, ends in the same live version; whatever takes traffic passed, or
    was waived rule by rule, and was approved by somebody who did not make it. The history leads to the same."""
    log = started(server_attested=False)
    for name, number in acts:
        attempt(log, name, number)
    model = log.state.models["digits"]
    assert (model.live.number if model.live else None) == live_version(log.effective)
    assert [release.status for release in model.releases.values()].count(Status.LIVE) <= 1
    for release in model.releases.values():
        if release.share > 0:
            assert set(release.approvers) <= {"grace", "gil"}
            assert release.approvals
            assert all(approval.assurance is Assurance.SIGNED for approval in release.approvals)
            verdict = model.by_digest[release.verdict]
            assert verdict.passed or set(verdict.objections) == set(release.waivers)
            assert all(log.state.waivers[release.digest, rule] for rule in release.waivers)
    serving = {answering.release.number: answering.stretch.share for answering in model.standing(log.state.clock)}
    assert serving == {release.number: release.share for release in model.releases.values() if release.share > 0}


def attempt(log: Log, name: str, number: int) -> list[str]:
    """Try something about a release; number 0 is the one that it makes most sense for."""
    model = log.state.models["digits"]
    if number == 0:
        in_traffic = model.canary or model.live
        number = in_traffic.number if in_traffic and "roll back" in name else len(model.releases)
    candidate, verdict = digest(f"model {number}"), f"v{number}"
    target = model.live if model.canary else model.fallback
    to = target.number if target else 1
    match name:
        case "prepare":
            number = len(model.releases) + 1
            candidate, verdict = digest(f"model {number}"), f"v{number}"
            log.judge(candidate, verdict)
            return log.propose(candidate, verdict, number) + log.approve(candidate, number)
        case "judge badly":
            number = len(model.releases) + 1
            return log.judge(digest(f"model {number}"), f"v{number}", objections={"speed": "failed"})
        case "waive":
            number = len(model.releases) + 1
            return log.waive(digest(f"model {number}"), f"v{number}")
        case "propose":
            number = len(model.releases) + 1
            return log.propose(digest(f"model {number}"), f"v{number}", number)
        case "approve":
            return log.approve(candidate, number)
        case "click":
            return log.approve(candidate, number, clicked=True)
        case "self-approve":
            return log.approve(candidate, number, by="ada")
        case "canary":
            return log.shift(candidate, number, "0.1")
        case "live":
            return log.shift(candidate, number)
        case "roll back":
            return log.roll_back(candidate, number, to=to)
        case "wait":
            log.waits(days=20)
            return []
        case "revoke":
            return log.act("key.revoked", "root", actor="grace", reason="lost")
        case _:
            return log.roll_back(candidate, number, to=to, by=rules.MONITOR, alarm=log.state.id)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.sampled_from(["", "1", "ada", "r1", "digits", digest("v1")]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "speed"]), inner, max_size=2),
    max_leaves=4,
)
LIVED = started()
LIVED.release(TWIN, 1)
LIVED.judge(STUMP, "v2", objections={"speed": "failed"})


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(CATALOGUE)), st.sampled_from([*TEAM, "root", rules.MONITOR]), st.data())
def test_no_content_of_any_event_makes_the_fold_raise(type_: str, actor: str, draw: st.DataObject) -> None:
    shape = CATALOGUE[type_]
    names = [field.name for field in shape.fields]
    data = {name: draw.draw(JUNK, name) for name in names}
    refs = {name: draw.draw(st.just(TWIN) | st.just(digest("v1")) | JUNK, name) for name in sorted(shape.refs)}
    meant = Event(type_, actor, data, refs, ledger=LIVED.state.id)
    by = None if actor == rules.MONITOR or draw.draw(st.booleans(), "unsigned") else signer(actor)
    entry = Entry.decode(
        dsse.Envelope.sign(raw(meant), PAYLOAD_TYPE, keyid="", key=by.key).encode() if by else raw(meant)
    )
    assert all(isinstance(why, str) for why in rules.objections(LIVED.state, entry))


def test_a_fresh_ledger_has_nobody_but_its_admin() -> None:
    assert opened().state.people.keys() == {"root"}
