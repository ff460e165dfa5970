"""Where the tests keep ledgers: files, and a private PostgreSQL server with a schema for each."""

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.postgresql import PostgresqlStore
from pruneguard.ledger.sqlite import SqliteStore
from pruneguard.ledger.sqlstore import SqlStore

TABLES = ("meta", "entry", "node", "checkpoint")


@dataclass(frozen=True)
class Place(ABC):
    """A database's address, and what somebody with a shell on its machine can do there."""

    url: str
    store: type[SqlStore]

    @abstractmethod
    def engine(self) -> sa.Engine:
        """A connection of a stranger's."""

    @abstractmethod
    def unguard(self, connection: sa.Connection) -> None:
        """Take the triggers away."""

    def run(self, statement: str, **values: Any) -> list[Any]:
        """What any client may do."""
        engine = self.engine()
        try:
            with engine.begin() as connection:
                done = connection.execute(sa.text(statement), values)
                return list(done.scalars()) if done.returns_rows else []
        finally:
            engine.dispose()

    def edit(self, statement: str, **values: Any) -> None:
        """Change the ledger behind its back."""
        engine = self.engine()
        try:
            with engine.begin() as connection:
                self.unguard(connection)
                connection.execute(sa.text(statement), values)
        finally:
            engine.dispose()

    def body(self, index: int) -> bytes:
        (found,) = self.run("SELECT body FROM entry WHERE idx = :index", index=index)
        return bytes(found)

    def hold(self, told: Ledger) -> None:
        """A ledger here with the entries and checkpoints of another."""
        with told.store.reading() as reader:
            rows, notes = list(reader.entries(0, told.size)), list(reader.checkpoints())
            store = self.store.create(self.url, told.store.vkey, rows[0][2], notes[0][1])
            nodes = {level: reader.nodes(level, 0, told.size >> level) for level in (8,)}
        known = [(level, index, value) for level, row in nodes.items() for index, value in enumerate(row)]
        for (behind, _), (size, note) in itertools.pairwise(notes):
            with store.writing() as writer:
                writer.append(
                    [body for _, _, body in rows[behind:size]],
                    leaves=[leaf for _, leaf, _ in rows[behind:size]],
                    nodes=[node for node in known if behind < (node[1] + 1) << node[0] <= size],
                    size=size,
                    checkpoint=note,
                )
        store.close()


@dataclass(frozen=True)
class File(Place):
    path: Path

    def engine(self) -> sa.Engine:
        return sa.create_engine(sa.URL.create("sqlite", database=str(self.path)))

    def unguard(self, connection: sa.Connection) -> None:
        for name in list(connection.scalars(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))):
            connection.execute(sa.text(f"DROP TRIGGER {name}"))


@dataclass(frozen=True)
class Schema(Place):
    def engine(self) -> sa.Engine:
        return sa.create_engine(self.url)

    def unguard(self, connection: sa.Connection) -> None:
        for table in TABLES:
            connection.execute(sa.text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))


def file(path: Path) -> File:
    return File(f"sqlite:///{path}", SqliteStore, path)


def schema(server: str, name: str) -> Schema:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return Schema(f"{server}&options=-csearch_path%3D{name}", PostgresqlStore)


def binaries() -> Path | None:
    """The newest PostgreSQL server's programs: Debian keeps them off the path."""
    if found := shutil.which("postgres"):
        return Path(found).parent
    installed = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max((path.parent for path in installed), key=lambda folder: int(folder.parent.name), default=None)


@contextmanager
def server(programs: Path, *settings: str) -> Iterator[str]:
    """The address of a server of our own."""
    with folder() as empty, running(programs, empty, *settings) as (address, _):
        yield address


@contextmanager
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path has at most 107 characters
    if os.geteuid() == 0:  # PostgreSQL refuses to be run by root
        shutil.chown(made, "postgres", "postgres")
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def running(programs: Path, home: Path, *settings: str) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A server on a socket in its own folder: no port, no network."""
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    data, log = home / "data", home / "log"
    if not log.exists():
        made = [str(programs / "initdb"), "-D", str(data), "-U", "pruneguard", "-A", "trust", "--no-locale"]
        subprocess.run([*as_user, *made, "-E", "UTF8", "--no-sync"], check=True, capture_output=True, cwd=home)
    started = [str(programs / "postgres"), "-D", str(data), "-k", str(home), "-c", "listen_addresses=", *settings]
    address = f"postgresql://pruneguard@/postgres?host={home}"
    with (
        log.open("ab") as output,
        subprocess.Popen([*as_user, *started], stdout=output, stderr=output, cwd=home) as process,
    ):
        try:
            _await(address, process, log)
            yield address, process
        finally:
            process.send_signal(signal.SIGINT)  # end now, in order


def _await(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}") from None
            time.sleep(0.05)
        else:
            return
