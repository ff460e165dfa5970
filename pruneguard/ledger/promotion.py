"""Rules about runs, verdicts, waivers and releases: numbers 13 to 20 and 23 of `rules.py`."""

from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import datetime, timedelta

from pruneguard.ledger.events import Entry, Event
from pruneguard.ledger.people import MONITOR
from pruneguard.ledger.state import Assurance, GivenVerdict, Release, Role, State, Status

WAIVER_DAYS_MAX = 90
WAIVER_DETECTOR = "waiver"
"""What raises the alarm when a waiver on which a release in traffic rests has lapsed."""
CANARY_DETECTOR = "canary"
"""What raises the alarm when a canary is shown to be worse than what is live."""


def _may_start(state: State, entry: Entry) -> Iterator[str]:
    actor, data = entry.event.actor, entry.event.data
    if not state.may(actor, Role.ENGINEER):
        yield f"{actor!r} is not an engineer"
    if data["run"] in state.runs:
        yield f"run {data['run']!r} exists already"


def _may_work(state: State, entry: Entry) -> Iterator[str]:
    actor, data = entry.event.actor, entry.event.data
    run = state.runs.get(data["run"])
    if not state.may(actor, Role.ENGINEER):
        yield f"{actor!r} is not an engineer"
    if run is None:
        yield f"no run {data['run']!r}"
    elif run.model != data["model"]:
        yield f"run {run.id!r} is about {run.model!r}, not {data['model']!r}"
    elif run.outcome is not None:
        yield f"run {run.id!r} ended: {run.outcome}"


def _may_make(state: State, entry: Entry) -> Iterator[str]:
    yield from _may_work(state, entry)
    yield from _was_made(state, entry.event, "parent", "data")


def _may_judge(state: State, entry: Entry) -> Iterator[str]:
    yield from _may_work(state, entry)
    data = entry.event.data
    yield from _has_policy(state, entry.event)
    yield from _was_made(state, entry.event, "model", "parent", "data")
    if data["passed"] is not (data["rules"] > 0 and not data["objections"]):
        yield f"passed is {data['passed']} with {data['rules']} rules and the objections {data['objections']}"
    if len(data["objections"]) > data["rules"]:
        yield f"{len(data['objections'])} objections by {data['rules']} rules"


def _may_self_test(state: State, entry: Entry) -> Iterator[str]:
    yield from _may_work(state, entry)
    data = entry.event.data
    yield from _has_policy(state, entry.event)
    if data["refused"] > data["of"]:
        yield f"{data['refused']} refused of {data['of']}"


def _may_drill(state: State, entry: Entry) -> Iterator[str]:
    event, data = entry.event, entry.event.data
    if not state.may(event.actor, Role.ENGINEER):
        yield f"{event.actor!r} is not an engineer"
    yield from _has_policy(state, event)
    if data["refused"] > data["of"]:
        yield f"{data['refused']} bad artefacts refused of {data['of']}"
    if data["clean_passed"] > data["clean_of"]:
        yield f"{data['clean_passed']} clean artefacts passed of {data['clean_of']}"


def _may_waive(state: State, entry: Entry) -> Iterator[str]:
    event, data = entry.event, entry.event.data
    rule = data["rule"]
    if not state.may(event.actor, Role.APPROVER):
        yield f"{event.actor!r} is not an approver"
    verdict = yield from _verdict(state, event)
    if verdict is None:
        return
    if state.person(event.actor) in makers(state, verdict):
        yield f"{event.actor!r} made this candidate; somebody else must answer for the waiver"
    if not state.policies[verdict.policy].waivers:
        yield f"the policy {state.policies[verdict.policy].name!r} allows no waivers"
    found = verdict.objections.get(rule)
    if found is None:
        yield f"the verdict does not object to {rule!r}; its objections are {sorted(verdict.objections) or 'none'}"
    elif found == "no evidence":
        yield f"there is no evidence on {rule!r}, and what was not measured cannot be waived"
    now = now_of(state, event)
    left = datetime.fromisoformat(data["expires"]) - datetime.fromisoformat(now)
    if not timedelta(0) < left <= timedelta(days=WAIVER_DAYS_MAX):
        yield f"it expires {data['expires']}; expected after {now}, by at most {WAIVER_DAYS_MAX} days"
    if (told := (data["before"], data["after"])) != (right := (verdict.score(), verdict.score(1))):
        yield f"before and after are {told}; the verdict's rules passed, without and with it, are {right}"
    before = state.waivers.get((verdict.candidate, rule))
    if before is not None and state.person(before.granted_by) == state.person(event.actor):
        yield f"{event.actor!r} granted the waiver before this one; somebody else must extend it"


def _may_propose(state: State, entry: Entry) -> Iterator[str]:
    event = entry.event
    model = state.models.get(event.data["model"])
    if not state.may(event.actor, Role.ENGINEER):
        yield f"{event.actor!r} is not an engineer"
    number = len(model.releases) + 1 if model else 1
    if event.data["number"] != number:
        yield f"the next release has number {number}, not {event.data['number']}"
    verdict = yield from _verdict(state, event)
    if verdict is None:
        return
    if (newer := state.superseding(verdict.policy)) is not None:
        yield f"the verdict rests on a policy that {newer.name!r} version {newer.version} has replaced; judge again"
    if not verdict.passed:
        waived = state.waived(verdict, now_of(state, event))
        left = [f"{rule}: {outcome}" for rule, outcome in sorted(verdict.objections.items()) if rule not in waived]
        if left or not verdict.objections:
            yield f"the verdict is a no: {', '.join(left) or 'no rule was checked'}"
        elif strict := [
            policy.name for policy in state.binding(verdict.policy, event.data["model"]) if not policy.waivers
        ]:
            yield f"the policy {strict[0]!r}, which the model comes from, allows no waivers"


def _may_approve(state: State, entry: Entry) -> Iterator[str]:
    event = entry.event
    release = yield from named_release(state, event)
    if release is None:
        return
    if not state.may(event.actor, Role.APPROVER):
        yield f"{event.actor!r} is not an approver"
    person = state.person(event.actor)
    if person in release.makers:
        yield f"{event.actor!r} made this release; somebody else must approve it"
    if person in (approval.person for approval in release.approvals):
        yield f"{event.actor!r} has approved it already"
    if release.status is not Status.PROPOSED:
        yield f"release {release.number} is {release.status}, not proposed"
    yield from rests_on_lapsed(state, event, release)
    yield from is_attested_where_it_must_be_signed(state, event, release)


def _may_observe(state: State, entry: Entry) -> Iterator[str]:
    if entry.event.actor != MONITOR:
        yield f"{entry.event.actor!r} is not the monitor"
    yield from named_release(state, entry.event)


def _may_alarm(state: State, entry: Entry) -> Iterator[str]:
    event, named = entry.event, entry.event.data.get("waiver")
    if event.actor != MONITOR:
        yield f"{event.actor!r} is not the monitor"
    if event.id in state.alarms:
        yield f"an alarm has the id {event.id} already"
    release = yield from named_release(state, event)
    if (event.data["detector"] == WAIVER_DETECTOR) is not (named is not None):
        yield f"an alarm of the detector {WAIVER_DETECTOR!r}, and no other, names a waiver"
    elif (event.data["detector"] == CANARY_DETECTOR) is not ("comparison" in event.refs):
        yield f"an alarm of the detector {CANARY_DETECTOR!r}, and no other, names a comparison"
    elif release is not None and event.data["detector"] == CANARY_DETECTOR and release.status is not Status.CANARY:
        yield f"release {release.number} is {release.status}; only a canary is compared with what is live"
    elif named is not None and release is not None:
        if named not in (waiver.event for waiver in state.lapsed(release, now_of(state, event))):
            yield f"release {release.number} rests on no waiver {named} that has lapsed"
        if named in state.told:
            yield f"the alarm about the waiver {named} was raised already"


def makers(state: State, verdict: GivenVerdict) -> frozenset[str]:
    """Everybody who made what a verdict is about: in its run, or its candidate, twin or data in any run."""
    nobody = frozenset[str]()
    made = (state.makers.get(digest, nobody) for digest in (verdict.candidate, verdict.twin, verdict.data))
    return frozenset(state.runs[verdict.run].makers).union(*made)


def now_of(state: State, event: Event) -> str:
    return max(state.clock, event.time)


def _has_policy(state: State, event: Event) -> Iterator[str]:
    if (digest := event.refs["policy"]) in state.pending:
        yield f"policy {digest} waits for another person to adopt it"
    elif digest not in state.policies:
        yield f"policy {digest} was never adopted"


def _was_made(state: State, event: Event, *names: str) -> Iterator[str]:
    for name in names:
        digest = event.refs.get(name)
        if digest is not None and digest not in state.makers:
            yield f"no run on record made the {name} {digest}"


def _verdict(state: State, event: Event) -> Generator[str, None, GivenVerdict | None]:
    """The verdict that an event about a candidate names; where it is not one that can release it, why."""
    model = state.models.get(event.data["model"])
    verdict = model.verdict(event.refs["verdict"]) if model else None
    if verdict is None:
        yield f"no verdict {event.refs['verdict']} on {event.data['model']!r}"
        return None
    if verdict.candidate != event.refs["model"]:
        yield f"the verdict is about {verdict.candidate}, not {event.refs['model']}"
    if verdict.split != "release":
        yield f"the verdict rests on the {verdict.split!r} split; only the release split, opened once, can release"
    return verdict


def named_release(state: State, event: Event) -> Generator[str, None, Release | None]:
    """The release that an event names, by number and digest; where there is none, that."""
    model = state.models.get(event.data["model"])
    release = model.releases.get(event.data["number"]) if model else None
    if release is None or release.digest != event.refs["model"]:
        yield f"no release {event.data['number']} of {event.data['model']!r} with that digest"
        return None
    return release


def rests_on_lapsed(state: State, event: Event, release: Release) -> Iterator[str]:
    for waiver in state.lapsed(release, now_of(state, event)) if release.waivers else ():
        yield f"it rests on a waiver of {waiver.rule!r} that lapsed {waiver.expires}; another approver may extend it"


def is_attested_where_it_must_be_signed(state: State, event: Event, release: Release) -> Iterator[str]:
    if event.data.get("assurance") == Assurance.SERVER_ATTESTED and not release.clicks:
        policy = state.policies[release.policy]
        yield (
            f"{policy.name!r}, or the policy that the model comes from, takes no {Assurance.SERVER_ATTESTED} act; sign "
            "it with your own key"
        )


RULES: Mapping[str, Callable[[State, Entry], Iterator[str]]] = {
    "run.started": _may_start,
    "run.finished": _may_work,
    "data.admitted": _may_work,
    "model.trained": _may_make,
    "model.pruned": _may_make,
    "attempt.failed": _may_work,
    "verdict.given": _may_judge,
    "gates.self_tested": _may_self_test,
    "gates.drilled": _may_drill,
    "waiver.granted": _may_waive,
    "release.proposed": _may_propose,
    "release.approved": _may_approve,
    "batch.sealed": _may_observe,
    "drift.reported": _may_observe,
    "alarm.raised": _may_alarm,
}
