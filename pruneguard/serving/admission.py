"""What may be loaded: every reason for which a version is kept out, before its first answer.

The ledger's rules said yes to each step already, and the fold checks every signature again: the proposal is signed by
its author's own key over the model's digest, an approval by its approver's or, where the policy takes one, attested.
Here it is decided once more from where the steps led, as the last thing before a file becomes answers; and the
documents behind it are read, so that a ledger and a store that do not fit together serve nothing. The file itself is
checked against its digest by the store that hands it out. What the evidence leads to is decided again by an audit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from pruneguard.errors import PruneGuardError
from pruneguard.ledger.events import utc
from pruneguard.ledger.state import Assurance, Release, State, Status
from pruneguard.policy import Action, Policy
from pruneguard.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Documents:
    """What a release rests on, as it lies in the store under the digests that the ledger names."""

    verdict: Verdict
    policy: Policy


class Store(Protocol):
    """Where documents come from: `pruneguard.artifacts.Artifacts`, which checks every digest that it is asked for."""

    def get(self, name: str) -> bytes: ...


class Admission:
    """Reads what a release rests on and decides. `objections` is empty where it may be loaded."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def objections(self, state: State, model: str, number: int) -> list[str]:
        known = state.models.get(model)
        if known is None or (release := known.releases.get(number)) is None:
            return [f"the ledger knows no release {number} of {model!r}"]
        try:
            documents = Documents(
                Verdict.decode(self._store.get(release.verdict)), Policy.decode(self._store.get(release.policy))
            )
        except PruneGuardError as error:  # absent, changed on disk, or no such document
            return [f"what it rests on cannot be read: {error}"]
        return objections(state, release, documents, now=max(state.clock, utc(datetime.now(UTC))))


def objections(state: State, release: Release, documents: Documents, *, now: str) -> list[str]:
    """Every reason for which `release` may not be loaded at `now`, a time as events have it; none is a yes. Pure."""
    return [*_verdict(state, release, documents), *_policy(state, release, documents), *_approvals(release),
            *_waivers(state, release, now=now)]  # fmt: skip


def _verdict(state: State, release: Release, documents: Documents) -> Iterator[str]:
    given = state.models[release.model].verdict(release.verdict)
    if given is None:
        yield f"no verdict {release.verdict} is on record"
        return
    if given.candidate != release.digest:
        yield f"its verdict is about {given.candidate}, not about {release.digest}"
    if given.split != "release":
        yield f"its verdict rests on the {given.split!r} split; only the release split can release"
    if given.policy != release.policy:
        yield f"its verdict rests on the policy {given.policy}, the release on {release.policy}"
    left = sorted(given.objections.keys() - set(release.waivers))
    if left or not given.rules:
        why = ", ".join(f"{rule}: {given.objections[rule]}" for rule in left)
        yield f"its verdict is a no: {why or 'no rule was checked'}"
    told = documents.verdict
    for what, said, recorded in (
        ("candidate", told.candidate, given.candidate),
        ("twin", told.twin, release.twin),
        ("policy", told.policy, given.policy),
        ("objections", told.outline["objections"], dict(given.objections)),
        ("rules", told.outline["rules"], given.rules),
    ):
        if said != recorded:
            yield f"its verdict's document has the {what} {said}; the ledger says {recorded}"


def _policy(state: State, release: Release, documents: Documents) -> Iterator[str]:
    adopted = state.policies.get(release.policy)
    if adopted is None:
        yield f"the policy {release.policy} was never in force"
        return
    for name, value in documents.policy.terms.items():
        if (recorded := adopted.terms[name]) != value:
            yield f"its policy's document has {name} {value!r}; it was adopted with {recorded!r}"


def _approvals(release: Release) -> Iterator[str]:
    if release.status is Status.PROPOSED:
        yield "it is proposed, and waits for approval"
    counted = {
        approval.person
        for approval in release.approvals
        if approval.person not in release.makers and (release.clicks or approval.assurance is Assurance.SIGNED)
    }
    if len(counted) < release.approvals_min:
        yield (
            f"{len(counted)} persons who did not make it have approved it as its policy asks; "
            f"expected {release.approvals_min}"
        )


def _waivers(state: State, release: Release, *, now: str) -> Iterator[str]:
    """A lapsed waiver keeps out what is on its way in, and what is live where the policy rolls back for it.

    Where the policy lets people decide, their version goes on, also after a restart; and a rollback is never refused:
    what it returns to stays loadable, as does a live version that nothing could replace.
    """
    lapsed = state.lapsed(release, now)
    if not lapsed or release.status is Status.RETIRED:
        return
    replaced = state.models[release.model].fallback is not None
    rolls_back = state.policies[release.policy].on_lapse == Action.ROLL_BACK.value
    if release.status is Status.LIVE and not (rolls_back and replaced):
        return
    for waiver in lapsed:
        yield f"it rests on a waiver of {waiver.rule!r} that lapsed {waiver.expires}; another approver may extend it"
