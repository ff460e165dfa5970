"""The acts that move a release. One way for the CLI, the dashboard, the flows and the monitors.

Each takes what it needs from the state, makes one event and lets the ledger decide whether it may take effect; a
refusal is an InvalidInputError with every reason.
"""

from datetime import UTC, datetime, timedelta

from pruneguard.artifacts import Artifacts
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.events import Event, utc
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.ledger import Ledger, Recorded
from pruneguard.ledger.rules import MONITOR
from pruneguard.ledger.state import Assurance, GivenVerdict, Model, Release, State, Status, Waiver
from pruneguard.policy import Policy


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
    ledger: Ledger, *, model: str, number: int, share: float, actor: str = MONITOR, signer: Signer | None = None
) -> Recorded:
    """Give an approved release a share of the traffic; a share of 1 makes it live and retires the version before.

    Asked for again while nothing has changed since, it is done once; after another change it is a new act.
    """
    state = ledger.state()
    release = find_release(state, model=model, number=number)
    since = _last_other_change(state.models[model], number, share)
    event = Event(
        type="traffic.shifted",
        actor=actor,
        data={"model": model, "number": number, "share": f"{share:g}", **_assurance(actor, signer)},
        refs={"model": release.digest},
        causation=f"{model}/{number}/share/{share:g}/since/{since}",
    )
    return ledger.record(event, signer=signer)


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
