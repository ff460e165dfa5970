"""What a ledger promises: it only grows, says what is durable, and notices every byte that was changed."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from pruneguard import testing
from pruneguard.artifacts import Artifacts
from pruneguard.errors import IntegrityError, InvalidInputError, UnavailableError
from pruneguard.ledger import merkle, notes, tiles
from pruneguard.ledger.events import Entry, Event
from pruneguard.ledger.keys import LogKey
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.store import SqlStore

KEY = testing.log_key()
DIGEST = "sha256:" + 64 * "0"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a story in it, to copy."""
    folder = tmp_path_factory.mktemp("told")
    ledger = Ledger.create(f"sqlite:///{folder / 'ledger.sqlite'}", origin=testing.ORIGIN, key=KEY)
    testing.story(ledger, Artifacts(str(folder / "artifacts")))
    ledger.close()
    return folder / "ledger.sqlite"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "my ledger#1.sqlite"


@pytest.fixture
def url(file: Path) -> str:
    return f"sqlite:///{file}"


@pytest.fixture
def ledger(told: Path, file: Path, url: str) -> Iterator[Ledger]:
    shutil.copy(told, file)
    ledger = Ledger.open(url, key=KEY)
    yield ledger
    ledger.close()


def sealed(number: int, *, causation: str | None = None) -> Event:
    data = {"model": "digits", "number": 1, "rows": number}
    return Event("batch.sealed", "monitor", data, {"batch": DIGEST}, causation)


def edit(file: Path, statement: str, *arguments: object) -> None:
    """Change a ledger as somebody with the file and a shell would."""
    connection = sqlite3.connect(file)
    triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for (name,) in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(statement, arguments)
    connection.commit()
    connection.close()


def body(file: Path, index: int) -> bytes:
    connection = sqlite3.connect(file)
    (found,) = connection.execute("SELECT body FROM entry WHERE idx = ?", (index,)).fetchone()
    connection.close()
    return found


# -- what is recorded stays


def test_what_was_recorded_is_there_after_opening_again(ledger: Ledger, url: str) -> None:
    again = Ledger.open(url, key=KEY, verify=True)
    assert again.size == ledger.size
    assert again.raw(0, again.size) == ledger.raw(0, ledger.size)
    assert again.state() == ledger.state()
    assert not again.state().violations
    again.close()


def test_an_append_is_covered_by_a_checkpoint_that_the_log_signed(ledger: Ledger) -> None:
    recorded = ledger.record(sealed(1))
    checkpoint = notes.open_checkpoint(ledger.checkpoint, KEY.verifier)
    assert checkpoint.size == recorded.index + 1
    proof = tiles.Proof.decode(ledger.proof(recorded.index))
    leaf = merkle.leaf_hash(ledger.raw(recorded.index, recorded.index + 1)[0])
    assert proof.checkpoint == ledger.checkpoint
    assert merkle.verify_inclusion(
        index=recorded.index, size=checkpoint.size, leaf=leaf, proof=proof.hashes, root=checkpoint.root
    )


def test_every_checkpoint_continues_the_one_before(ledger: Ledger) -> None:
    with ledger.store.reading() as reader:
        checkpoints = [notes.open_checkpoint(note, KEY.verifier) for _, note in reader.checkpoints()]
    for old, new in pairwise(checkpoints):
        proof = ledger.consistency(old.size, new.size)
        assert merkle.verify_consistency(old=old.size, new=new.size, old_root=old.root, new_root=new.root, proof=proof)


def test_a_persons_act_is_stored_in_their_signed_envelope(ledger: Ledger) -> None:
    approvals = [e for e in map(ledger.entry, range(ledger.size)) if e.event.type == "release.approved"]
    assert approvals
    assert all(entry.envelope is not None for entry in approvals)


def test_a_retried_step_finds_what_it_did_before(ledger: Ledger) -> None:
    first = ledger.record(sealed(1, causation="step-1"))
    again = ledger.record(sealed(2, causation="step-1"))
    assert again == first
    assert ledger.size == first.index + 1


def test_a_causation_cannot_stand_for_two_kinds_of_event(ledger: Ledger) -> None:
    ledger.record(sealed(1, causation="step-1"))
    other = Event(
        "drift.reported", "monitor", {"model": "digits", "number": 1, "drifted": False}, {"report": DIGEST}, "step-1"
    )
    with pytest.raises(InvalidInputError, match="cannot be"):
        ledger.record(other)


def test_a_batch_is_recorded_under_one_checkpoint(ledger: Ledger) -> None:
    before = ledger.size
    recorded = ledger.record_all([sealed(n, causation=f"step-{n % 3}") for n in range(5)])
    assert [r.index - before for r in recorded] == [0, 1, 2, 0, 1]
    with ledger.store.reading() as reader:
        assert [size for size, _ in reader.checkpoints()][-2:] == [before, before + 3]
    ledger.verify()


def test_a_batch_with_a_refused_event_records_nothing(ledger: Ledger, url: str) -> None:
    before = ledger.state().models["digits"].batches.copy()
    unknown = Event("batch.sealed", "monitor", {"model": "nobody", "number": 1, "rows": 1}, {"batch": DIGEST})
    with pytest.raises(InvalidInputError, match="nobody"):
        ledger.record_all([sealed(1), unknown])
    assert ledger.state().models["digits"].batches == before
    assert ledger.record(sealed(7)).index == ledger.size - 1
    assert Ledger.open(url, verify=True).state() == ledger.state()


def test_a_refusal_gives_every_reason_and_leaves_no_trace(ledger: Ledger) -> None:
    before, release = ledger.checkpoint, ledger.state().models["digits"].releases[1]
    data = {"model": "digits", "number": 1, "reason": " "}
    with pytest.raises(InvalidInputError) as refused:
        ledger.record(Event("release.approved", "ada", data, {"model": release.digest}), signer=testing.people()["ada"])
    for reason in ("not an approver", "made this release", "not proposed", "needs a reason"):
        assert reason in str(refused.value)
    assert ledger.checkpoint == before


@pytest.mark.parametrize(
    "event",
    [
        Event("key.registered", "root", {"actor": "eve", "person": "eve", "public_key": "AAAA", "roles": ["engineer"]}),
        Event("key.registered", "root", {"actor": "eve", "person": "eve", "public_key": 7, "roles": ["engineer"]}),
        Event(
            "key.registered",
            "root",
            {"actor": "eve", "person": "eve", "public_key": testing.people()["ada"].public_key, "roles": ["king"]},
        ),
        Event(
            "policy.adopted",
            "grace",
            {"name": "p", "version": 1, "approvals_min": "1", "on_decay": "notify"},
            {"policy": DIGEST},
        ),
    ],
)
def test_an_event_with_values_of_the_wrong_kind_is_refused(ledger: Ledger, event: Event) -> None:
    before = ledger.size
    with pytest.raises(InvalidInputError):
        ledger.record(event, signer=testing.people()[event.actor])
    assert ledger.size == before
    assert not ledger.state().violations


def test_an_envelope_too_large_for_a_tile_is_refused(ledger: Ledger) -> None:
    event = Event("run.started", "ada", {"run": "r", "model": "m", "note": "x" * 58_000}, {"manifest": DIGEST})
    with pytest.raises(InvalidInputError, match="65535"):
        ledger.record(event, signer=testing.people()["ada"])


def test_without_its_key_a_ledger_is_read_only(ledger: Ledger, url: str) -> None:
    reader = Ledger.open(url)
    with pytest.raises(InvalidInputError, match="read only"):
        reader.record(sealed(1))
    ledger.record(sealed(1))
    assert reader.size == ledger.size  # it sees what others write
    assert reader.state() == ledger.state()
    reader.close()


def test_another_key_does_not_open_the_ledger_for_writing(ledger: Ledger, url: str) -> None:
    with pytest.raises(InvalidInputError, match="belongs to"):
        Ledger.open(url, key=LogKey(testing.ORIGIN, testing.people()["ada"].key))


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entry",
        "UPDATE entry SET body = x'00'",
        "DELETE FROM node",
        "UPDATE node SET hash = x'00'",
        "DELETE FROM checkpoint",
        "UPDATE checkpoint SET note = x'00'",
        "DELETE FROM meta",
        "UPDATE meta SET value = ''",
    ],
)
def test_update_and_delete_are_refused_by_the_database_itself(ledger: Ledger, file: Path, statement: str) -> None:
    connection = sqlite3.connect(file)
    with pytest.raises(sqlite3.DatabaseError, match="only grows"):
        connection.execute(statement)
    connection.close()


# -- what was changed is found


def test_an_edited_entry_is_named(ledger: Ledger, url: str, file: Path) -> None:
    edit(file, "UPDATE entry SET body = ? WHERE idx = 12", body(file, 12).replace(b"digits", b"digitz"))
    for read in (lambda: Ledger.open(url, verify=True), lambda: Ledger.open(url).state()):
        with pytest.raises(IntegrityError, match=r"my ledger#1\.sqlite was changed in entry 12.*restore a backup"):
            read()


def test_an_entry_edited_together_with_its_leaf_is_found(ledger: Ledger, url: str, file: Path) -> None:
    changed = body(file, 12).replace(b"digits", b"digitz")
    edit(file, "UPDATE entry SET body = ? WHERE idx = 12", changed)
    edit(file, "UPDATE node SET hash = ? WHERE level = 0 AND idx = 12", merkle.leaf_hash(changed))
    with pytest.raises(IntegrityError, match="entry 12 to 12: their signed root differs"):
        Ledger.open(url, verify=True)
    with pytest.raises(IntegrityError, match="do not lead to its signed root"):
        Ledger.open(url).state()


def test_a_changed_frontier_stops_the_start(ledger: Ledger, url: str, file: Path) -> None:
    edit(file, "UPDATE node SET hash = zeroblob(32) WHERE level = 4 AND idx = 0")
    with pytest.raises(IntegrityError, match="stored tree"):
        Ledger.open(url)


def test_a_changed_inner_node_is_found(ledger: Ledger, url: str, file: Path) -> None:
    edit(file, "UPDATE node SET hash = zeroblob(32) WHERE level = 1 AND idx = 2")
    with pytest.raises(IntegrityError, match="tree node of level 1"):
        Ledger.open(url, verify=True)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM entry WHERE idx = 28", "holds 28 entries, its checkpoint covers 29"),
        ("INSERT INTO entry SELECT 29, body FROM entry WHERE idx = 28", "holds 30 entries, its checkpoint covers 29"),
        ("DELETE FROM checkpoint WHERE size = 29", "holds 29 entries, its checkpoint covers 28"),
        ("DELETE FROM checkpoint", "no checkpoint"),
        (
            "UPDATE checkpoint SET note = CAST(replace(CAST(note AS TEXT), char(10) || 29, char(10) || 28) AS BLOB) "
            "WHERE size = 29",
            "did not sign",
        ),
        ("UPDATE checkpoint SET note = (SELECT note FROM checkpoint WHERE size = 28) WHERE size = 29", "covers 28"),
        ("DELETE FROM node WHERE level = 4", "lacks the tree node 4/0"),
    ],
)
def test_a_truncated_grown_or_replayed_log_stops_the_start(
    ledger: Ledger, url: str, file: Path, statement: str, found: str
) -> None:
    edit(file, statement)
    with pytest.raises(IntegrityError, match=found):
        Ledger.open(url)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM entry WHERE idx = 5", "entry 5"),
        ("UPDATE entry SET body = (SELECT body FROM entry WHERE idx = 6) WHERE idx = 5", "entry 5"),
        ("DELETE FROM node WHERE level = 0 AND idx = 5", "entry 5"),
        ("UPDATE checkpoint SET note = (SELECT note FROM checkpoint WHERE size = 28) WHERE size = 27", "signed root"),
    ],
)
def test_a_change_in_the_middle_is_found_by_verifying(
    ledger: Ledger, url: str, file: Path, statement: str, found: str
) -> None:
    edit(file, statement)
    with pytest.raises(IntegrityError, match=found):
        Ledger.open(url, verify=True)


def test_a_ledger_that_goes_back_under_a_running_service_is_found(ledger: Ledger, file: Path) -> None:
    ledger.state()
    edit(file, "DELETE FROM entry WHERE idx = 28")
    edit(file, "DELETE FROM checkpoint WHERE size = 29")
    with pytest.raises(IntegrityError, match="went back from 29 entries to 28"):
        ledger.record(sealed(1))


# -- what is no ledger is one clear error


@pytest.mark.parametrize(
    ("content", "error", "found"),
    [
        (None, UnavailableError, "there is no ledger at"),
        (b"", IntegrityError, "is empty"),
        (b"not a database, but quite long all the same", IntegrityError, "is not a database"),
        (b"SQLite format 3\x00" + bytes(4_000), IntegrityError, "restore a backup"),
    ],
)
def test_what_is_no_ledger_is_one_clear_error(
    url: str, file: Path, content: bytes | None, error: type[Exception], found: str
) -> None:
    if content is not None:
        file.write_bytes(content)
    for key in (None, KEY):
        with pytest.raises(error, match=found):
            Ledger.open(url, key=key)
    assert (file.read_bytes() if file.exists() else None) == content


def test_a_database_of_something_else_is_no_ledger(url: str, file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE entry (idx)")
    connection.close()
    with pytest.raises(InvalidInputError, match="holds no ledger"):
        Ledger.open(url)


def test_a_ledger_is_never_created_over_a_file(ledger: Ledger, url: str) -> None:
    before = ledger.checkpoint
    with pytest.raises(InvalidInputError, match="never overwritten"):
        Ledger.create(url, origin=testing.ORIGIN, key=KEY)
    assert Ledger.create_or_open(url, origin=testing.ORIGIN, key=KEY).checkpoint == before


def test_a_ledgers_key_bears_its_origin(url: str, file: Path) -> None:
    with pytest.raises(InvalidInputError, match="named as its origin"):
        Ledger.create(url, origin="somewhere else", key=KEY)
    assert not file.exists()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "postgresql://host/db", "sqlite:///a?b.sqlite"])
def test_an_address_that_is_no_file_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError, match="expected sqlite:///"):
        Ledger.open(url)


# -- many at once


def test_writers_in_many_threads_lose_nothing(ledger: Ledger, url: str) -> None:
    before = ledger.size

    def write(name: int) -> None:
        mine = Ledger.open(url, key=KEY)
        for number in range(10):
            mine.record(sealed(number, causation=f"{name}/{number}"))
        mine.close()

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.size == before + 40
    ledger.verify()
    assert not ledger.state().violations


def test_a_writer_that_waits_too_long_is_told_so(ledger: Ledger, url: str) -> None:
    impatient = Ledger(SqlStore.open(url, writable=True, busy_timeout_s=0.05), key=KEY)
    with ledger.store.writing(), pytest.raises(UnavailableError, match="another process is writing"):
        impatient.record(sealed(1))
    assert impatient.record(sealed(1)).index == 29
    impatient.close()


def test_a_reader_does_not_wait_for_a_writer(ledger: Ledger, url: str) -> None:
    reader = Ledger(SqlStore.open(url, writable=False, busy_timeout_s=0))
    with ledger.store.writing() as writer:
        writer.append([b"x"], [(0, 29, bytes(32))], size=30, checkpoint=b"not yet")
        assert reader.size == 29
    reader.close()


KILLED = """
import os, signal, sys
from pruneguard import testing
from pruneguard.ledger.events import Event
from pruneguard.ledger.ledger import Ledger

ledger = Ledger.open(sys.argv[1], key=testing.log_key())
number = 0
while True:
    event = Event("batch.sealed", "monitor", {"model": "digits", "number": 1, "rows": number}, {"batch": sys.argv[2]})
    print(ledger.record(event).index, flush=True)
    number += 1
"""


@pytest.mark.parametrize("acknowledged", [1, 20])
def test_a_killed_writer_loses_no_acknowledged_event(ledger: Ledger, url: str, acknowledged: int) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, url, DIGEST], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        last = [int(child.stdout.readline()) for _ in range(acknowledged)][-1]
        os.kill(child.pid, signal.SIGKILL)
    again = Ledger.open(url, key=KEY, verify=True)
    assert again.size > last
    assert Entry.decode(again.raw(last, last + 1)[0]).event.data["rows"] == acknowledged - 1
    assert again.record(sealed(1)).index == again.size - 1
    again.verify()
    again.close()


def test_a_ledger_in_memory_is_the_same_ledger() -> None:
    ledger = testing.memory_ledger()
    other = ledger.reopen()
    for signer in testing.people().values():
        assert signer.actor
    testing.register(ledger)
    assert other.state() == ledger.state()
    ledger.verify()
    with pytest.raises(InvalidInputError):
        other.record(sealed(1))
    assert set(other.state().people) == {"root", "ada", "grace", "otto"}


# -- several processes

LOOKED = "import sys; from pruneguard.ledger.ledger import Ledger; Ledger.open(sys.argv[1]).close()"


def test_a_process_that_looks_and_leaves_does_not_take_the_log_from_one_that_opened_the_ledger_twice(
    ledger: Ledger, url: str, file: Path
) -> None:
    ledger.state()
    Ledger.open(url).close()  # must not cost this process its locks
    log = file.with_name(file.name + "-wal")
    before = log.stat().st_ino
    subprocess.run([sys.executable, "-c", LOOKED, url], check=True)
    assert log.stat().st_ino == before
