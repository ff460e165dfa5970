"""The acts that move a release. One way for the CLI, the dashboard, the flows and the monitors.

Each takes what it needs from the state, makes one event and lets the ledger decide whether it may take effect; a
refusal is an InvalidInputError with every reason.
"""

from pruneguard.artifacts import Artifacts
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.events import Event
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.ledger import Ledger, Recorded
from pruneguard.ledger.rules import MONITOR
from pruneguard.ledger.state import Model, Release, State, Status
from pruneguard.policy import Policy


def adopt(ledger: Ledger, artifacts: Artifacts, *, policy: Policy, signer: Signer) -> Recorded:
    """Make a policy one that verdicts here may rest on. Its document is stored under the digest that is recorded."""
    event = Event(
        type="policy.adopted",
        actor=signer.actor,
        data={
            "name": policy.name,
            "version": policy.version,
            "approvals_min": policy.approvals_min,
            "on_decay": policy.on_decay.value,
        },
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


def approve(ledger: Ledger, *, model: str, number: int, reason: str, signer: Signer) -> Recorded:
    """Agree to a proposed release with one's own key."""
    release = find_release(ledger.state(), model=model, number=number)
    event = Event(
        type="release.approved",
        actor=signer.actor,
        data={"model": model, "number": number, "reason": reason},
        refs={"model": release.digest},
    )
    return ledger.record(event, signer=signer)


def shift(ledger: Ledger, *, model: str, number: int, share: float, actor: str = MONITOR) -> Recorded:
    """Give an approved release a share of the traffic; a share of 1 makes it live and retires the version before."""
    release = find_release(ledger.state(), model=model, number=number)
    event = Event(
        type="traffic.shifted",
        actor=actor,
        data={"model": model, "number": number, "share": f"{share:g}"},
        refs={"model": release.digest},
        causation=f"{model}/{number}/share/{share:g}",
    )
    return ledger.record(event)


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
    event = Event(
        type="release.rolled_back",
        actor=actor,
        data={"model": model, "number": release.number, "to": target.number, "reason": reason, "alarm": alarm},
        refs={"model": release.digest},
        causation=f"{model}/{release.number}/rolled-back/{alarm}" if alarm else None,
    )
    return ledger.record(event, signer=signer)


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


def awaiting_approval(state: State) -> list[Release]:
    """Every release that waits for somebody's signature, oldest first."""
    proposed = [r for m in state.models.values() for r in m.releases.values() if r.status is Status.PROPOSED]
    return sorted(proposed, key=lambda release: release.proposed_at)
