"""A ledger in one SQLite file: write-ahead log, every commit synced to disk."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from pruneguard.errors import IntegrityError, InvalidInputError, PruneGuardError, UnavailableError
from pruneguard.files import appearing
from pruneguard.ledger.sqlstore import SqlStore
from pruneguard.urls import shown


class SqliteStore(SqlStore):
    acts = ("UPDATE", "DELETE")
    begin_reading = ("BEGIN",)
    begin_writing = ("BEGIN IMMEDIATE",)  # a plain BEGIN would take the lock only after what it builds on was read
    parameter = "?"
    driver_error = sqlite3.Error

    @classmethod
    def create(cls, url: str, vkey: str, entry: bytes, checkpoint: bytes) -> "SqliteStore":
        path = _path(url)
        with appearing(path) as partial:
            engine = _engine(partial, 0, mode="rwc", settings=("synchronous=FULL",))
            try:
                with cls.explained(str(path)), engine.begin() as connection:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                    cls._lay(connection, str(path), vkey=vkey, entry=entry, checkpoint=checkpoint)
            finally:
                engine.dispose()
        return cls.open(url, writable=True)

    @classmethod
    def exists(cls, url: str) -> bool:
        return _path(url).exists()

    @classmethod
    def open(cls, url: str, *, writable: bool, wait_s: float = 10) -> "SqliteStore":
        path = _path(url)
        if not path.exists():
            raise UnavailableError(f"there is no ledger at {path}; name the right file or create a ledger")
        _require_content(path)
        # Journal mode on every opening: a file restored by VACUUM INTO comes without the write-ahead log.
        writing = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON")
        return cls(_engine(path, wait_s, mode="rw", settings=writing if writable else ("query_only=ON",)), str(path))

    @classmethod
    def explain(cls, error: BaseException, place: str) -> PruneGuardError:
        if not isinstance(error, sqlite3.OperationalError):
            return IntegrityError(f"{place}: {error}; restore a backup, and do not go on with this file")
        if "locked" in str(error) or "busy" in str(error):
            return UnavailableError(f"another process is writing to {place} and did not finish in time; try again")
        return UnavailableError(f"{place}: {error}; check the disk and the file's permissions")

    @classmethod
    def trigger(cls, table: str, act: str) -> tuple[str, str]:
        name = f"{table}_no_{act.lower()}"
        refusal = "BEGIN SELECT RAISE(ABORT, 'a ledger only grows'); END"
        return f"CREATE TRIGGER {name} BEFORE {act} ON {table} {refusal}", f"DROP TRIGGER {name}"

    def _scrub(self) -> None:
        """`secure_delete` wrote zeros over the bodies; what is left of them lies in the write-ahead log."""
        with self.explained(self.place), self._engine.connect() as connection:
            busy, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        if busy:
            raise UnavailableError(
                f"somebody reads {self.place}, so that its write-ahead log still holds the dropped bodies; try again"
            )


def _engine(path: Path, wait_s: float, *, mode: str, settings: Sequence[str]) -> sa.Engine:
    # SQLite itself falls back from "rw" to reading where the file is write-protected.
    uri = f"{path.absolute().as_uri()}?mode={mode}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            uri, uri=True, timeout=wait_s, isolation_level=None, check_same_thread=False, cached_statements=256
        )

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.QueuePool, max_overflow=-1)

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        for setting in settings:
            with closing(connection.execute(f"PRAGMA {setting}")):
                pass

    return engine


def _path(url: str) -> Path:
    try:
        database = sa.make_url(url).database
    except (ArgumentError, ValueError):  # a port that is no number is the latter
        database = None
    if database in (None, "", ":memory:") or "?" in url:
        raise InvalidInputError(
            f"the ledger's URL is {shown(url)}; expected sqlite:/// and the path of a file, without '?'"
        )
    return Path(str(database))


def _require_content(path: Path) -> None:
    """Looks at the directory only. Opening the file beside SQLite and closing it drops every lock that this process
    holds on it (sqlite.org/howtocorrupt.html, 2.2): another process then takes itself for the last one and deletes the
    write-ahead log under us, with what was committed to it.
    """
    if not path.stat().st_size:
        raise IntegrityError(f"{path} is empty; expected a ledger. Restore a backup or name the right file")
