"""How far a log can be trusted not to have been rewritten by whoever holds its key: what is proven, and no more.

  self-signed only                       the log's own key says so
  held                                   it continues a checkpoint that the auditor saw before
  witnessed in the same trust domain     witnesses saw it too, but nobody except the log's operator vouches for them
  k of n independent                     so did k of the n parties, other than the operator, that the auditor believes

A cosignature counts when it verifies over this log's checkpoint, that checkpoint's root is the one of these entries,
and its time is neither in the future nor too old. Who is independent only the auditor's own trust policy can say: a
witness counts there when the policy names its domain, and the log's, and they differ. Several witnesses of one domain
count once; so do several keys of one witness. Pure: no file, no clock.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

from pruneguard import held
from pruneguard.errors import IntegrityError, InvalidInputError, UnavailableError
from pruneguard.ledger import notes
from pruneguard.ledger.trust import TrustPolicy, Witness

WITNESSED, TRUST_POLICY = "ledger/witnessed", "ledger/trust-policy.txt"
"""Where a bundle has the cosigned checkpoint, and what the service says about its witnesses."""

SKEW_SECONDS = 300
"""How far a witness's clock may be ahead of the auditor's."""

NOTHING, SELF_SIGNED, HELD = "none", "self-signed only", "held"
SAME_DOMAIN = "witnessed in the same trust domain"

Fault: TypeAlias = "tuple[str, str]"
"""Where, and what is wrong there."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A log as the auditor has it: its key, its checkpoint, and the root of its first n entries, hashed anew."""

    log: notes.Verifier
    checkpoint: notes.Checkpoint
    root_at: Callable[[int], bytes]

    def continues(self, before: notes.Checkpoint) -> bool:
        """Whether these entries begin with those of an older checkpoint."""
        return self.root_at(before.size) == before.root


@dataclass(frozen=True, slots=True)
class Anchoring:
    """What holds, in the words above; what is broken, so that nothing does; and what an auditor may want to know."""

    guarantee: str
    faults: tuple[Fault, ...] = ()
    remarks: tuple[str, ...] = ()


def assess(
    tree: Tree,
    *,
    clock: int,
    witnessed: bytes | None = None,
    bundled: bytes | None = None,
    trust: TrustPolicy | None = None,
    seen: held.Seen | None = None,
    age_seconds_max: int | None = None,
) -> Anchoring:
    """Weigh what a bundle brings (`witnessed`, and the policy `bundled` with it) and what the auditor does.

    `trust` is the auditor's own policy, whose quorum is demanded; the quorum of the bundle's is only believed or not.
    `clock` is the auditor's, in seconds since 1970.
    """
    found = _Found()
    if seen is not None:
        found.faults += _held(tree, seen)
    policy = _policy(tree, bundled, trust, found)
    checkpoint, counted = None, list[Witness]()
    if witnessed is not None:
        try:
            note, checkpoint = _opened(tree, witnessed)
        except (InvalidInputError, IntegrityError) as error:
            found.faults.append((WITNESSED, str(error)))
        else:
            counted = [
                witness
                for witness in (policy.witnesses if policy else ())
                if _counts(tree, note, witness, found, clock=clock, age_seconds_max=age_seconds_max)
            ]
    quorum = policy is not None and policy.satisfied({witness.name for witness in counted})
    if trust is not None and not quorum:
        names = ", ".join(repr(witness.name) for witness in counted) or "none"
        found.faults.append((WITNESSED, f"your trust policy asks for {trust.quorum!r}; what counts is {names}"))
    elif counted and not quorum:
        found.remarks.append("fewer witnesses cosigned than the bundle's own trust policy asks for")
    if found.faults:
        return Anchoring(NOTHING, tuple(found.faults), tuple(found.remarks))
    words = [HELD] if seen is not None else []
    if checkpoint is not None and policy is not None and counted and quorum:
        strength = _independence(tree, trust, counted, found) or SAME_DOMAIN
        if checkpoint.size < tree.checkpoint.size:
            strength += f" for the first {checkpoint.size} of {tree.checkpoint.size} entries"
        words.append(strength)
    return Anchoring(", and ".join(words) or SELF_SIGNED, (), tuple(found.remarks))


@dataclass(slots=True)
class _Found:
    faults: list[Fault] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def _held(tree: Tree, seen: held.Seen) -> Iterator[Fault]:
    try:
        before = notes.open_checkpoint(seen.note.encode(), tree.log)
    except (InvalidInputError, IntegrityError) as error:
        yield "the checkpoint you held", f"{error} ({seen})"
        return
    if reason := held.fork(before, tree.checkpoint, tree.continues):
        yield "ledger/checkpoint", f"{reason} ({seen})"


def _policy(tree: Tree, bundled: bytes | None, trust: TrustPolicy | None, found: _Found) -> TrustPolicy | None:
    """The policy to go by: the auditor's, or for want of one the bundle's."""
    own = None
    if bundled is not None:
        try:
            own = TrustPolicy.parse(bundled)
        except InvalidInputError as error:
            found.faults.append((TRUST_POLICY, str(error)))
            return trust
        if own.logs and own.log(tree.log) is None:
            found.faults.append((TRUST_POLICY, f"it does not list this log, {tree.log.vkey}"))
    if trust is not None and trust.logs and trust.log(tree.log) is None:
        found.faults.append(("ledger/log.vkey", f"your trust policy does not list this log, {tree.log.vkey}"))
    return trust or own


def _opened(tree: Tree, witnessed: bytes) -> tuple[notes.Note, notes.Checkpoint]:
    note, checkpoint = notes.Note.parse(witnessed), notes.open_checkpoint(witnessed, tree.log)
    if checkpoint.size > tree.checkpoint.size:
        raise IntegrityError(
            f"witnesses saw {checkpoint.size} entries, this log ends at {tree.checkpoint.size}: its end was cut off"
        )
    if not tree.continues(checkpoint):
        raise IntegrityError(f"witnesses saw another history: their first {checkpoint.size} entries have another root")
    return note, checkpoint


def _counts(
    tree: Tree, note: notes.Note, witness: Witness, found: _Found, *, clock: int, age_seconds_max: int | None
) -> bool:
    """Whether this witness cosigned the note, with what was found on the way."""
    name, verifier = witness.name, witness.verifier
    if verifier.public_key == tree.log.public_key:
        found.remarks.append(f"{name}: does not count, its key is the log's own")
        return False
    try:
        signed = note.signed_by(verifier)
    except IntegrityError as error:
        found.faults.append((WITNESSED, str(error)))
        return False
    except UnavailableError as error:
        found.remarks.append(f"{name}: does not count, it cannot be checked here: {error}")
        return False
    if signed is None:
        found.remarks.append(f"{name}: did not cosign")
        return False
    if signed.time > clock + SKEW_SECONDS:
        found.faults.append((WITNESSED, f"{name} signed at {_utc(signed.time)}, in the future of {_utc(clock)}"))
        return False
    if not signed.time:
        found.remarks.append(f"{name}: does not count, it says of no moment that this was the newest checkpoint")
        return False
    if age_seconds_max is not None and clock - signed.time > age_seconds_max:
        found.remarks.append(f"{name}: does not count, it cosigned at {_utc(signed.time)}, too long ago")
        return False
    found.remarks.append(f"{name}: cosigned at {_utc(signed.time)}")
    return True


def _independence(tree: Tree, trust: TrustPolicy | None, counted: list[Witness], found: _Found) -> str:
    """`k of n independent`, or nothing when no witness counts as such."""
    if trust is None:
        found.remarks.append("nobody but the log's operator vouches for these witnesses; bring a trust policy of yours")
        return ""
    log = trust.log(tree.log)
    if log is None or not log.domain:
        found.remarks.append("your trust policy does not say who runs this log: write `# domain: NAME` above its line")
        return ""

    # One key name stands for one witness in one domain, whatever its other keys are filed under.
    domains = {witness.verifier.name: witness.domain for witness in reversed(trust.witnesses)}
    seeing = {domains[witness.verifier.name] for witness in counted} - {"", log.domain}
    if not seeing:
        found.remarks.append("no witness that counts is in a named domain other than the log's")
        return ""
    return f"{len(seeing)} of {len(set(domains.values()) - {'', log.domain})} independent"


def _utc(seconds: int) -> str:
    """A moment, for people; what no calendar reaches is left as a number."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return str(seconds)
