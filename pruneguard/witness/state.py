"""What a witness remembers: for each log the newest checkpoint that it cosigned, in one SQLite file.

Losing this file, or restoring an old copy of it, makes the witness cosign a fork: it belongs on a disk of its own, and
a witness whose file is lost needs a new key.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pruneguard.errors import IntegrityError, InvalidInputError, UnavailableError
from pruneguard.ledger import notes

_BUSY_SECONDS = 10.0


@dataclass(slots=True)
class Slot:
    """One log's newest checkpoint as a cosigned note; set `note`, and it is stored when the decision ends."""

    note: bytes | None
    stored: bool = field(default=False, init=False)

    @property
    def latest(self) -> notes.Checkpoint | None:
        return None if self.note is None else notes.Checkpoint.parse(notes.Note.parse(self.note).text)

    def store(self, note: bytes) -> None:
        self.note, self.stored = note, True


class State:
    """Any number of threads and processes may share the file at `path`; it is made where it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connected() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS log (origin TEXT PRIMARY KEY, note BLOB NOT NULL)")

    def note(self, origin: str) -> bytes | None:
        """The newest checkpoint of a log, cosigned; None where there is none."""
        with self._connected() as connection:
            return _note(connection, origin)

    @contextmanager
    def deciding(self, origin: str) -> Iterator[Slot]:
        """Be the only one who decides about this witness's logs; what was stored is on the disk when this ends."""
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                slot = Slot(_note(connection, origin))
                yield slot
                if slot.stored:
                    connection.execute("INSERT OR REPLACE INTO log VALUES (?, ?)", (origin, slot.note))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
                # Without a write-ahead log a commit is one durable file; EXTRA syncs its folder too.
                connection.execute("PRAGMA synchronous=EXTRA")
                yield connection
        except sqlite3.OperationalError as error:
            raise UnavailableError(f"{self.path}: {error}; check the disk and the file's permissions") from error
        except sqlite3.DatabaseError as error:
            raise IntegrityError(
                f"{self.path}: {error}; do not go on with this file: see `pruneguard witness`"
            ) from error


def _note(connection: sqlite3.Connection, origin: str) -> bytes | None:
    row = connection.execute("SELECT note FROM log WHERE origin = ?", (origin,)).fetchone()
    if row is None:
        return None
    try:
        notes.Checkpoint.parse(notes.Note.parse(row[0]).text)
    except InvalidInputError as error:
        raise IntegrityError(f"the witness's record of {origin!r} is damaged: {error}") from error
    return bytes(row[0])
