"""The newest checkpoint that enough witnesses cosigned, kept in a file, and what a bundle gets of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pruneguard.audit.anchoring import TRUST_POLICY, WITNESSED
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.files import alone, appearing
from pruneguard.ledger import merkle, notes
from pruneguard.ledger.trust import TrustPolicy

if TYPE_CHECKING:
    from pruneguard.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A note in the file `path`: signed by the log, with the lines of its witnesses below. Safe for many processes."""

    path: Path

    def read(self, log: notes.Verifier) -> notes.Note | None:
        """Raises IntegrityError when the file holds anything but a note of this log."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            notes.open_checkpoint(content, log)
        except (InvalidInputError, IntegrityError) as error:
            raise IntegrityError(f"{self.path}: {error}. Find out who changed it, then remove it") from error
        return notes.Note.parse(content)

    def merge(
        self, note: notes.Note, cosignatures: Iterable[notes.Signature], *, log: notes.Verifier, policy: TrustPolicy
    ) -> None:
        """Keep a checkpoint with these valid cosignatures, unless what is kept says more.

        A smaller checkpoint never replaces a larger one, nor one that is short of the quorum one that has it; lines
        of one checkpoint come together, the newest of each key.
        """
        with alone(self.path.with_name(f".{self.path.name}.lock")):
            kept = self.read(log)
            own = [s for s in note.signatures if (s.name, s.keyid) == (log.name, log.keyid)][:1]
            lines = {(s.name, s.keyid): s for s in cosignatures}
            if kept is not None:
                before, now = _size(kept), _size(note)
                if kept.text == note.text:
                    lines = _newest(kept, lines, log)
                elif before == now:
                    raise IntegrityError(
                        f"{self.path} holds another checkpoint of {now} entries: this log shows two histories"
                    )
                elif before > now or (_quorum(kept, policy) and not _quorum(_with(note, own, lines), policy)):
                    return
            made = _with(note, own, lines)
            if kept is None or made != kept:
                with appearing(self.path, replace=True) as partial:
                    partial.write_bytes(made.encode())

    def require_continued(self, ledger: "Ledger") -> notes.Note | None:
        """The note kept, when the ledger continues it. Raises IntegrityError when it does not: it was forked."""
        if (note := self.read(ledger.verifier)) is None:
            return None
        before = notes.Checkpoint.parse(note.text)
        newest = notes.open_checkpoint(ledger.checkpoint, ledger.verifier)
        if newest.size < before.size:
            raise IntegrityError(
                f"witnesses cosigned {before.size} entries of this log, and {ledger.store.place} holds {newest.size}: "
                "an old backup was restored. Do not go on with it: restore one that has them all"
            )
        proof = ledger.consistency(before.size, newest.size) if before.size else []
        if before.size and not merkle.verify_consistency(
            old=before.size, new=newest.size, old_root=before.root, new_root=newest.root, proof=proof
        ):
            raise IntegrityError(
                f"{ledger.store.place} holds another history than the {before.size} entries that witnesses cosigned. "
                f"Do not go on with it; {self.path} is the proof"
            )
        return note


def bundle_files(cosigned: Cosigned, policy: bytes | None, ledger: "Ledger") -> Mapping[str, bytes]:
    """What a bundle says about witnesses: nothing where the service has none.

    Call it before the bundle's own checkpoint is read, which then is not older. Raises IntegrityError when the ledger
    does not continue what was cosigned.
    """
    if policy is None:
        return {}
    TrustPolicy.parse(policy)
    note = cosigned.require_continued(ledger)
    return {TRUST_POLICY: policy} | ({} if note is None else {WITNESSED: note.encode()})


def _size(note: notes.Note) -> int:
    return notes.Checkpoint.parse(note.text).size


def _with(
    note: notes.Note, own: list[notes.Signature], lines: Mapping[tuple[str, bytes], notes.Signature]
) -> notes.Note:
    return notes.Note(note.text, (*own, *(lines[key] for key in sorted(lines))))


def _newest(
    kept: notes.Note, lines: Mapping[tuple[str, bytes], notes.Signature], log: notes.Verifier
) -> dict[tuple[str, bytes], notes.Signature]:
    together = {(s.name, s.keyid): s for s in kept.signatures if (s.name, s.keyid) != (log.name, log.keyid)}
    for key, line in lines.items():
        if key not in together or line.time > together[key].time:
            together[key] = line
    return together


def _quorum(note: notes.Note, policy: TrustPolicy) -> bool:
    present = {(s.name, s.keyid) for s in note.signatures}
    return policy.satisfied({w.name for w in policy.witnesses if (w.verifier.name, w.verifier.keyid) in present})
