"""What the monitor does next, decided from values alone. `watch.py` acts on it."""

from collections.abc import Collection

from monitors.twin import Cause
from pruneguard.comparison import Judgement, Outcome
from pruneguard.ledger.promotion import CANARY_DETECTOR, WAIVER_DETECTOR
from pruneguard.ledger.state import Alarm, Model, Release, State, Status, Waiver
from pruneguard.policy import Action, Policy, next_share


def next_step(release: Release, *, model: Model, policy: Policy, judged: Judgement | None) -> float | None:
    """The share of the traffic that a release should take next; None to leave it where it is.

    An approved release starts with the policy's first step, or with everything where the model has nothing live to
    compare with; a canary takes the next step when what was counted of it lets it go on. One canary at a time, and
    releases in the order of their numbers. Nobody moves a held release, or any while the traffic is diverted.
    """
    if release.held is not None or model.diverted is not None:
        return None
    steps = policy.canary.steps
    if release.status is Status.APPROVED:
        waiting = (r for r in model.releases.values() if r.status is Status.APPROVED and r.held is None)
        if model.canary is not None or any(other.number < release.number for other in waiting):
            return None
        return next_share(steps, 0.0) if model.live else 1.0
    if release.status is Status.CANARY and judged is not None and judged.outcome is Outcome.GO_ON:
        return next_share(steps, release.share) if model.live else 1.0
    return None


def stops(release: Release, *, model: Model, judged: Judgement | None) -> bool:
    """Whether an alarm is due that stops a canary: what was counted says so, and none was raised about it yet."""
    if release.status is not Status.CANARY or judged is None or judged.outcome is not Outcome.STOP:
        return False
    return not any(a.number == release.number and a.detector == CANARY_DETECTOR for a in model.alarms)


def due_rollback(release: Release, *, model: Model, policy: Policy, lapsed: Collection[Waiver] = ()) -> Alarm | None:
    """The alarm for which a release that takes traffic must leave; `lapsed` are the waivers that fail it now.

    Decided from the record, so that a service which died between alarm and rollback finishes when it starts again.
    None where the policy wants people to decide, the input is at fault, somebody has extended the waiver, or there is
    no version to go back to.
    """
    target = model.live if release.status is Status.CANARY else model.fallback
    if target is None:
        return None
    gone = {waiver.event for waiver in lapsed}

    def due(alarm: Alarm) -> bool:
        if alarm.detector == CANARY_DETECTOR:
            return release.status is Status.CANARY  # its policy's steps say so, whatever it says of decay
        if alarm.detector == WAIVER_DETECTOR:
            return policy.on_lapse is Action.ROLL_BACK and alarm.data["waiver"] in gone
        return policy.on_decay is Action.ROLL_BACK and alarm.cause == Cause.ARTEFACT

    return next((alarm for alarm in model.alarms if alarm.number == release.number and due(alarm)), None)


def standing_alarms(state: State, model: Model) -> set[int]:
    """Numbers of the releases whose alarm still concerns somebody: until a newer release is live."""
    live = model.live.number if model.live else 0
    return {alarm.number for alarm in model.alarms if alarm.number >= live and not state.settled(alarm)}
