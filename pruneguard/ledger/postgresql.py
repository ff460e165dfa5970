"""A ledger in PostgreSQL: in the first schema of the connection's search path, which holds nothing else.

A password belongs where libpq looks for it (PGPASSFILE, PGSERVICEFILE), not in the URL.
"""

import time
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import errors
from sqlalchemy.exc import ArgumentError, DBAPIError

from pruneguard.errors import IntegrityError, InvalidInputError, PruneGuardError, UnavailableError
from pruneguard.ledger.sqlstore import SqlStore, newest_size, tables
from pruneguard.urls import shown

_REFUSAL = """
CREATE FUNCTION a_ledger_only_grows() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION 'a ledger only grows'; END $$
"""
CHANNEL = "pruneguard_ledger"
LOOK_SECONDS = 1.0
"""Between two looks, should a notification get lost: a proxy between us and the server may swallow it."""

_TAKEN = (errors.DuplicateTable, errors.DuplicateFunction, errors.UniqueViolation)


class PostgresqlStore(SqlStore):
    acts = ("UPDATE", "DELETE", "TRUNCATE")
    begin_reading = ()  # the driver's own BEGIN; its isolation level makes one view of the whole transaction
    # Other writers wait, readers do not. Unlike an advisory lock, this takes no snapshot before the wait is over.
    begin_writing = ("LOCK TABLE checkpoint IN SHARE ROW EXCLUSIVE MODE",)
    # Sent by the commit, and only by it. Readers in other schemas of the database are woken in vain, and see that.
    end_writing = (f"NOTIFY {CHANNEL}",)
    parameter = "%s"
    driver_error = psycopg.Error

    @classmethod
    def create(cls, url: str, vkey: str, entry: bytes, checkpoint: bytes) -> "PostgresqlStore":
        engine, place = _engine(url, writable=True, wait_s=10), shown(url)
        taken = InvalidInputError(f"{place} holds tables of a ledger and is never overwritten; name another schema")
        try:
            with cls.explained(place), engine.begin() as connection:
                if _ours(connection):
                    raise taken
                connection.exec_driver_sql(_REFUSAL)
                cls._lay(connection, place, vkey=vkey, entry=entry, checkpoint=checkpoint)
        except IntegrityError as error:
            cause = error.__cause__
            if isinstance(cause, DBAPIError) and isinstance(cause.orig, _TAKEN):  # somebody else was faster
                raise taken from error
            raise
        finally:
            engine.dispose()
        return cls.open(url, writable=True)

    @classmethod
    def exists(cls, url: str) -> bool:
        engine = _engine(url, writable=False, wait_s=10)
        try:
            with cls.explained(shown(url)), engine.begin() as connection:
                return bool(_ours(connection))
        finally:
            engine.dispose()

    @classmethod
    def open(cls, url: str, *, writable: bool, wait_s: float = 10) -> "PostgresqlStore":
        return cls(_engine(url, writable=writable, wait_s=wait_s), shown(url))

    def wait_for_growth(self, size: int, timeout_s: float) -> bool:
        """As soon as the server says so. It keeps one connection, that of whoever asks, for as long as it waits."""
        deadline = time.monotonic() + timeout_s
        with self.explained(self.place), self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(f"LISTEN {CHANNEL}")
            try:
                # Looked at after LISTEN: what was committed before is seen, what comes after is told.
                while not (grown := newest_size(connection) > size) and (left := deadline - time.monotonic()) > 0:
                    driver: Any = connection.connection.driver_connection
                    next(driver.notifies(timeout=min(left, LOOK_SECONDS), stop_after=1), None)
                return grown
            finally:
                if not connection.closed and not connection.invalidated:
                    connection.exec_driver_sql(f"UNLISTEN {CHANNEL}")

    @classmethod
    def explain(cls, error: BaseException, place: str) -> PruneGuardError:
        if isinstance(error, errors.LockNotAvailable):
            return UnavailableError(f"another process is writing to {place} and did not finish in time; try again")
        if isinstance(error, errors.InsufficientPrivilege | errors.InvalidSchemaName):
            return InvalidInputError(f"{place}: {error}; grant it to this role, or name another schema")
        if isinstance(error, psycopg.OperationalError | errors.ReadOnlySqlTransaction):
            return UnavailableError(f"{place}: {error}; check the server and its address")
        return IntegrityError(f"{place}: {error}; restore a backup, and do not go on with this ledger")

    @classmethod
    def trigger(cls, table: str, act: str) -> tuple[str, str]:
        name = f"{table}_no_{act.lower()}"
        refusal = "FOR EACH STATEMENT EXECUTE FUNCTION a_ledger_only_grows()"
        return f"CREATE TRIGGER {name} BEFORE {act} ON {table} {refusal}", f"DROP TRIGGER {name} ON {table}"

    def _scrub(self) -> None:
        """Write the table anew without the dropped bodies. The server's own log and backups let go of them later."""
        with self.explained(self.place), self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM FULL entry")


def _engine(url: str, *, writable: bool, wait_s: float) -> sa.Engine:
    try:
        address = sa.make_url(url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError) as error:
        raise InvalidInputError(
            f"the ledger's URL {shown(url)} is none: {error}; expected postgresql://user@host/database"
        ) from error
    engine = sa.create_engine(address, isolation_level="REPEATABLE READ", pool_timeout=wait_s)
    settings = {"lock_timeout": f"{max(1, round(1000 * wait_s))}ms", "synchronous_commit": "on"}
    if not writable:
        settings["default_transaction_read_only"] = "on"

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        for name, value in settings.items():
            connection.execute(f"SET {name} = '{value}'")
        (syncs,) = connection.execute("SHOW fsync").fetchone()
        connection.autocommit = False
        if writable and syncs != "on":
            raise InvalidInputError(f"the server of {shown(url)} runs with fsync={syncs}: nothing is durable there")

    return engine


def _ours(connection: sa.Connection) -> set[str]:
    """What of a ledger's tables is in the schema already."""
    return tables.tables.keys() & set(sa.inspect(connection).get_table_names())
