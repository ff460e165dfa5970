"""Which model is in trouble, and why: from the fold to one line per model, worst first. Pure."""

from dataclasses import dataclass
from enum import IntEnum

from dashboards.wording import badge, cause, count, percent
from pruneguard.ledger.state import Alarm, Model, Release, Role, State, Status


class Standing(IntEnum):
    """How a model stands; the smaller the number, the sooner somebody must look."""

    DECAYED = 0
    NOTHING_LIVE = 1
    ROLLED_BACK = 2
    AWAITING_APPROVAL = 3
    APPROVED = 4
    CANARY = 5
    HEALTHY = 6
    NO_RELEASE = 7

    @property
    def words(self) -> str:
        return self.name.lower().replace("_", " ")

    @property
    def badge(self) -> str:
        return badge(self.words, *_LOOKS[self])


_LOOKS = {
    Standing.DECAYED: ("▼", "red"),
    Standing.NOTHING_LIVE: ("✕", "red"),
    Standing.ROLLED_BACK: ("↩", "red"),
    Standing.AWAITING_APPROVAL: ("✎", "orange"),
    Standing.APPROVED: ("✓", "blue"),
    Standing.CANARY: ("◐", "violet"),
    Standing.HEALTHY: ("●", "green"),
    Standing.NO_RELEASE: ("○", "gray"),
}


@dataclass(frozen=True, slots=True)
class Assessment:
    """One model in one line. `rows` counts the requests in the sealed batches that the fold still holds."""

    model: str
    standing: Standing
    why: str
    live: Release | None
    canary: Release | None
    rows: int
    last_alarm: Alarm | None


def fleet(state: State) -> list[Assessment]:
    """Every model, worst first, then by name."""
    return sorted((assess(state, model) for model in state.models.values()), key=lambda a: (a.standing, a.model))


def assess(state: State, model: Model) -> Assessment:
    standing, why = _standing(state, model)
    return Assessment(
        model=model.name,
        standing=standing,
        why=why,
        live=model.live,
        canary=model.canary,
        rows=sum(int(batch.get("rows", 0)) for batch in model.batches),
        last_alarm=model.alarms[-1] if model.alarms else None,
    )


def _standing(state: State, model: Model) -> tuple[Standing, str]:
    newest = model.releases[max(model.releases)] if model.releases else None
    if newest is None:
        return Standing.NO_RELEASE, _search(model)
    if (alarm := standing_alarm(state, model)) is not None:
        return Standing.DECAYED, f"alarm about version {alarm.number}, still in traffic: {cause(alarm.cause)}"
    if newest.status is Status.ROLLED_BACK:
        if model.live is None:
            return Standing.NOTHING_LIVE, f"version {newest.number} was rolled back and no version answers"
        return Standing.ROLLED_BACK, _returned(model, newest, model.live)
    if newest.status is Status.PROPOSED:
        return Standing.AWAITING_APPROVAL, awaits(state, newest)
    if newest.status is Status.APPROVED:
        return Standing.APPROVED, f"version {newest.number} is approved and waits for its first traffic"
    if (canary := model.canary) is not None:
        return Standing.CANARY, f"version {canary.number} answers {percent(canary.share, 0)} of the requests"
    if model.live is None:
        return Standing.NOTHING_LIVE, "no version answers"
    return Standing.HEALTHY, f"version {model.live.number} answers every request; no alarm stands against it"


def standing_alarm(state: State, model: Model) -> Alarm | None:
    """The newest alarm about a version that still takes traffic."""
    in_traffic = {r.number for r in (model.live, model.canary) if r is not None}
    alarms = (a for a in reversed(model.alarms) if a.number in in_traffic and not state.settled(a))
    return next(alarms, None)


def awaits(state: State, release: Release) -> str:
    """How many signatures a proposed release still needs, and who could give them."""
    missing = max(release.approvals_min - len(release.approvals), 1)
    approved = {approval.person for approval in release.approvals}
    able = sorted(
        person.actor
        for person in state.people.values()
        if Role.APPROVER in person.roles and person.person not in release.makers | approved
    )
    whom = ", ".join(able) or "nobody registered can give it: register an approver who did not make it"
    return f"version {release.number} needs {count(missing)} approval{'s'[: missing > 1]} from: {whom}"


def _returned(model: Model, rolled_back: Release, live: Release) -> str:
    alarm = next((a for a in reversed(model.alarms) if a.number == rolled_back.number), None)
    because = f"; {cause(alarm.cause)}" if alarm else ""
    return f"version {rolled_back.number} was taken out of traffic, version {live.number} answers{because}"


def _search(model: Model) -> str:
    if not model.verdicts:
        return "no candidate has been judged yet"
    passed = sum(verdict.passed for verdict in model.verdicts)
    return f"{count(len(model.verdicts))} judged, {count(passed)} passed, none proposed for release"
