"""Every rule of the fold: who may not do what, and that a broken rule changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from pruneguard import testing
from pruneguard.ledger import dsse, fold, rules
from pruneguard.ledger.events import PAYLOAD_TYPE, Entry, Event
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.state import Role, State, Status
from pruneguard.policy import Action

PEOPLE = testing.people()
POLICY, ROWS = "sha256:policy", "sha256:rows"
TWIN, SLIM, STUMP = "sha256:twin", "sha256:slim", "sha256:stump"


@dataclass
class Log:
    """A log in the making: each act is folded in, and its reasons for refusal come back."""

    state: State = field(default_factory=State)
    effective: list[Entry] = field(default_factory=list)

    def add(self, event: Event, signer: Signer | None = None) -> list[str]:
        if signer is None:
            return self.fold(Entry(event, None))
        meant = replace(event, ledger=self.state.id)
        return self.fold(Entry(meant, signer.sign(meant)))

    def fold(self, entry: Entry) -> list[str]:
        why = rules.objections(self.state, entry)
        before = len(self.state.violations)
        fold.apply(self.state, self.state.size, entry)
        assert [reason for _, reason in self.state.violations[before:]] == why
        if not why:
            self.effective.append(entry)
        return why

    def act(
        self,
        type_: str,
        actor: str,
        refs: Mapping[str, Any] | None = None,
        /,
        *,
        causation: str | None = None,
        **data: Any,
    ) -> list[str]:
        """An act on the model `digits`, signed where its type asks for that."""
        about = {} if type_ in ("key.registered", "policy.adopted") else {"model": "digits"}
        event = Event(type_, actor, {**about, **data}, refs or {}, causation)
        signed = type_ in ("key.registered", "policy.adopted", "run.started", "release.proposed", "release.approved")
        return self.add(event, PEOPLE[actor] if signed else None)

    def register(self, actor: str, *roles: str, by: str = "root", key: str | None = None) -> list[str]:
        public = key or (PEOPLE[actor].public_key if actor in PEOPLE else testing.people()["ada"].public_key)
        return self.act("key.registered", by, actor=actor, person=actor, public_key=public, roles=list(roles))

    def make(self, digest: str, run: str = "r1") -> None:
        """Record where the rows, the twin and a model come from, unless that is known."""
        if ROWS not in self.state.makers:
            self.act("data.admitted", "ada", {"data": ROWS, "evidence": "e"}, run=run)
        for model in (TWIN, digest):
            if model not in self.state.makers:
                self.act("model.trained", "ada", {"model": model, "data": ROWS}, run=run)

    def judge(
        self, digest: str, verdict: str, *, passed: bool = True, split: str = "release", run: str = "r1"
    ) -> list[str]:
        self.make(digest, run)
        refs = {"model": digest, "parent": TWIN, "data": ROWS, "policy": POLICY, "verdict": verdict, "evidence": ["e"]}
        objections = [] if passed else ["accuracy: failed"]
        return self.act("verdict.given", "ada", refs, run=run, split=split, passed=passed, objections=objections)

    def propose(self, digest: str, verdict: str, number: int, *, by: str = "ada") -> list[str]:
        return self.act("release.proposed", by, {"model": digest, "verdict": verdict}, number=number)

    def approve(self, digest: str, number: int, *, by: str = "grace", reason: str = "sound") -> list[str]:
        return self.act("release.approved", by, {"model": digest}, number=number, reason=reason)

    def shift(self, digest: str, number: int, share: str = "1") -> list[str]:
        return self.act("traffic.shifted", rules.MONITOR, {"model": digest}, number=number, share=share)

    def roll_back(self, digest: str, number: int, to: int, *, by: str = "otto", **data: Any) -> list[str]:
        return self.act(
            "release.rolled_back", by, {"model": digest}, **{"number": number, "to": to, "reason": "bad", **data}
        )

    def alarm(self, digest: str, number: int) -> str:
        data = {"model": "digits", "number": number, "detector": "twin", "cause": "decay", "evidence": {}}
        event = Event("alarm.raised", rules.MONITOR, data, {"model": digest})
        assert not self.add(event)
        return event.id

    def release(self, digest: str, number: int) -> None:
        """Judge, propose, approve and make live."""
        acts = (
            self.judge(digest, f"v{number}"),
            self.propose(digest, f"v{number}", number),
            self.approve(digest, number),
            self.shift(digest, number),
        )
        assert acts == ([], [], [], [])

    @property
    def releases(self) -> dict[int, Status]:
        return {number: release.status for number, release in self.state.models["digits"].releases.items()}


@pytest.fixture
def log() -> Log:
    """People, a policy, and a run of ada's."""
    return started()


def started(*, approvals_min: int = 1, on_decay: Action = Action.ROLL_BACK) -> Log:
    log = Log()
    assert not log.add(Event("ledger.opened", rules.MONITOR, {"origin": "x"}))
    assert not log.register("root", "admin")
    assert not log.register("ada", "engineer")
    assert not log.register("grace", "approver")
    assert not log.register("otto", "operator")
    terms = {"name": "p", "version": 1, "approvals_min": approvals_min, "on_decay": on_decay.value}
    assert not log.act("policy.adopted", "grace", {"policy": POLICY}, **terms)
    assert not log.act("run.started", "ada", {"manifest": "m"}, run="r1")
    return log


# -- signatures


def test_a_decision_without_a_signature_is_refused(log: Log) -> None:
    (why,) = log.add(Event("run.started", "ada", {"run": "r2", "model": "digits"}, {"manifest": "m"}))
    assert "only a person's own signature" in why
    assert "r2" not in log.state.runs


def test_another_persons_signature_is_refused(log: Log) -> None:
    event = Event("run.started", "ada", {"run": "r2", "model": "digits"}, {"manifest": "m"})
    forged = dsse.Envelope.sign(event.encode(), PAYLOAD_TYPE, keyid="ada", key=PEOPLE["grace"].key)
    (why,) = log.fold(Entry(event, forged))
    assert "the signature is not 'ada'" in why


def test_a_signature_over_another_event_is_refused(log: Log) -> None:
    event = Event("run.started", "ada", {"run": "r2", "model": "digits"}, {"manifest": "m"})
    envelope = PEOPLE["ada"].sign(event)
    swapped = replace(envelope, payload=event.encode().replace(b'"r2"', b'"r3"'))
    (why,) = log.fold(Entry.decode(swapped.encode()))
    assert "signature" in why


def test_a_signature_over_another_type_of_payload_is_refused(log: Log) -> None:
    event = Event("run.started", "ada", {"run": "r2", "model": "digits"}, {"manifest": "m"})
    other = dsse.Envelope.sign(event.encode(), "text/plain", keyid="ada", key=PEOPLE["ada"].key)
    assert log.fold(Entry(event, replace(other, payload_type=PAYLOAD_TYPE)))


def test_a_signature_for_one_ledger_is_none_in_another(log: Log) -> None:
    """Same people, same keys, same name: an approval that was given elsewhere cannot be brought along."""
    elsewhere = started()
    for each in (log, elsewhere):
        each.judge(SLIM, "v1")
        each.propose(SLIM, "v1", 1)
    assert not elsewhere.approve(SLIM, 1)
    (why,) = log.fold(elsewhere.effective[-1])
    assert "signed for the ledger" in why
    assert log.releases == {1: Status.PROPOSED}


def test_a_stranger_cannot_act(log: Log) -> None:
    eve = Signer("eve", PEOPLE["ada"].key)
    why = log.add(Event("run.started", "eve", {"run": "r2", "model": "digits"}, {"manifest": "m"}), eve)
    assert "'eve' has no key" in why[0]


# -- keys and roles


def test_the_first_key_is_an_admins_own() -> None:
    assert Log().register("root", "engineer")
    assert Log().act(
        "key.registered", "root", actor="ada", person="ada", public_key=PEOPLE["root"].public_key, roles=["admin"]
    )
    assert not Log().register("root", "admin")


def test_nobody_but_an_admin_registers_keys(log: Log) -> None:
    fresh = Signer("eve", Ed25519PrivateKey.generate()).public_key
    assert log.register("eve", "engineer", by="grace", key=fresh) == ["key.registered: 'grace' is not an admin"]
    assert not log.register("eve", "engineer", key=fresh)


def test_nobody_grants_roles_to_themselves(log: Log) -> None:
    why = log.register("root", "admin", "approver")
    assert any("grant roles to themselves" in reason for reason in why)
    assert log.state.people["root"].roles == {Role.ADMIN}


def test_a_person_has_one_key_and_a_key_one_person(log: Log) -> None:
    other = Signer("x", Ed25519PrivateKey.generate()).public_key
    assert any("has a key already" in reason for reason in log.register("ada", "approver", key=other))
    shared = log.register("eve", "approver", key=PEOPLE["ada"].public_key)
    assert any("another person already" in reason for reason in shared)
    assert log.state.may("ada", Role.APPROVER) is False


def test_nobody_gets_a_key_in_the_monitors_name(log: Log) -> None:
    other = Signer("x", Ed25519PrivateKey.generate()).public_key
    assert any("own name" in reason for reason in log.register(rules.MONITOR, "operator", key=other))


def test_an_admin_cannot_be_an_approver(log: Log) -> None:
    other = Signer("x", Ed25519PrivateKey.generate()).public_key
    assert any("cannot approve" in reason for reason in log.register("eve", "admin", "approver", key=other))


@pytest.mark.parametrize("key", ["", "AAAA", "not base64", 44 * "A"])
def test_what_is_no_public_key_is_refused(log: Log, key: str) -> None:
    log.register("eve", "engineer", key=key or "=")
    assert "eve" not in log.state.people


def test_an_unknown_role_is_refused(log: Log) -> None:
    other = Signer("x", Ed25519PrivateKey.generate()).public_key
    assert log.register("eve", "king", key=other)


# -- policies and runs


@pytest.mark.parametrize("unknown", ["model", "parent", "data"])
def test_a_verdict_is_about_what_a_run_on_record_made(log: Log, unknown: str) -> None:
    log.make(SLIM)
    refs = {"model": SLIM, "parent": TWIN, "data": ROWS, "policy": POLICY, "verdict": "v1", "evidence": ["e"]}
    given = {"run": "r1", "split": "release", "passed": True, "objections": []}
    (why,) = log.act("verdict.given", "ada", {**refs, unknown: "sha256:from-nowhere"}, **given)
    assert f"made the {unknown} sha256:from-nowhere" in why


def test_an_engineer_does_not_adopt_policies(log: Log) -> None:
    terms = {"name": "p", "version": 2, "approvals_min": 1, "on_decay": "notify"}
    (why,) = log.act("policy.adopted", "ada", {"policy": "sha256:loose"}, **terms)
    assert "is not an approver" in why


@pytest.mark.parametrize("approvals", [0, -1, "1", 1.5])
def test_a_policy_asks_for_an_approval(log: Log, approvals: object) -> None:
    terms = {"name": "p", "version": 2, "approvals_min": approvals, "on_decay": "notify"}
    assert log.act("policy.adopted", "grace", {"policy": "sha256:loose"}, **terms)
    assert "sha256:loose" not in log.state.policies


def test_an_adopted_policy_keeps_its_terms(log: Log) -> None:
    terms = {"name": "p", "version": 1, "approvals_min": 1, "on_decay": Action.ROLL_BACK.value}
    assert not log.act("policy.adopted", "grace", {"policy": POLICY}, **terms)
    (why,) = log.act("policy.adopted", "grace", {"policy": POLICY}, **{**terms, "on_decay": "notify"})
    assert "other terms" in why
    assert log.state.policies[POLICY].on_decay == Action.ROLL_BACK.value


def test_a_verdict_on_a_replaced_policy_releases_nothing(log: Log) -> None:
    log.judge(SLIM, "v1")
    terms = {"name": "p", "version": 2, "approvals_min": 1, "on_decay": "notify"}
    assert not log.act("policy.adopted", "grace", {"policy": "sha256:stricter"}, **terms)
    (why,) = log.propose(SLIM, "v1", 1)
    assert "'p' version 2 has replaced" in why


@pytest.mark.parametrize("version", ["2", 1.5, True, None])
def test_a_policys_version_is_a_whole_number(log: Log, version: object) -> None:
    terms = {"name": "p", "version": version, "approvals_min": 1, "on_decay": "notify"}
    assert log.act("policy.adopted", "grace", {"policy": "sha256:loose"}, **terms)


def test_an_approver_does_not_start_runs(log: Log) -> None:
    assert log.act("run.started", "grace", {"manifest": "m"}, run="r2") == ["run.started: 'grace' is not an engineer"]


def test_a_run_starts_once_and_ends_once(log: Log) -> None:
    assert log.act("run.started", "ada", {"manifest": "m"}, run="r1") == ["run.started: run 'r1' exists already"]
    assert not log.act("run.finished", "ada", run="r1", outcome="done")
    assert log.act("run.finished", "ada", run="r1", outcome="done")
    assert any("ended" in why for why in log.judge(SLIM, "v1"))


def test_work_belongs_to_its_run(log: Log) -> None:
    trained = Event("model.trained", "ada", {"run": "r1", "model": "other"}, {"model": TWIN, "data": ROWS})
    (why,) = log.add(trained)
    assert "is about 'digits'" in why
    assert any("no run" in why for why in log.judge(SLIM, "v1", run="r9"))


def test_nobody_but_an_engineer_works_on_a_run(log: Log) -> None:
    """Else a word of anybody's would make an approver a maker, and so unable to approve."""
    assert log.act("model.trained", "grace", {"model": TWIN, "data": ROWS}, run="r1") == [
        "model.trained: 'grace' is not an engineer"
    ]
    assert log.state.runs["r1"].makers == {"ada"}


def test_a_verdict_rests_on_an_adopted_policy(log: Log) -> None:
    log.make(SLIM)
    refs = {"model": SLIM, "parent": TWIN, "data": ROWS, "policy": "sha256:mine", "verdict": "v", "evidence": ["e"]}
    (why,) = log.act("verdict.given", "ada", refs, run="r1", split="release", passed=True, objections=[])
    assert "never adopted" in why


@pytest.mark.parametrize(("passed", "objections"), [("false", []), (1, []), (True, ["accuracy: failed"])])
def test_a_verdict_is_a_plain_yes_or_no(log: Log, passed: object, objections: list[str]) -> None:
    refs = {"model": SLIM, "parent": TWIN, "data": ROWS, "policy": POLICY, "verdict": "v1", "evidence": ["e"]}
    assert log.act("verdict.given", "ada", refs, run="r1", split="release", passed=passed, objections=objections)
    assert log.propose(SLIM, "v1", 1)


# -- releases


def test_a_failed_verdict_cannot_be_proposed(log: Log) -> None:
    assert not log.judge(STUMP, "v1", passed=False)
    (why,) = log.propose(STUMP, "v1", 1)
    assert "the verdict is a no: accuracy: failed" in why
    assert not log.state.models["digits"].releases


def test_a_verdict_of_the_search_cannot_be_proposed(log: Log) -> None:
    assert not log.judge(SLIM, "v1", split="gate")
    (why,) = log.propose(SLIM, "v1", 1)
    assert "release split" in why


def test_what_was_never_judged_cannot_be_proposed(log: Log) -> None:
    assert log.propose(SLIM, "v1", 1)
    assert not log.judge(SLIM, "v1")
    (why,) = log.propose(STUMP, "v1", 1)
    assert "the verdict is about" in why


def test_an_approver_does_not_propose(log: Log) -> None:
    log.judge(SLIM, "v1")
    assert log.propose(SLIM, "v1", 1, by="grace") == ["release.proposed: 'grace' is not an engineer"]


@pytest.mark.parametrize("number", [0, 2, "1", True, 1.0])
def test_releases_are_numbered_without_gaps(log: Log, number: Any) -> None:
    log.judge(SLIM, "v1")
    assert any("next release has number 1" in why for why in log.propose(SLIM, "v1", number))


def with_role(log: Log, actor: str, *roles: str) -> Signer:
    signer = Signer(actor, Ed25519PrivateKey.generate())
    assert not log.register(actor, *roles, key=signer.public_key)
    return signer


def test_nobody_approves_what_they_made(log: Log) -> None:
    """Even with the approver's role: proposing, and any work on the run, make a maker."""
    both = with_role(log, "mia", "engineer", "approver")
    trained = Event("model.trained", "mia", {"run": "r1", "model": "digits"}, {"model": TWIN, "data": ROWS})
    assert not log.add(trained)
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    approval = Event("release.approved", "mia", {"model": "digits", "number": 1, "reason": "mine"}, {"model": SLIM})
    (why,) = log.add(approval, both)
    assert "made this release" in why
    assert log.releases == {1: Status.PROPOSED}


def test_who_made_a_model_in_another_run_is_a_maker_still(log: Log) -> None:
    """Neither by having somebody else judge it, nor by having made only its twin or its data."""
    both = with_role(log, "mia", "engineer", "approver")
    log.act("run.started", "ada", {"manifest": "m"}, run="r2")
    log.make(SLIM)
    made = {
        "data.admitted": {"data": "sha256:0", "evidence": "e"},
        "model.trained": {"model": "sha256:1", "data": ROWS},
        "model.pruned": {"model": "sha256:2", "parent": TWIN, "data": ROWS, "lineage": "l"},
    }
    for number, (type_, refs) in enumerate(made.items(), start=1):
        assert not log.act(type_, "mia", refs, run="r2", recipe={})
        named = {"model": SLIM, "parent": TWIN, "data": ROWS, "policy": POLICY, "verdict": f"v{number}", "evidence": []}
        named |= [{"data": "sha256:0"}, {"parent": "sha256:1"}, {"model": "sha256:2"}][number - 1]
        assert not log.act("verdict.given", "ada", named, run="r1", split="release", passed=True, objections=[])
        assert not log.propose(named["model"], f"v{number}", number)
        data = {"model": "digits", "number": number, "reason": "mine"}
        (why,) = log.add(Event("release.approved", "mia", data, {"model": named["model"]}), both)
        assert "made this release" in why


def test_nobody_approves_their_own_proposal(log: Log) -> None:
    both = with_role(log, "mia", "engineer", "approver")
    log.judge(SLIM, "v1")
    proposal = Event("release.proposed", "mia", {"model": "digits", "number": 1}, {"model": SLIM, "verdict": "v1"})
    assert not log.add(proposal, both)
    approval = Event("release.approved", "mia", {"model": "digits", "number": 1, "reason": "mine"}, {"model": SLIM})
    assert any("made this release" in why for why in log.add(approval, both))


@pytest.mark.parametrize("actor", ["otto", "root"])
def test_an_approval_needs_the_approvers_role(log: Log, actor: str) -> None:
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    assert log.approve(SLIM, 1, by=actor) == [f"release.approved: {actor!r} is not an approver"]


def test_an_approval_is_for_one_digest_and_needs_a_reason(log: Log) -> None:
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    assert any("with that digest" in why for why in log.approve(STUMP, 1))
    assert any("needs a reason" in why for why in log.approve(SLIM, 1, reason="  "))
    assert not log.approve(SLIM, 1)
    assert any("not proposed" in why for why in log.approve(SLIM, 1))


def test_two_approvals_are_two_people() -> None:
    log = started(approvals_min=2)
    second = with_role(log, "gil", "approver")
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    assert not log.approve(SLIM, 1)
    assert any("approved it already" in why for why in log.approve(SLIM, 1))
    assert log.releases == {1: Status.PROPOSED}
    assert log.shift(SLIM, 1)
    data = {"model": "digits", "number": 1, "reason": "sound"}
    assert not log.add(Event("release.approved", "gil", data, {"model": SLIM}), second)
    assert log.releases == {1: Status.APPROVED}


def test_a_role_counts_from_where_it_was_granted(log: Log) -> None:
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    late = Signer("gil", Ed25519PrivateKey.generate())
    approval = Event("release.approved", "gil", {"model": "digits", "number": 1, "reason": "early"}, {"model": SLIM})
    assert log.add(approval, late)
    assert not log.register("gil", "approver", key=late.public_key)
    assert log.releases == {1: Status.PROPOSED}


# -- traffic


def test_only_an_approved_release_takes_traffic(log: Log) -> None:
    log.judge(SLIM, "v1")
    assert log.shift(SLIM, 1)
    log.propose(SLIM, "v1", 1)
    assert any("only an approved release" in why for why in log.shift(SLIM, 1))


@pytest.mark.parametrize("share", ["0", "-0.1", "1.01", "nan", "inf", "much"])
def test_a_share_is_more_than_nothing_and_at_most_all(log: Log, share: str) -> None:
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    log.approve(SLIM, 1)
    assert log.shift(SLIM, 1, share)
    assert log.releases == {1: Status.APPROVED}


@pytest.mark.parametrize("actor", ["ada", "grace", "root", "nobody"])
def test_nobody_but_the_monitor_or_an_operator_moves_traffic(log: Log, actor: str) -> None:
    log.judge(SLIM, "v1")
    log.propose(SLIM, "v1", 1)
    log.approve(SLIM, 1)
    (why,) = log.act("traffic.shifted", actor, {"model": SLIM}, number=1, share="1")
    assert "is not an operator" in why
    assert log.releases == {1: Status.APPROVED}
    assert not log.act("traffic.shifted", "otto", {"model": SLIM}, number=1, share="1")


def test_a_live_release_retires_the_one_before(log: Log) -> None:
    log.release(TWIN, 1)
    log.release(SLIM, 2)
    assert log.releases == {1: Status.RETIRED, 2: Status.LIVE}
    assert log.shift(TWIN, 1)  # what was retired comes back by rollback, not by shifting


def test_there_is_one_canary_at_a_time(log: Log) -> None:
    log.release(TWIN, 1)
    for number, digest in ((2, SLIM), (3, STUMP)):
        log.judge(digest, f"v{number}")
        log.propose(digest, f"v{number}", number)
        log.approve(digest, number)
    assert not log.shift(SLIM, 2, "0.1")
    assert any("release 2 is in canary" in why for why in log.shift(STUMP, 3, "0.1"))


# -- rollback


def test_an_operator_alone_returns_to_the_version_that_was_live(log: Log) -> None:
    log.release(TWIN, 1)
    log.release(SLIM, 2)
    assert not log.roll_back(SLIM, 2, to=1)
    assert log.releases == {1: Status.LIVE, 2: Status.ROLLED_BACK}


def test_a_rollback_goes_only_to_the_version_that_was_live(log: Log) -> None:
    log.release(TWIN, 1)
    log.release(SLIM, 2)
    log.judge(STUMP, "v3")
    log.propose(STUMP, "v3", 3)
    log.approve(STUMP, 3)
    for never in (3, 2, 9):
        assert any("can only go back to 1" in why for why in log.roll_back(SLIM, 2, to=never))
    assert log.releases == {1: Status.RETIRED, 2: Status.LIVE, 3: Status.APPROVED}


def test_what_was_rolled_back_is_not_returned_to(log: Log) -> None:
    log.release(TWIN, 1)
    log.release(SLIM, 2)
    log.roll_back(SLIM, 2, to=1)
    log.release(STUMP, 3)
    assert any("can only go back to 1" in why for why in log.roll_back(STUMP, 3, to=2))
    assert not log.roll_back(STUMP, 3, to=1)


def test_a_rollback_returns_to_what_was_live_last_whatever_its_number(log: Log) -> None:
    for number, digest in ((1, TWIN), (2, SLIM), (3, STUMP)):
        log.judge(digest, f"v{number}")
        log.propose(digest, f"v{number}", number)
        log.approve(digest, number)
    for number, digest in ((3, STUMP), (1, TWIN), (2, SLIM)):
        assert not log.shift(digest, number)
    assert not log.roll_back(SLIM, 2, to=1)
    assert not log.roll_back(TWIN, 1, to=3)


def test_the_first_release_has_nowhere_to_go_back_to(log: Log) -> None:
    log.release(TWIN, 1)
    assert any("can only go back to nothing" in why for why in log.roll_back(TWIN, 1, to=1))
    assert log.releases == {1: Status.LIVE}


def test_a_canary_gives_way_to_the_live_version(log: Log) -> None:
    log.release(TWIN, 1)
    log.judge(SLIM, "v2")
    log.propose(SLIM, "v2", 2)
    log.approve(SLIM, 2)
    log.shift(SLIM, 2, "0.1")
    assert not log.roll_back(SLIM, 2, to=1)
    assert log.releases == {1: Status.LIVE, 2: Status.ROLLED_BACK}
    assert any("nothing to roll back" in why for why in log.roll_back(SLIM, 2, to=1))


@pytest.mark.parametrize("actor", ["ada", "grace", "root", "nobody"])
def test_nobody_but_an_operator_rolls_back(log: Log, actor: str) -> None:
    log.release(TWIN, 1)
    log.release(SLIM, 2)
    assert any("is not an operator" in why for why in log.roll_back(SLIM, 2, to=1, by=actor))


def test_a_rollback_needs_a_reason(log: Log) -> None:
    log.release(TWIN, 1)
    log.release(SLIM, 2)
    assert any("needs a reason" in why for why in log.roll_back(SLIM, 2, to=1, reason=""))


def test_a_monitor_rolls_back_only_for_its_alarm_about_this_release(log: Log) -> None:
    log.release(TWIN, 1)
    before = log.alarm(TWIN, 1)
    log.release(SLIM, 2)
    for alarm in (None, "no such alarm", before):
        why = log.roll_back(SLIM, 2, to=1, by=rules.MONITOR, alarm=alarm)
        assert any("for an alarm about this release" in reason for reason in why)
    assert not log.roll_back(SLIM, 2, to=1, by=rules.MONITOR, alarm=log.alarm(SLIM, 2))


def test_a_monitor_rolls_back_only_where_the_policy_lets_it() -> None:
    log = started(on_decay=Action.NOTIFY)
    log.release(TWIN, 1)
    log.release(SLIM, 2)
    alarm = log.alarm(SLIM, 2)
    assert any("policy does not let" in why for why in log.roll_back(SLIM, 2, to=1, by=rules.MONITOR, alarm=alarm))
    assert not log.roll_back(SLIM, 2, to=1)


# -- the fold itself


def test_what_happened_once_does_not_happen_again(log: Log) -> None:
    assert not log.act("run.finished", "ada", run="r1", outcome="done", causation="r1/finish")
    assert any(
        "happened already" in why
        for why in log.act("run.started", "ada", {"manifest": "m"}, run="r2", causation="r1/finish")
    )


def test_a_ledger_is_opened_once(log: Log) -> None:
    assert log.add(Event("ledger.opened", rules.MONITOR, {"origin": "y"}))
    assert log.state.origin == "x"


def test_observations_are_of_a_release(log: Log) -> None:
    refs = {"model": SLIM, "batch": "b"}
    assert log.act("batch.sealed", rules.MONITOR, refs, number=1, rows=5)
    log.release(SLIM, 1)
    assert log.act("batch.sealed", "otto", refs, number=1, rows=5) == ["batch.sealed: 'otto' is not the monitor"]
    assert not log.act("batch.sealed", rules.MONITOR, refs, number=1, rows=5)
    assert len(log.state.models["digits"].batches) == 1


def test_entries_are_folded_in_order(log: Log) -> None:
    with pytest.raises(ValueError, match="in order"):
        fold.apply(log.state, 3, Entry(Event("ledger.opened", "x", {"origin": "y"}), None))


@pytest.mark.parametrize("number", [None, "1", [], {}, 1.5])
def test_values_of_the_wrong_kind_are_violations_and_no_crash(log: Log, number: Any) -> None:
    log.release(TWIN, 1)
    for why in (log.approve(TWIN, number), log.shift(TWIN, number), log.roll_back(TWIN, number, to=1)):
        assert why
    assert log.releases == {1: Status.LIVE}


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
    "propose",
    "approve",
    "self-approve",
    "canary",
    "live",
    "roll back",
    "alarm and roll back",
)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(ACTS), st.sampled_from((0, 0, 0, 1, 2, 3))), max_size=40))
def test_two_folds_agree_on_what_is_live(acts: list[tuple[str, int]]) -> None:
    """What the rules let through, told a second way, ends in the same live version; and whatever takes traffic was
    judged well and approved by somebody else."""
    log = started()
    for name, number in acts:
        attempt(log, name, number)
    model = log.state.models["digits"]
    assert (model.live.number if model.live else None) == live_version(log.effective)
    assert [release.status for release in model.releases.values()].count(Status.LIVE) <= 1
    for release in model.releases.values():
        if release.share > 0:
            assert release.approvals == ["grace"]
            assert any(v.digest == release.verdict and v.passed for v in model.verdicts)


def attempt(log: Log, name: str, number: int) -> list[str]:
    """Try something about a release; number 0 is the one that it makes most sense for."""
    model = log.state.models["digits"]
    if number == 0:
        in_traffic = model.canary or model.live
        number = in_traffic.number if in_traffic and "roll back" in name else len(model.releases)
    digest = f"sha256:{number}"
    target = model.live if model.canary else model.fallback
    to = target.number if target else 0
    match name:
        case "prepare":
            number = len(model.releases) + 1
            digest = f"sha256:{number}"
            log.judge(digest, f"v{number}")
            return log.propose(digest, f"v{number}", number) + log.approve(digest, number)
        case "judge badly":
            return log.judge(digest, f"v{number}", passed=False)
        case "propose":
            return log.propose(digest, f"v{number}", number)
        case "approve":
            return log.approve(digest, number)
        case "self-approve":
            return log.approve(digest, number, by="ada")
        case "canary":
            return log.shift(digest, number, "0.1")
        case "live":
            return log.shift(digest, number)
        case "roll back":
            return log.roll_back(digest, number, to=to)
        case _:
            return log.roll_back(digest, number, to=to, by=rules.MONITOR, alarm="none")
