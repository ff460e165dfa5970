"""Checkpoints that somebody saw and kept, so that the next look finds a history that was rewritten since.

A shelf is a folder with one file for each log, named after the log's whole key. A file appears whole, is replaced only
by a checkpoint that continues it, and never goes back. Nothing here needs the service.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from pruneguard.errors import IntegrityError, InvalidInputError, UnavailableError
from pruneguard.files import alone, appearing
from pruneguard.ledger import merkle, notes

if TYPE_CHECKING:
    from pruneguard.ledger.ledger import Ledger  # brings the database along, which an auditor has not

FOLDER = "PRUNEGUARD_HELD_DIR"
_KIND = "held/v1"

Continues: TypeAlias = Callable[[notes.Checkpoint], bool]
"""Whether the log now begins with the log of that older, not larger, checkpoint."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A checkpoint, as a signed note, and when and where it was seen."""

    note: str
    at: str
    where: str

    def __str__(self) -> str:
        return f"seen {self.at} in {self.where}"


class Memory(Protocol):
    """What remembers checkpoints: a `Shelf`, or a `Kept` file of somebody's own."""

    def find(self, log: notes.Verifier) -> Seen | None:
        """What was last seen of a log, as it was kept: whoever uses it checks the signature."""

    def keep(self, log: notes.Verifier, note: bytes, *, where: str, continues: Continues) -> None:
        """Remember this newer checkpoint in place of what was seen before."""


def default_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """PRUNEGUARD_HELD_DIR, or `pruneguard/held` where the user's programs keep their state."""
    if given := environ.get(FOLDER):
        return Path(given)
    state = environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "pruneguard" / "held"


@dataclass(frozen=True, slots=True)
class Shelf:
    """The checkpoints in `folder`. Safe for any number of processes."""

    folder: Path

    def path(self, log: notes.Verifier) -> Path:
        return self.folder / f"{hashlib.sha256(log.vkey.encode()).hexdigest()}.json"

    def find(self, log: notes.Verifier) -> Seen | None:
        return _read(self.path(log))

    def keep(self, log: notes.Verifier, note: bytes, *, where: str, continues: Continues) -> None:
        """Raises IntegrityError, saying what was seen when and where, when the log does not continue it."""
        with self._alone(log):
            self._replace(log, note, where=where, continues=continues)

    def follow(self, ledger: "Ledger") -> None:
        """Compare a ledger with what was last seen of it, and keep what it says now.

        Raises IntegrityError when it went back or is another history, UnavailableError when nothing can be kept.
        """
        with self._alone(ledger.verifier):
            note = ledger.checkpoint  # read while nobody else keeps a newer one

            def continues(before: notes.Checkpoint) -> bool:
                newest = notes.open_checkpoint(note, ledger.verifier)
                proof = ledger.consistency(before.size, newest.size)
                return merkle.verify_consistency(
                    old=before.size, new=newest.size, old_root=before.root, new_root=newest.root, proof=proof
                )

            self._replace(ledger.verifier, note, where=ledger.store.place, continues=continues)

    def _replace(self, log: notes.Verifier, note: bytes, *, where: str, continues: Continues) -> None:
        newest = notes.open_checkpoint(note, log)
        if (seen := self.find(log)) is not None:
            before = _opened(seen, log, self.path(log))
            if reason := fork(before, newest, continues):
                raise IntegrityError(
                    f"{where}: {reason} ({seen}). Stop and keep both: {self.path(log)} is the proof. Restore a backup "
                    f"with all {before.size} entries; remove that file only if this loss is known and told"
                )
            if before.size == newest.size:
                return
        kept = Seen(note.decode(), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", where)
        with appearing(self.path(log), replace=True) as partial:
            partial.write_text(json.dumps({"kind": _KIND, "log": log.vkey, **asdict(kept)}, indent=1) + "\n")

    @contextmanager
    def _alone(self, log: notes.Verifier) -> Iterator[None]:
        try:
            with alone(self.path(log).with_suffix(".lock")):
                yield
        except OSError as error:
            raise UnavailableError(
                f"the checkpoint seen now cannot be kept in {self.folder}: {error.strerror or error}; "
                f"give access to it, or set {FOLDER}"
            ) from error


@dataclass(frozen=True, slots=True)
class Kept:
    """One file that somebody kept: a checkpoint as the log signed it, or a file of a shelf. Never written to."""

    path: Path

    def find(self, log: notes.Verifier) -> Seen | None:
        if (seen := _read(self.path)) is None:
            raise InvalidInputError(f"there is no file {self.path}; name the checkpoint you kept")
        return seen

    def keep(self, log: notes.Verifier, note: bytes, *, where: str, continues: Continues) -> None:
        """It stays as it is."""


def fork(before: notes.Checkpoint, newest: notes.Checkpoint, continues: Continues) -> str:
    """What is wrong with `newest` for somebody who saw `before`; empty when it continues it."""
    if newest.size < before.size:
        return f"this log ends at {newest.size} entries, and {before.size} were seen before"
    if before.size and not continues(before):  # every log continues the empty one
        return f"its first {before.size} entries are not those that were seen before: history was rewritten"
    return ""


def _opened(seen: Seen, log: notes.Verifier, path: Path) -> notes.Checkpoint:
    try:
        return notes.open_checkpoint(seen.note.encode(), log)
    except (InvalidInputError, IntegrityError) as error:
        raise IntegrityError(f"{path} was changed: {error}. Find out by whom; then restore or remove it") from error


def _read(path: Path) -> Seen | None:
    try:
        content = path.read_bytes()
        modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}; give access to it") from error
    try:
        if not content.startswith(b"{"):  # a bare checkpoint: what any tool of a transparency log keeps
            return Seen(content.decode(), f"{modified:%Y-%m-%dT%H:%M:%SZ}", str(path))
        document = json.loads(content)
        if document["kind"] != _KIND:
            raise ValueError(f"its kind is {document['kind']!r}; expected {_KIND!r}")
        return Seen(str(document["note"]), str(document["at"]), str(document["where"]))
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} is no checkpoint that was kept: {error}; restore or remove it") from error
