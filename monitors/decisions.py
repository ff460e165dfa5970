"""What the monitor does next, decided from values alone. `watch.py` acts on it."""

from collections.abc import Collection

from monitors.twin import Cause
from pruneguard.ledger.promotion import WAIVER_DETECTOR
from pruneguard.ledger.state import Alarm, Model, Release, State, Status, Waiver
from pruneguard.policy import Action, Policy


def next_step(release: Release, *, model: Model, policy: Policy, answered: int, healthy: bool) -> float | None:
    """The share of the traffic that a release should take next; None to leave it where it is.

    An approved release starts with the policy's canary share, or with everything where the model has nothing live to
    compare with; a canary goes live after `requests_min` answered requests, if it is `healthy`: its twin was heard,
    and no alarm is on. One canary at a time, and releases in the order of their numbers.
    """
    if release.status is Status.APPROVED:
        earlier = any(r.status is Status.APPROVED and r.number < release.number for r in model.releases.values())
        if earlier or model.canary is not None:
            return None
        return policy.canary.share if model.live else 1.0
    if release.status is Status.CANARY and healthy and answered >= policy.canary.requests_min:
        return 1.0
    return None


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
        if alarm.detector == WAIVER_DETECTOR:
            return policy.on_lapse is Action.ROLL_BACK and alarm.data["waiver"] in gone
        return policy.on_decay is Action.ROLL_BACK and alarm.cause == Cause.ARTEFACT

    return next((alarm for alarm in model.alarms if alarm.number == release.number and due(alarm)), None)


def standing_alarms(state: State, model: Model) -> set[int]:
    """Numbers of the releases whose alarm still concerns somebody: until a newer release is live."""
    live = model.live.number if model.live else 0
    return {alarm.number for alarm in model.alarms if alarm.number >= live and not state.settled(alarm)}
