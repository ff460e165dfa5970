"""Where sealed personal values lie: one table in a SQLite file of its own, or in a PostgreSQL schema of its own (the
first of the connection's search path).

Only ciphertext ever reaches the database, so what a DELETE leaves behind there (a write-ahead log, a replica, a backup)
is worth nothing without the key. What can be wiped is wiped all the same: SQLite overwrites what it deletes and packs
the file; PostgreSQL rewrites the table.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError, ProgrammingError

from pruneguard.errors import IntegrityError, InvalidInputError, UnavailableError
from pruneguard.urls import shown

_SQLITE = "sqlite"
_BUSY_TIMEOUT_S = 10
_tables = sa.MetaData()
_opening = sa.Table(
    "opening",
    _tables,
    sa.Column("commitment", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, nullable=False, index=True),
    sa.Column("field", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Sealed:
    """One row: whose value it is, under which key, and the ciphertext."""

    commitment: str
    subject: str
    field: str
    key: str
    sealed: bytes


class Openings:
    """The table at a SQLAlchemy URL. It is made by the first `add`; until then it is empty."""

    def __init__(self, url: str) -> None:
        try:
            self._url = sa.make_url(url)
        except (ArgumentError, ValueError) as error:  # a port that is no number is the latter
            raise InvalidInputError(f"{shown(url)} is no URL; fix PRUNEGUARD_PRIVACY_URL or unset it") from error
        if (found := self._url.get_backend_name()) not in (_SQLITE, "postgresql"):
            raise InvalidInputError(f"personal values cannot lie in {found!r}; give a URL of sqlite or postgresql")
        self.place = shown(url)
        self._engine = _engine(self._url)

    def exists(self) -> bool:
        if self._is_sqlite and not Path(str(self._url.database)).exists():
            return False  # connecting would make an empty file
        with self._connected() as connection:
            return sa.inspect(connection).has_table(_opening.name)

    def add(self, rows: Collection[Sealed]) -> None:
        """Add rows, durably, all or none."""
        with self._connected() as connection:
            _tables.create_all(connection)
            values = [{name: getattr(row, name) for name in Sealed.__slots__} for row in rows]
            connection.execute(sa.insert(_opening), values)

    def of(self, subject: str) -> list[Sealed]:
        return self._selected(_opening.c.subject == subject)

    def all(self) -> list[Sealed]:
        return self._selected(sa.true())

    def commitments(self) -> set[str]:
        return {row.commitment for row in self.all()}

    def remove(self, commitments: Collection[str]) -> None:
        """Delete rows, and what a DELETE leaves behind as far as the database lets us."""
        with self._connected() as connection:
            connection.execute(sa.delete(_opening).where(_opening.c.commitment.in_(commitments)))
        self._wipe()

    def _wipe(self) -> None:
        with _translated(self.place), self._engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            alone.exec_driver_sql("VACUUM" if self._is_sqlite else f"VACUUM FULL {_opening.name}")

    @property
    def _is_sqlite(self) -> bool:
        return self._url.get_backend_name() == _SQLITE

    def _selected(self, condition: sa.ColumnElement[bool]) -> list[Sealed]:
        if not self.exists():
            return []
        chosen = sa.select(_opening).where(condition).order_by(_opening.c.subject, _opening.c.field)
        with self._connected() as connection:
            return [Sealed(**{**row, "sealed": bytes(row["sealed"])}) for row in connection.execute(chosen).mappings()]

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        with _translated(self.place), self._engine.begin() as connection:
            yield connection


def _engine(url: sa.URL) -> sa.Engine:
    # Parameters stay out of the database's errors, and with them out of every log that an error reaches.
    if url.get_backend_name() != _SQLITE:
        url = url.set(drivername="postgresql+psycopg")
        return sa.create_engine(url, poolclass=sa.NullPool, hide_parameters=True)
    wait = {"timeout": _BUSY_TIMEOUT_S}
    engine = sa.create_engine(url, poolclass=sa.NullPool, hide_parameters=True, connect_args=wait)

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        for setting in ("journal_mode=DELETE", "synchronous=FULL", "secure_delete=ON"):
            connection.execute(f"PRAGMA {setting}").close()

    return engine


@contextmanager
def _translated(place: str) -> Iterator[None]:
    """Errors of the database, said for those who must act."""
    try:
        yield
    except OperationalError as error:
        raise UnavailableError(f"{place}: {error.orig}; check the database and its permissions, then repeat") from error
    except ProgrammingError as error:
        raise InvalidInputError(f"{place}: {error.orig}; create that schema, or grant it to this role") from error
    except DatabaseError as error:
        raise IntegrityError(
            f"{place}: {error.orig}; restore a backup: what was erased since is removed again when it is opened"
        ) from error
