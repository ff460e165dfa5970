"""A drill of a policy's gates as an act: checked before minutes of work, held, and put on record once."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pruneguard.artifacts import Artifacts
from pruneguard.drill.suite import artefact_test
from pruneguard.errors import InvalidInputError
from pruneguard.gates.exhibits import ArtefactTest
from pruneguard.ledger.events import Event, utc
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.ledger import Ledger, Recorded
from pruneguard.ledger.state import Drill, Role, State
from pruneguard.policy import Policy
from pruneguard.reporting import hushed, listener

_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
"""Every schedule counts from here, so that drills fall on the same moments however often a schedule is restarted."""


@dataclass(frozen=True, slots=True, eq=False)
class Drilling:
    """Which gates are drilled, who answers for it, and where it is recorded.

    `scheduled` is the moment for which it was due, None for a drill that a person asked for.
    """

    policy: Policy
    seed: int
    ledger: Ledger
    artifacts: Artifacts
    signer: Signer
    scheduled: datetime | None = None

    @property
    def causation(self) -> str | None:
        """What a drill that was killed and is held again has in common with itself."""
        return None if self.scheduled is None else f"gates.drilled/{self.policy.digest}/{utc(self.scheduled)}"


def begin(
    policy: Policy,
    *,
    seed: int,
    ledger: Ledger,
    artifacts: Artifacts,
    signer: Signer,
    scheduled: datetime | None = None,
) -> Drilling:
    """Raises InvalidInputError for a policy that was never adopted here and for a signer who is no engineer: nothing
    would be recorded of it."""
    state = ledger.state()
    if policy.digest not in state.policies:
        raise InvalidInputError(
            f"policy {policy.name} {policy.version} ({policy.digest}) was never adopted here; an approver adopts it: "
            "pruneguard approve --policy NAME|FILE"
        )
    if not state.may(signer.actor, Role.ENGINEER):
        raise InvalidInputError(f"{signer.actor!r} is not an engineer; whoever drills the gates signs as one")
    return Drilling(policy, seed, ledger, artifacts, signer, scheduled)


def recall(drilling: Drilling) -> ArtefactTest | None:
    """The very drill, where it is on record already."""
    index = drilling.ledger.state().causations.get(drilling.causation or "")
    if index is None:
        return None
    report = drilling.artifacts.get(drilling.ledger.entry(index).event.refs["report"])
    return ArtefactTest.decode(report, policy=drilling.policy)


def hold(drilling: Drilling) -> ArtefactTest:
    """Make bad artefacts and good ones, and have the gates judge them: minutes."""
    progress = listener.get().progress("networks, bad and good, measured and judged")
    with hushed():  # every training would tell of itself
        return artefact_test(drilling.policy, seed=drilling.seed, progress=progress)


def record(drilling: Drilling, test: ArtefactTest) -> Recorded:
    """Put on record what the gates made of the artefacts, whether they should have or not."""
    refs = {"policy": drilling.policy.digest, "report": drilling.artifacts.put(test.encode())}
    event = Event("gates.drilled", drilling.signer.actor, test.outline, refs, drilling.causation)
    return drilling.ledger.record(event, signer=drilling.signer)


def newest(state: State, policy: str) -> Drill | None:
    """The newest drill on record of the policy with this digest."""
    return next((drill for drill in reversed(state.drills) if drill.policy == policy), None)


def last_due(every: timedelta, now: datetime) -> datetime:
    """The last moment up to `now` for which a drill was due: multiples of `every` since a Monday, midnight in UTC.

    >>> last_due(timedelta(days=7), datetime(2026, 1, 7, 12, tzinfo=UTC)).isoformat()
    '2026-01-05T00:00:00+00:00'
    """
    return _MONDAY + (now - _MONDAY) // every * every


def outstanding(state: State, policy: str, *, every: timedelta, now: datetime) -> datetime | None:
    """The moment for which a drill was due and since which none was held; None where one was."""
    due, last = last_due(every, now), newest(state, policy)
    return due if last is None or datetime.fromisoformat(last.time) < due else None
