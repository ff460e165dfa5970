"""A ledger's tables and queries, the same in every database; `sqlite` and `postgresql` say what differs."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from pruneguard.errors import IntegrityError, InvalidInputError, PruneGuardError, UnavailableError
from pruneguard.ledger import merkle

_INDEX = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite's row id is an INTEGER, of 64 bits

tables = sa.MetaData()
_meta = sa.Table(
    "meta", tables, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False)
)
_entry = sa.Table(
    "entry",
    tables,
    sa.Column("idx", _INDEX, primary_key=True, autoincrement=False),
    sa.Column("leaf", sa.LargeBinary, nullable=False),
    sa.Column("body", sa.LargeBinary, comment="null once retention has dropped it"),
)
_node = sa.Table(
    "node",
    tables,
    sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
_checkpoint = sa.Table(
    "checkpoint",
    tables,
    # The primary key is what keeps two roots from ever being signed for one size.
    sa.Column("size", _INDEX, primary_key=True, autoincrement=False),
    sa.Column("note", sa.LargeBinary, nullable=False),
)

_SCHEMA_VERSION = "2"
_READ_ROWS = 2_000
LOOK_SECONDS = 0.05
"""Between two looks at a store that tells nobody when it grows."""


class SqlStore(ABC):
    """A ledger in a database that refuses to change or delete what it holds, by trigger."""

    acts: ClassVar[Sequence[str]]
    """What the triggers refuse."""
    begin_reading: ClassVar[Sequence[str]]
    begin_writing: ClassVar[Sequence[str]]
    """Statements that open a transaction; that of a writer waits for the lock before anything is read."""
    end_writing: ClassVar[Sequence[str]] = ()
    """Statements before the commit of what was appended."""
    parameter: ClassVar[str]
    """How the driver marks a value in a statement."""
    driver_error: ClassVar[type[Exception]]

    def __init__(self, engine: sa.Engine, place: str) -> None:
        self._engine, self.place = engine, place
        try:
            with self._connected(self.begin_reading) as connection:
                self.vkey = self._opened(connection)
        except BaseException:
            engine.dispose()
            raise

    @classmethod
    @abstractmethod
    def create(cls, url: str, vkey: str, entry: bytes, checkpoint: bytes) -> "SqlStore":
        """A ledger at `url` with its first entry, all or nothing. Raises InvalidInputError when one is there."""

    @classmethod
    @abstractmethod
    def exists(cls, url: str) -> bool:
        """Whether something is at `url` that a new ledger must not overwrite."""

    @classmethod
    @abstractmethod
    def open(cls, url: str, *, writable: bool, wait_s: float = 10) -> "SqlStore":
        """The ledger at `url`; a writer waits `wait_s` for another. Raises UnavailableError when nothing is there."""

    @classmethod
    @abstractmethod
    def explain(cls, error: BaseException, place: str) -> PruneGuardError:
        """The driver's error, said for those who must act."""

    @classmethod
    @abstractmethod
    def trigger(cls, table: str, act: str) -> tuple[str, str]:
        """The statements that make and drop the trigger that refuses `act`."""

    @abstractmethod
    def _scrub(self) -> None:
        """Make sure that no file of the database still holds what `drop_bodies` removed."""

    @contextmanager
    def reading(self) -> Iterator["_Transaction"]:
        with self._connected(self.begin_reading) as connection:
            yield _Transaction(connection, self.place, self.parameter)

    @contextmanager
    def writing(self) -> Iterator["_Transaction"]:
        with self._connected(self.begin_writing) as connection:
            yield _Transaction(connection, self.place, self.parameter)
            for statement in self.end_writing:
                connection.exec_driver_sql(statement)

    def wait_for_growth(self, size: int, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not (grown := self._looked()) > size and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_SECONDS))
        return grown > size

    def _looked(self) -> int:
        with self._connected(self.begin_reading) as connection:
            return newest_size(connection)

    def drop_bodies(self, ranges: Sequence[tuple[int, int]]) -> None:
        make, drop = self.trigger(_entry.name, "UPDATE")
        with self._connected(self.begin_writing) as connection:
            connection.exec_driver_sql(drop)
            for start, end in ranges:
                connection.execute(sa.update(_entry).where(_entry.c.idx >= start, _entry.c.idx < end).values(body=None))
            connection.exec_driver_sql(make)
        self._scrub()

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _connected(self, begin: Sequence[str]) -> Iterator[sa.Connection]:
        with self.explained(self.place), self._engine.begin() as connection:
            for statement in begin:
                connection.exec_driver_sql(statement)
            yield connection

    @classmethod
    @contextmanager
    def explained(cls, place: str) -> Iterator[None]:
        try:
            yield
        except PoolTimeoutError as error:
            raise UnavailableError(
                f"{place}: every connection is taken; try again, or read with fewer threads"
            ) from error
        except DBAPIError as error:
            raise cls.explain(error.orig or error, place) from error
        except cls.driver_error as error:  # while a connection is being set up
            raise cls.explain(error, place) from error

    def _opened(self, connection: sa.Connection) -> str:
        if not tables.tables.keys() <= set(sa.inspect(connection).get_table_names()):
            raise InvalidInputError(f"{self.place} holds no ledger; name the right place or create a ledger")
        meta = {row.name: row.value for row in connection.execute(sa.select(_meta))}
        if meta.get("schema") != _SCHEMA_VERSION or "vkey" not in meta:
            raise InvalidInputError(
                f"{self.place} has schema {meta.get('schema')}; this program knows {_SCHEMA_VERSION}"
            )
        return str(meta["vkey"])

    @classmethod
    def _lay(cls, connection: sa.Connection, place: str, *, vkey: str, entry: bytes, checkpoint: bytes) -> None:
        """Tables, triggers and the first entry."""
        tables.create_all(connection, checkfirst=False)
        for table in tables.tables:
            for act in cls.acts:
                connection.exec_driver_sql(cls.trigger(table, act)[0])
        about = {"schema": _SCHEMA_VERSION, "vkey": vkey}
        connection.execute(sa.insert(_meta), [{"name": name, "value": value} for name, value in about.items()])
        _Transaction(connection, place, cls.parameter).append(
            [entry], leaves=[merkle.leaf_hash(entry)], nodes=[], size=1, checkpoint=checkpoint
        )


def newest_size(connection: sa.Connection) -> int:
    """What the newest checkpoint covers, by its own word; who acts on it reads and checks."""
    return int(connection.exec_driver_sql("SELECT max(size) FROM checkpoint").scalar() or 0)


class _Transaction:
    """Reader and writer over one database transaction."""

    def __init__(self, connection: sa.Connection, place: str, parameter: str) -> None:
        self._connection, self._place, self._parameter = connection, place, parameter

    def checkpoint(self) -> bytes:
        found = self._connection.exec_driver_sql("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1").scalar()
        if found is None:
            raise IntegrityError(
                f"{self._place} holds no checkpoint; restore a backup, and do not go on with this ledger"
            )
        return bytes(found)

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        after = 0
        while rows := self._connection.execute(
            sa.select(_checkpoint).where(_checkpoint.c.size > after).order_by(_checkpoint.c.size).limit(_READ_ROWS)
        ).all():
            yield from ((row.size, bytes(row.note)) for row in rows)
            after = rows[-1].size

    def count(self) -> int:
        newest: int | None = self._connection.scalar(sa.select(sa.func.max(_entry.c.idx)))
        return 0 if newest is None else newest + 1

    def entries(self, start: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
        wanted = sa.select(_entry).order_by(_entry.c.idx)
        for first in range(start, end, _READ_ROWS):  # in pieces: a driver may hold a whole answer in memory
            last = min(first + _READ_ROWS, end)
            cursor = self._connection.execute(wanted.where(_entry.c.idx.between(first, last - 1))).cursor
            assert cursor is not None  # a SELECT has one
            # Past SQLAlchemy's rows, which cost as much again as hashing what is in them.
            yield from ((index, leaf, body or b"") for index, leaf, body in cursor.fetchall())

    def nodes(self, level: int, start: int, end: int) -> list[bytes]:
        if level == 0:
            found = sa.select(_entry.c.leaf).where(_entry.c.idx >= start, _entry.c.idx < end).order_by(_entry.c.idx)
        else:
            found = sa.select(_node.c.hash).where(_node.c.level == level, _node.c.idx >= start, _node.c.idx < end)
            found = found.order_by(_node.c.idx)
        return [bytes(value) for value in self._connection.scalars(found)]

    def append(
        self,
        entries: Sequence[bytes],
        *,
        leaves: Sequence[bytes],
        nodes: Sequence[merkle.Node],
        size: int,
        checkpoint: bytes,
    ) -> None:
        rows = zip(range(size - len(entries), size), leaves, entries, strict=True)
        self._insert("entry (idx, leaf, body)", list(rows))
        if nodes:
            self._insert("node (level, idx, hash)", nodes)
        self._insert("checkpoint (size, note)", [(size, checkpoint)])

    def _insert(self, into: str, rows: Sequence[tuple[object, ...]]) -> None:
        # Past SQLAlchemy's own INSERT, which costs as much again for each row.
        values = ", ".join([self._parameter] * len(rows[0]))
        self._connection.exec_driver_sql(f"INSERT INTO {into} VALUES ({values})", list(rows))  # noqa: S608 - no input in it
