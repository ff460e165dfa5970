"""The acts that move a release. One way for the CLI, the dashboard, the flows and the monitors.

Each takes what it needs from the state, makes one event and lets the ledger decide whether it may take effect; a
refusal is an InvalidInputError with every reason.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from pruneguard.artifacts import Artifacts
from pruneguard.comparison import Comparison
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.events import Event, utc
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.ledger import Ledger, Recorded
from pruneguard.ledger.rules import MONITOR
from pruneguard.ledger.state import Assurance, GivenVerdict, Model, Release, State, Status, Waiver
from pruneguard.policy import Policy, next_share


def adopt(ledger: Ledger, artifacts: Artifacts, *, policy: Policy, signer: Signer) -> Recorded:
    """Make a policy one that verdicts here may rest on. Its document is stored under the digest that is recorded."""
    event = Event(
        type="policy.adopted",
        actor=signer.actor,
        data=policy.terms,
        refs={"policy": artifacts.put(policy.encode())},
    )
    return ledger.record(event, signer=signer)


def propose(ledger: Ledger, *, model: str, candidate: str, verdict: str, causation: str, signer: Signer) -> Recorded:
    """Put a judged candidate forward for release, under the model's next number."""
    known = ledger.state().models.get(model)
    event = Event(
        type="release.proposed",
        actor=signer.actor,
        data={"model": model, "number": len(known.releases) + 1 if known else 1},
        refs={"model": candidate, "verdict": verdict},
        causation=causation,
    )
    return ledger.record(event, signer=signer)


def waive(
    ledger: Ledger,
    *,
    model: str,
    rule: str,
    until: datetime | timedelta,
    reason: str,
    control: str,
    signer: Signer,
    candidate: str | None = None,
) -> Recorded:
    """Take on one failed rule of one candidate until some time, saying what is done instead of passing.

    Without a `candidate` it is the one of the newest final verdict that objects to the rule. Raises InvalidInputError
    where there is none, and with every reason for which this person may not.
    """
    known = find_model(ledger.state(), model)
    final = [verdict for verdict in known.verdicts if verdict.split == "release" and rule in verdict.objections]
    verdict = next((v for v in reversed(final) if candidate is None or v.candidate == candidate), None)
    if verdict is None:
        failed = sorted({name for v in known.verdicts if v.split == "release" for name in v.objections})
        raise InvalidInputError(
            f"no final verdict on {candidate or model} objects to {rule!r}; rules that failed are {failed or 'none'}"
        )
    now = datetime.now(UTC)
    event = Event(
        type="waiver.granted",
        actor=signer.actor,
        data={
            "model": model,
            "rule": rule,
            "reason": reason,
            "control": control,
            "expires": utc(now + until if isinstance(until, timedelta) else until),
            "before": verdict.score(),
            "after": verdict.score(1),
        },
        refs={"model": verdict.candidate, "verdict": verdict.digest},
        time=utc(now),
    )
    return ledger.record(event, signer=signer)


def approve(
    ledger: Ledger, *, model: str, number: int, reason: str, signer: Signer | None = None, actor: str = ""
) -> Recorded:
    """Agree to a proposed release with one's own key.

    Without one it is a click of `actor`, which is recorded as less, if the policy takes it at all.
    """
    release = find_release(ledger.state(), model=model, number=number)
    actor = signer.actor if signer else actor
    event = Event(
        type="release.approved",
        actor=actor,
        data={"model": model, "number": number, "reason": reason, **_assurance(actor, signer)},
        refs={"model": release.digest},
    )
    return ledger.record(event, signer=signer)


def shift(
    ledger: Ledger,
    *,
    model: str,
    number: int,
    share: float | None = None,
    actor: str = MONITOR,
    signer: Signer | None = None,
    comparison: Comparison | None = None,
) -> Recorded:
    """Give an approved release a share of the traffic; a share of 1 makes it live and retires the version before.

    Without a `share` it is the next of its policy's steps. `comparison`, stored before, is what a monitor lets a canary
    go on for. Asked for again while nothing has changed since, it is done once; after another change it is a new act.
    """
    state = ledger.state()
    release = find_release(state, model=model, number=number)
    share = onward(state, release) if share is None else share
    since = _last_other_change(state.models[model], number, share)
    data = {"model": model, "number": number, "share": f"{share:g}", **_assurance(actor, signer)}
    refs = {"model": release.digest}
    if comparison is not None:
        data["requests"], refs["comparison"] = comparison.requests, comparison.digest
    causation = f"{model}/{number}/share/{share:g}/since/{since}"
    return ledger.record(Event("traffic.shifted", actor, data, refs, causation), signer=signer)


def copy(
    ledger: Ledger,
    *,
    model: str,
    number: int,
    share: float | None,
    actor: str = MONITOR,
    signer: Signer | None = None,
) -> Recorded:
    """Let an approved release answer a share of the requests as well, unheard; None ends it."""
    release = find_release(ledger.state(), model=model, number=number)
    data = {"model": model, "number": number, "share": None if share is None else f"{share:g}"}
    event = Event("traffic.copied", actor, data | _assurance(actor, signer), {"model": release.digest})
    return ledger.record(event, signer=signer)


def hold(
    ledger: Ledger, *, model: str, number: int | None, reason: str, actor: str, signer: Signer | None = None
) -> Recorded:
    """Keep a release where it is: nobody, not the monitor either, gives it another share until it is resumed.

    Without a `number` it is the canary, or the next approved release. The way back stays open.
    """
    return _mark(ledger, "release.held", model=model, number=number, reason=reason, actor=actor, signer=signer)


def resume(
    ledger: Ledger, *, model: str, number: int | None, reason: str, actor: str, signer: Signer | None = None
) -> Recorded:
    """Let a held release go on. Without a `number` it is the one that is held."""
    return _mark(ledger, "release.resumed", model=model, number=number, reason=reason, actor=actor, signer=signer)


def _mark(
    ledger: Ledger, type_: str, *, model: str, number: int | None, reason: str, actor: str, signer: Signer | None
) -> Recorded:
    known = find_model(ledger.state(), model)
    held = type_ == "release.resumed"
    # What is in canary comes first, what is approved after it.
    waiting = [known.canary, *(r for r in known.releases.values() if r.status is Status.APPROVED)]
    found = next((r for r in waiting if r is not None and (r.held is not None) is held), None)
    if number is None and found is None:
        raise InvalidInputError(f"{model} has no release {'that is held' if held else 'on its way to traffic'}")
    release = find_release(ledger.state(), model=model, number=number) if number is not None else found
    assert release is not None  # one of both is there
    data = {"model": model, "number": release.number, "reason": reason, **_assurance(actor, signer)}
    return ledger.record(Event(type_, actor, data, {"model": release.digest}), signer=signer)


def divert(
    ledger: Ledger,
    *,
    model: str,
    reason: str,
    actor: str,
    to: int | None = None,
    nothing: bool = False,
    signer: Signer | None = None,
) -> Recorded:
    """The kill switch: take all traffic of a model away from its releases, until it is restored.

    `to` is a release that was live and has not been rolled back; without one it is what `stand_in` finds. Where that is
    none, or `nothing` is asked for, every request is refused with the reason.
    """
    known = find_model(ledger.state(), model)
    release = None if nothing else stand_in(known)
    if to is not None:
        release = find_release(ledger.state(), model=model, number=to)
    data = {"model": model, "to": release.number if release else None, "reason": reason, **_assurance(actor, signer)}
    refs = {"model": release.digest} if release else {}
    return ledger.record(Event("traffic.diverted", actor, data, refs), signer=signer)


def restore(ledger: Ledger, *, model: str, reason: str, actor: str, signer: Signer | None = None) -> Recorded:
    """Let what is live, and a canary beside it, answer again."""
    data = {"model": model, "reason": reason, **_assurance(actor, signer)}
    return ledger.record(Event("traffic.restored", actor, data), signer=signer)


def stand_in(model: Model) -> Release | None:
    """What answers for a model that is killed: the newest release of its twin, else what it answered by before.

    Only what was live itself and has not been rolled back; None where there is nothing else.
    """
    others = [r for r in model.releases.values() if r.was_live and r.status is Status.RETIRED]
    twin = model.live.twin if model.live else None
    return next((r for r in reversed(others) if r.digest == twin), model.fallback)


def onward(state: State, release: Release) -> float:
    """The share that comes next for a release: its policy's next step, or everything where nothing is live."""
    live = state.models[release.model].live
    return next_share(state.policies[release.policy].steps, release.share) if live is not None else 1.0


def roll_back(
    ledger: Ledger,
    *,
    model: str,
    reason: str,
    actor: str,
    number: int | None = None,
    signer: Signer | None = None,
    alarm: str | None = None,
) -> Recorded:
    """Take a canary out of traffic, or return from the live version to the one before it.

    Without a `number` it is the canary, or the live version where there is none. Raises InvalidInputError when there
    is nothing to roll back, nowhere to go, or the actor may not.
    """
    known = find_model(ledger.state(), model)
    release = find_release(ledger.state(), model=model, number=number) if number else known.canary or known.live
    if release is None:
        raise InvalidInputError(f"{model} has no version in traffic; there is nothing to roll back")
    target = known.live if release is known.canary else known.fallback
    if target is None:
        raise InvalidInputError(f"{model} {release.number} has no earlier live version to return to; release one first")
    data = {"model": model, "number": release.number, "to": target.number, "reason": reason, "alarm": alarm}
    event = Event(
        type="release.rolled_back",
        actor=actor,
        data={**data, **_assurance(actor, signer)},
        refs={"model": release.digest},
        causation=f"{model}/{release.number}/rolled-back/{alarm}" if alarm else None,
    )
    return ledger.record(event, signer=signer)


def proposable(state: State, *, model: str) -> GivenVerdict:
    """The newest final verdict whose candidate can be proposed and was not yet: it passed, or all of it is waived.

    Raises InvalidInputError where there is none.
    """
    known = find_model(state, model)
    final = unreleased(known)[::-1]
    for verdict in final:
        if len(state.waived(verdict, state.clock)) == len(verdict.objections):
            return verdict
    failed = [f"{v.candidate}: {', '.join(f'{rule} {o}' for rule, o in v.objections.items())}" for v in final[:3]]
    raise InvalidInputError(
        f"nothing of {model} can be proposed; judged and not released: {'; '.join(failed) or 'none'}"
    )


def unreleased(model: Model) -> list[GivenVerdict]:
    """The final verdicts whose candidate was not put forward on them, oldest first."""
    released = {release.verdict for release in model.releases.values()}
    return [v for v in model.verdicts if v.split == "release" and v.digest not in released]


def find_model(state: State, name: str) -> Model:
    """The model of that name. Raises InvalidInputError naming those that exist."""
    if name not in state.models:
        raise InvalidInputError(f"no model {name!r}; this ledger knows {sorted(state.models) or 'none yet'}")
    return state.models[name]


def find_release(state: State, *, model: str, number: int) -> Release:
    """A release by number. Raises InvalidInputError naming those that exist."""
    releases = find_model(state, model).releases
    if number not in releases:
        raise InvalidInputError(f"{model} has no release {number}; its releases are {sorted(releases) or 'none yet'}")
    return releases[number]


def lapsed_waivers(state: State, now: str) -> list[tuple[Release, Waiver]]:
    """Which releases in traffic rest on a waiver that does not hold any more at `now`, and on which."""
    serving = (r for model in state.models.values() for r in (model.canary, model.live) if r is not None)
    return [(release, waiver) for release in serving for waiver in state.lapsed(release, now)]


def told_waivers(state: State, release: Release, now: str) -> str:
    """What a release that failed rules rests on, in words: the score without and with its waivers, who, until when."""
    if not release.waivers:
        return ""
    verdict = state.models[release.model].by_digest[release.verdict]
    waivers = [state.waivers[release.digest, rule] for rule in release.waivers]
    held = sum(not waiver.lapsed(now) for waiver in waivers)
    each = (
        f"{w.rule} by {w.granted_by} {'LAPSED' if w.lapsed(now) else 'until'} {w.expires[:19]}Z ({w.control})"
        for w in waivers
    )
    return f"failed, waived: {verdict.score()} rules pass, {verdict.score(held)} with waivers; {'; '.join(each)}"


def told_step(state: State, release: Release, now: str = "") -> dict[str, Any] | None:
    """Where a canary stands: what its step asks for, what it has by the log, and which share comes next.

    `answered` is what was sealed since it has its share; None for what is no canary. `now` is a time as events have it.
    """
    if release.status is not Status.CANARY:
        return None
    step = next(step for step in state.policies[release.policy].steps if step.share == release.share)
    model = state.models[release.model]
    since = max(stretch.index for stretch in model.history if stretch.number == release.number)
    batches = (b for b in model.batches if b["number"] == release.number and b["index"] > since)
    answered = sum(int(b["rows"]) for b in batches)
    stood = datetime.fromisoformat(max(now, state.clock)) - datetime.fromisoformat(release.stepped_at)
    return {
        "share": release.share,
        "next": onward(state, release),
        "requests_min": step.requests_min,
        "answered": answered,
        "requests_left": max(0, step.requests_min - answered),
        "seconds_min": step.seconds_min,
        "seconds_left": max(0, step.seconds_min - int(stood.total_seconds())),
    }


def told_approvals(release: Release) -> str:
    """Who agreed to a release, and how surely it was they."""
    return ", ".join(f"{approval.actor} ({approval.assurance})" for approval in release.approvals)


def _last_other_change(model: Model, number: int, share: float) -> int:
    """Position of the last change of traffic but the one to this very share, where that is the newest; 0 for none."""
    newest = model.history[-1] if model.history else None
    done = (
        newest.index if newest is not None and (newest.number, f"{newest.share:g}") == (number, f"{share:g}") else None
    )
    return next((stretch.index for stretch in reversed(model.history) if stretch.index != done), 0)


def _assurance(actor: str, signer: Signer | None) -> dict[str, str]:
    clicked = signer is None and actor != MONITOR
    return {"assurance": Assurance.SERVER_ATTESTED.value} if clicked else {}


def awaiting_approval(state: State) -> list[Release]:
    """Every release that waits for somebody's signature, oldest first."""
    proposed = [r for m in state.models.values() for r in m.releases.values() if r.status is Status.PROPOSED]
    return sorted(proposed, key=lambda release: release.proposed_at)
