"""What the databases themselves refuse, and what they say when they are not well."""

import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import DatabaseError

from pruneguard import home, testing
from pruneguard.errors import IntegrityError, InvalidInputError, UnavailableError
from pruneguard.ledger import postgresql as postgresql_store
from pruneguard.ledger.ledger import Ledger
from pruneguard.settings import Settings
from tests.ledger import places
from tests.ledger.acts import sealed
from tests.ledger.places import File, Place, Schema

KEY = testing.log_key()


@pytest.fixture
def schema(told: Ledger, postgresql: str, request: pytest.FixtureRequest) -> Schema:
    """The story in PostgreSQL."""
    made = places.schema(postgresql, f"own_{abs(hash(request.node.nodeid))}")
    made.hold(told)
    return made


@pytest.mark.parametrize("table", places.TABLES)
@pytest.mark.parametrize("act", ["DELETE FROM {}", "UPDATE {} SET {} = NULL", "TRUNCATE {}"])
def test_the_database_itself_refuses_to_change_or_remove_anything(
    ledger: Ledger, place: Place, table: str, act: str
) -> None:
    if act.startswith("TRUNCATE") and isinstance(place, File):
        pytest.skip("SQLite has no TRUNCATE")
    ledger.record_all([sealed(rows) for rows in range(300)])  # so that each table holds something
    column = {"meta": "value", "entry": "body", "node": "hash", "checkpoint": "note"}[table]
    with pytest.raises(DatabaseError, match="a ledger only grows"):
        place.run(act.format(table, column))


def test_no_size_can_get_a_second_root(ledger: Ledger) -> None:
    with pytest.raises(IntegrityError), ledger.store.writing() as writer:
        writer.append([b"x"], leaves=[bytes(32)], nodes=[], size=29, checkpoint=b"another")
    ledger.verify()


def test_dropping_bodies_leaves_their_hashes_and_the_triggers(ledger: Ledger, place: Place) -> None:
    ledger.record_all([sealed(rows) for rows in range(20)])
    secret = ledger.raw(40, 41)[0]
    ledger.store.drop_bodies([(30, 35), (40, 41)])
    ledger.store.drop_bodies([(30, 35), (40, 41)])  # as after an interruption
    bodies = ledger.raw(0, ledger.size)
    assert [index for index, body in enumerate(bodies) if not body] == [30, 31, 32, 33, 34, 40]
    ledger.check()
    with pytest.raises(DatabaseError, match="a ledger only grows"):
        place.run("UPDATE entry SET body = NULL")
    if isinstance(place, File):
        files = [place.path, *place.path.parent.glob(place.path.name + "-*")]
        ledger.close()
        assert not any(secret in path.read_bytes() for path in files if path.exists())


def test_bodies_that_a_reader_may_still_see_are_not_called_gone(ledger: Ledger, file: File, told: Ledger) -> None:
    if not file.path.exists():
        file.hold(told)
    with (
        closing(Ledger(file.store.open(file.url, writable=True, wait_s=0.05), key=KEY)) as impatient,
        closing(Ledger.open(file.url)) as reader,
        reader.store.reading() as view,
    ):
        view.checkpoint()
        with pytest.raises(UnavailableError, match="still holds the dropped bodies"):
            impatient.store.drop_bodies([(28, 29)])


def test_a_ledger_is_never_created_over_another(ledger: Ledger, place: Place) -> None:
    before = ledger.checkpoint
    with pytest.raises(InvalidInputError, match="never overwritten"):
        Ledger.create(place.url, origin=testing.ORIGIN, key=KEY)
    with closing(Ledger.create_or_open(place.url, origin=testing.ORIGIN, key=KEY)) as again:
        assert again.checkpoint == before


def test_a_ledger_is_made_where_there_is_none(place: Place) -> None:
    with closing(Ledger.create_or_open(place.url, origin=testing.ORIGIN, key=KEY)) as made:
        assert made.size == 1
        made.verify()


def test_a_ledgers_key_bears_its_origin(place: Place) -> None:
    with pytest.raises(InvalidInputError, match="named as its origin"):
        Ledger.create(place.url, origin="somewhere else", key=KEY)
    assert not place.store.exists(place.url)


def test_a_ledger_of_another_schema_is_not_guessed_at(ledger: Ledger, place: Place) -> None:
    place.edit("UPDATE meta SET value = '99' WHERE name = 'schema'")
    with pytest.raises(InvalidInputError, match="schema 99; this program knows"):
        Ledger.open(place.url)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://host/db", "sqlite:///a?b.sqlite", "", "x"])
def test_an_address_that_no_ledger_can_have_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError, match="expected sqlite:///"):
        Ledger.open(url)


def test_a_service_keeps_its_ledger_where_its_settings_say(place: Place, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", ledger_url=place.url)
    home.create(settings, admin="root").close()
    with closing(home.open_ledger(settings, verify=True)) as ledger:
        assert set(ledger.state().people) == {"root"}
    assert not (settings.home / "ledger.sqlite").exists()
    with pytest.raises(InvalidInputError, match="nothing was changed"):
        home.create(settings, admin="root")


# -- SQLite


@pytest.mark.parametrize(
    ("content", "error", "found"),
    [
        (None, UnavailableError, "there is no ledger at"),
        (b"", IntegrityError, "is empty"),
        (b"not a database, but quite long all the same", IntegrityError, "is not a database"),
        (b"SQLite format 3\x00" + bytes(4_000), IntegrityError, "restore a backup"),
    ],
)
def test_a_file_that_is_no_ledger_is_one_clear_error(
    file: File, content: bytes | None, error: type[Exception], found: str
) -> None:
    if content is not None:
        file.path.write_bytes(content)
    for key in (None, KEY):
        with pytest.raises(error, match=found):
            Ledger.open(file.url, key=key)
    assert (file.path.read_bytes() if file.path.exists() else None) == content


def test_a_database_of_something_else_is_no_ledger(file: File) -> None:
    with closing(sqlite3.connect(file.path)) as connection:
        connection.execute("CREATE TABLE entry (idx)")
    with pytest.raises(InvalidInputError, match="holds no ledger"):
        Ledger.open(file.url)


LOOKED = "import sys; from pruneguard.ledger.ledger import Ledger; Ledger.open(sys.argv[1]).close()"


def test_a_process_that_looks_and_leaves_does_not_take_the_log_from_one_that_opened_the_ledger_twice(
    told: Ledger, file: File
) -> None:
    file.hold(told)
    with closing(Ledger.open(file.url, key=KEY)) as ledger:
        ledger.record(sealed(1))
        Ledger.open(file.url).close()  # must not cost this process its locks
        log = file.path.with_name(file.path.name + "-wal")
        before = log.stat().st_ino
        subprocess.run([sys.executable, "-c", LOOKED, file.url], check=True)
        assert log.stat().st_ino == before


# -- PostgreSQL


def test_a_connection_that_is_lost_is_told_and_made_again(schema: Schema) -> None:
    with closing(Ledger.open(schema.url, key=KEY)) as ledger:
        ledger.record(sealed(1))
        schema.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        with pytest.raises(UnavailableError, match="check the server"):
            ledger.record(sealed(2))
        assert ledger.record(sealed(3)).index == 30
        ledger.verify()


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="check the server"):
        Ledger.open(f"postgresql://nobody:secret@/db?host={tmp_path}")


def test_messages_hold_no_password(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as told:
        Ledger.open(f"postgresql://nobody:secret@/db?host={tmp_path}")
    assert "secret" not in str(told.value)


def test_an_empty_schema_holds_no_ledger(postgresql: str) -> None:
    empty = places.schema(postgresql, "empty")
    with pytest.raises(InvalidInputError, match="holds no ledger"):
        Ledger.open(empty.url, key=KEY)


def test_a_schema_that_does_not_exist_is_named(postgresql: str) -> None:
    with pytest.raises(InvalidInputError, match="no schema has been selected"):
        Ledger.create(f"{postgresql}&options=-csearch_path%3Dnowhere", origin=testing.ORIGIN, key=KEY)


def test_who_may_only_read_is_told_so(schema: Schema, postgresql: str) -> None:
    name = schema.url.rpartition("%3D")[2]
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")
        connection.execute(f"GRANT USAGE ON SCHEMA {name} TO reader")  # type: ignore[call-overload]
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO reader")  # type: ignore[call-overload]
    url = schema.url.replace("pruneguard@", "reader@")
    with closing(Ledger.open(url)) as reader:
        assert reader.state().size == 29
    with closing(Ledger.open(url, key=KEY)) as writer, pytest.raises(InvalidInputError, match="permission denied"):
        writer.record(sealed(1))
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("DROP OWNED BY reader")


def test_a_server_that_does_not_sync_is_not_written_to() -> None:
    if (programs := places.binaries()) is None:
        pytest.skip("no PostgreSQL server on this machine; Debian's package is `postgresql`")
    refusal = pytest.raises(InvalidInputError, match="fsync=off: nothing is durable there")
    with places.server(programs, "-c", "fsync=off") as address, refusal:
        Ledger.create(address, origin=testing.ORIGIN, key=KEY)


def test_a_server_that_crashes_loses_nothing_it_acknowledged(told: Ledger) -> None:
    if (programs := places.binaries()) is None:
        pytest.skip("no PostgreSQL server on this machine; Debian's package is `postgresql`")
    with places.folder() as folder:
        with places.running(programs, folder) as (address, process):
            place = places.schema(address, "crashed")
            place.hold(told)
            with closing(Ledger.open(place.url, key=KEY)) as ledger:
                last = [ledger.record(sealed(rows)) for rows in range(20)][-1]
                process.send_signal(signal.SIGQUIT)  # at once, without a checkpoint: it recovers from its log
                process.wait()
                with pytest.raises(UnavailableError):
                    ledger.record(sealed(99))
        with places.running(programs, folder), closing(Ledger.open(place.url, key=KEY, verify=True)) as again:
            assert again.entry(last.index).event == last.event
            assert again.size == last.index + 1


# -- growth


def test_whoever_waits_is_told_when_the_log_grows(
    ledger: Ledger, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In PostgreSQL by its own word: nobody looks before the test is over."""
    monkeypatch.setattr(postgresql_store, "LOOK_SECONDS", 60.0)
    with closing(Ledger.open(place.url)) as reader, ThreadPoolExecutor(1) as other:
        size = reader.size
        grown = other.submit(reader.wait_for_growth, size, 30.0)
        ledger.record(sealed(1))
        assert grown.result()
        assert reader.size == size + 1


def test_what_is_there_already_is_not_waited_for(ledger: Ledger) -> None:
    assert ledger.wait_for_growth(ledger.size - 1, 60.0)


def test_a_log_that_does_not_grow_is_waited_for_as_long_as_was_said(ledger: Ledger) -> None:
    assert not ledger.wait_for_growth(ledger.size, 0.01)
    ledger.record(sealed(1))  # the connection that waited is as it was


def test_a_lost_notification_is_made_up_for(ledger: Ledger, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql_store.PostgresqlStore, "end_writing", ())
    monkeypatch.setattr(postgresql_store, "LOOK_SECONDS", 0.01)
    with closing(Ledger.open(place.url)) as reader, ThreadPoolExecutor(1) as other:
        grown = other.submit(reader.wait_for_growth, reader.size, 30.0)
        ledger.record(sealed(1))
        assert grown.result()
