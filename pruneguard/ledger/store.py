"""Where a ledger's bytes lie: entries, tree nodes and checkpoints, each written once.

`Store` is what `ledger.Ledger` needs; `SqlStore` keeps it in SQLite through SQLAlchemy Core. Another database needs
its own connect settings and triggers, the tables and queries stay. `pruneguard.testing.MemoryStore` is the same, in
memory.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from pruneguard.errors import IntegrityError, InvalidInputError, UnavailableError
from pruneguard.files import appearing
from pruneguard.ledger import merkle

Node: TypeAlias = "tuple[int, int, bytes]"
"""Level, index and hash of a perfect subtree."""


class Reader(Protocol):
    """One consistent view of a ledger's bytes."""

    def checkpoint(self) -> bytes:
        """The newest one."""

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """All (size, signed note), by size."""

    def count(self) -> int:
        """One more than the index of the newest entry stored."""

    def entries(self, start: int, end: int) -> list[bytes]: ...

    def nodes(self, level: int, start: int, end: int) -> list[bytes]:
        """Hashes of the stored nodes start..end-1 of a level; fewer where some are missing."""


class Writer(Reader, Protocol):
    """A view that no other writer can change, and the one append that it may end in."""

    def append(self, entries: Sequence[bytes], nodes: Sequence[Node], *, size: int, checkpoint: bytes) -> None:
        """Add entries, the nodes they complete and the checkpoint of the `size` they lead to, all or nothing."""


class Store(Protocol):
    @property
    def place(self) -> str:
        """The file or address, for messages."""

    @property
    def vkey(self) -> str:
        """The C2SP verifier key that the ledger was created with."""

    def reading(self) -> AbstractContextManager[Reader]: ...

    def writing(self) -> AbstractContextManager[Writer]:
        """Waits for other writers. What was appended is durable when the context ends without an error."""

    def close(self) -> None: ...


_tables = sa.MetaData()
_meta = sa.Table(
    "meta", _tables, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False)
)
_entry = sa.Table(
    "entry",
    _tables,
    sa.Column("idx", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
_node = sa.Table(
    "node",
    _tables,
    sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
_checkpoint = sa.Table(
    "checkpoint",
    _tables,
    # The primary key is what keeps two roots from ever being signed for one size.
    sa.Column("size", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("note", sa.LargeBinary, nullable=False),
)

_SCHEMA_VERSION = "1"
_READ_ROWS = 1_000


class SqlStore:
    """A ledger in SQLite: write-ahead log, every commit synced to disk, UPDATE and DELETE refused by trigger."""

    def __init__(self, engine: sa.Engine, place: str) -> None:
        self._engine, self.place = engine, place
        self._writes = engine.execution_options(pruneguard_writes=True)
        with self._connected(engine) as connection:
            names = set(sa.inspect(connection).get_table_names())
            if not _tables.tables.keys() <= names:
                raise InvalidInputError(f"{place} holds no ledger; name the right file or create a ledger")
            meta = {row.name: row.value for row in connection.execute(sa.select(_meta))}
        if meta.get("schema") != _SCHEMA_VERSION or "vkey" not in meta:
            raise InvalidInputError(f"{place} has schema {meta.get('schema')}; this program knows {_SCHEMA_VERSION}")
        self.vkey: str = meta["vkey"]

    @classmethod
    def create(cls, url: str, vkey: str, entry: bytes, checkpoint: bytes) -> "SqlStore":
        """A ledger at `url` with its first entry, all or nothing. Raises InvalidInputError when a file is there."""
        path = _sqlite_path(url)
        with appearing(path) as partial:
            engine = _engine(partial, 0, mode="rwc", settings=("synchronous=FULL",))
            try:
                with _translated(str(path)), engine.begin() as connection:
                    _create_tables(connection, schema=_SCHEMA_VERSION, vkey=vkey)
                    leaf = (0, 0, merkle.leaf_hash(entry))
                    _Transaction(connection, str(path)).append([entry], [leaf], size=1, checkpoint=checkpoint)
            finally:
                engine.dispose()
        return cls.open(url, writable=True)

    @staticmethod
    def exists(url: str) -> bool:
        """Whether something is at `url` that a new ledger must not overwrite."""
        return _sqlite_path(url).exists()

    @classmethod
    def open(cls, url: str, *, writable: bool, busy_timeout_s: float = 10) -> "SqlStore":
        """The ledger at `url`.

        Raises UnavailableError when nothing is there, IntegrityError when what is there is empty or not SQLite.
        """
        path = _sqlite_path(url)
        if not path.exists():
            raise UnavailableError(f"there is no ledger at {path}; name the right file or create a ledger")
        _require_content(path)
        # Journal mode on every opening: a file restored by VACUUM INTO comes without the write-ahead log.
        settings = ("journal_mode=WAL", "synchronous=FULL") if writable else ("query_only=ON",)
        engine = _engine(path, busy_timeout_s, mode="rw", settings=settings)
        try:
            return cls(engine, str(path))
        except BaseException:
            engine.dispose()
            raise

    @contextmanager
    def reading(self) -> Iterator["_Transaction"]:
        with self._connected(self._engine) as connection:
            yield _Transaction(connection, self.place)

    @contextmanager
    def writing(self) -> Iterator["_Transaction"]:
        with self._connected(self._writes) as connection:
            yield _Transaction(connection, self.place)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _connected(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        with _translated(self.place), engine.begin() as connection:
            yield connection


class _Transaction:
    """Reader and writer over one database transaction."""

    def __init__(self, connection: sa.Connection, place: str) -> None:
        self._connection, self._place = connection, place

    def checkpoint(self) -> bytes:
        newest = sa.select(_checkpoint.c.note).order_by(_checkpoint.c.size.desc()).limit(1)
        note: bytes | None = self._connection.scalar(newest)
        if note is None:
            raise IntegrityError(
                f"{self._place} holds no checkpoint; restore a backup, and do not go on with this file"
            )
        return note

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        rows = self._connection.execute(sa.select(_checkpoint).order_by(_checkpoint.c.size))
        for row in rows.yield_per(_READ_ROWS):
            yield row.size, row.note

    def count(self) -> int:
        newest: int | None = self._connection.scalar(sa.select(sa.func.max(_entry.c.idx)))
        return 0 if newest is None else newest + 1

    def entries(self, start: int, end: int) -> list[bytes]:
        return self._scalars(
            sa.select(_entry.c.body).where(_entry.c.idx >= start, _entry.c.idx < end).order_by(_entry.c.idx)
        )

    def nodes(self, level: int, start: int, end: int) -> list[bytes]:
        wanted = sa.select(_node.c.hash).where(_node.c.level == level, _node.c.idx >= start, _node.c.idx < end)
        return self._scalars(wanted.order_by(_node.c.idx))

    def append(self, entries: Sequence[bytes], nodes: Sequence[Node], *, size: int, checkpoint: bytes) -> None:
        first = size - len(entries)
        self._connection.execute(
            sa.insert(_entry), [{"idx": first + offset, "body": body} for offset, body in enumerate(entries)]
        )
        self._connection.execute(
            sa.insert(_node), [{"level": level, "idx": index, "hash": value} for level, index, value in nodes]
        )
        self._connection.execute(sa.insert(_checkpoint), {"size": size, "note": checkpoint})

    def _scalars(self, query: sa.Select[Any]) -> list[bytes]:
        return [bytes(value) for value in self._connection.scalars(query)]


def _create_tables(connection: sa.Connection, **about: str) -> None:
    _tables.create_all(connection)
    for table in _tables.tables:
        for act in ("UPDATE", "DELETE"):
            connection.exec_driver_sql(
                f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'a ledger only grows'); END"
            )
    connection.execute(sa.insert(_meta), [{"name": name, "value": value} for name, value in about.items()])


def _engine(path: Path, busy_timeout_s: float, *, mode: str, settings: Sequence[str]) -> sa.Engine:
    # SQLite itself falls back from "rw" to reading where the file is write-protected.
    uri = f"{path.absolute().as_uri()}?mode={mode}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            uri, uri=True, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False, cached_statements=256
        )

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.QueuePool)

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        for setting in settings:
            connection.execute(f"PRAGMA {setting}").close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # The driver's own BEGIN comes too late: a writer must hold the lock before it reads what it builds on.
        writes = connection.get_execution_options().get("pruneguard_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _sqlite_path(url: str) -> Path:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:") or "?" in url:
        raise InvalidInputError(f"the ledger's URL is {url!r}; expected sqlite:/// and the path of a file, without '?'")
    return Path(str(parsed.database))


def _require_content(path: Path) -> None:
    """Looks at the directory only. Opening the file beside SQLite and closing it drops every lock that this process
    holds on it (sqlite.org/howtocorrupt.html, 2.2): another process then takes itself for the last one and deletes the
    write-ahead log under us, with what was committed to it.
    """
    if not path.stat().st_size:
        raise IntegrityError(f"{path} is empty; expected a ledger. Restore a backup or name the right file")


@contextmanager
def _translated(place: str) -> Iterator[None]:
    """Errors of the database, said for those who must act."""
    try:
        yield
    except (DatabaseError, sqlite3.DatabaseError) as error:  # the latter while a connection is being set up
        cause = getattr(error, "orig", error)
        if not isinstance(cause, sqlite3.OperationalError):
            raise IntegrityError(f"{place}: {cause}; restore a backup, and do not go on with this file") from error
        if "locked" in str(cause) or "busy" in str(cause):
            raise UnavailableError(
                f"another process is writing to {place} and did not finish in time; try again"
            ) from error
        raise UnavailableError(f"{place}: {cause}; check the disk and the file's permissions") from error
