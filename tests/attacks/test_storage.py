"""Attacks 1 to 8 and 18 to 20: somebody has the database, the files of a bundle, or an old backup."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pruneguard import testing
from pruneguard.audit.report import Level
from pruneguard.errors import IntegrityError
from pruneguard.held import Shelf
from pruneguard.ledger import merkle
from pruneguard.ledger.ledger import Ledger
from tests.attacks.attacker import ENTRIES, PLAIN, TILE, caught, changed
from tests.audit.conftest import Told, contents, listed, whole
from tests.ledger.acts import sealed
from tests.ledger.places import File, file


@pytest.fixture
def place(told: Told, tmp_path: Path) -> File:
    """The story in a file that somebody else can write to."""
    made = file(tmp_path / "ledger.sqlite")
    made.hold(told.ledger)
    return made


def stops(place: File, where: str) -> None:
    """A service that starts on it stops, and says where."""
    with pytest.raises(IntegrityError, match=where):
        Ledger.open(place.url, key=testing.log_key(), verify=True)


def bodies(told: Told, change: Callable[[list[bytes]], None]) -> dict[str, bytes]:
    """The bundle with its entries, and nothing else, changed; hashes and signature of the manifest are right."""
    entries = told.ledger.raw(0, told.ledger.size)
    change(entries)
    return listed({**told.files, ENTRIES: b"".join(len(raw).to_bytes(2) + raw for raw in entries)})


def test_01_an_edited_body_is_found(told: Told, place: File) -> None:
    place.edit("UPDATE entry SET body = :body WHERE idx = 12", body=place.body(12).replace(b"digits", b"digitz"))
    stops(place, "entry 12")
    caught(changed(told, ENTRIES, lambda content: content.replace(b"digits", b"digitz", 1)), Level.TREE, "entry 7: ")


def test_02_a_body_edited_together_with_its_leaf_is_found(told: Told, place: File) -> None:
    body = place.body(12).replace(b"digits", b"digitz")
    place.edit("UPDATE entry SET body = :body, leaf = :leaf WHERE idx = 12", body=body, leaf=merkle.leaf_hash(body))
    stops(place, "entry 12")
    files = bodies(told, lambda entries: entries.__setitem__(12, body))
    tile = told.files[TILE]
    files[TILE] = tile[: 32 * 12] + merkle.leaf_hash(body) + tile[32 * 13 :]
    caught(listed(files), Level.TREE, "ledger/checkpoint: its root is not the one of the 29 entries")


def test_03_a_deleted_row_is_found(told: Told, place: File) -> None:
    place.edit("DELETE FROM entry WHERE idx = 12")
    stops(place, "entry 12|nodes")
    caught(bodies(told, lambda entries: entries.pop(12)), Level.SIGNATURES, "28 entries; expected 29")


def test_04_an_inserted_row_is_found(told: Told, place: File) -> None:
    place.edit("INSERT INTO entry SELECT 29, leaf, body FROM entry WHERE idx = 25")
    stops(place, "holds 30 entries, its checkpoint covers 29")
    caught(bodies(told, lambda entries: entries.insert(12, entries[11])), Level.SIGNATURES, "30 entries; expected 29")


def test_05_swapped_entries_are_found(told: Told, place: File) -> None:
    one, other = place.body(12), place.body(13)
    place.edit(
        "UPDATE entry SET body = CASE idx WHEN 12 THEN :other ELSE :one END WHERE idx IN (12, 13)", one=one, other=other
    )
    stops(place, "entry 12")

    def swap(entries: list[bytes]) -> None:
        entries[12:14] = entries[13], entries[12]

    caught(bodies(told, swap), Level.TREE, "entry 12: ")


def test_06_a_duplicated_entry_is_found(told: Told, place: File) -> None:
    place.edit("UPDATE entry SET body = (SELECT body FROM entry WHERE idx = 11) WHERE idx = 12")
    stops(place, "entry 12")
    caught(bodies(told, lambda entries: entries.__setitem__(26, entries[25])), Level.TREE, "entry 26: ")
    again = bodies(told, lambda entries: entries.__setitem__(12, entries[11]))
    caught(again, Level.SIGNATURES, "entry 12: .*this very act has happened already")


def test_07_a_truncated_tail_is_found(told: Told, place: File) -> None:
    place.edit("DELETE FROM entry WHERE idx = 28")
    stops(place, "holds 28 entries, its checkpoint covers 29")
    caught(bodies(told, lambda entries: entries.pop()), Level.SIGNATURES, "28 entries; expected 29")
    caught(whole(told.files)[:-5_000], Level.FILES, "byte ")


def test_08_an_older_checkpoint_played_again_is_found(told: Told, place: File, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "held")
    with closing(Ledger.open(place.url)) as ledger:
        shelf.follow(ledger)
    place.edit("DELETE FROM checkpoint WHERE size = 29")
    stops(place, "holds 29 entries, its checkpoint covers 28")
    place.edit("DELETE FROM entry WHERE idx = 28")
    with (
        closing(Ledger.open(place.url, verify=True)) as ledger,
        pytest.raises(IntegrityError, match="ends at 28 entries"),
    ):
        shelf.follow(ledger)  # the log agrees with itself: only who saw more can tell
    with told.ledger.store.reading() as reader:
        older = dict(reader.checkpoints())[28]
    caught(listed({**told.files, "ledger/checkpoint": older}), Level.FILES, "manifest.json: origin, size and root")


WRITER = """
import sys
from pruneguard import testing
from pruneguard.ledger.ledger import Ledger
from tests.ledger.acts import sealed
ledger = Ledger.open(sys.argv[1], key=testing.log_key())
print("open", flush=True)
for number in range(int(sys.argv[2])):
    print(ledger.record(sealed(number)).index, flush=True)
"""


def writer(place: File, events: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, place.url, str(events)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_18_a_crash_at_any_moment_loses_nothing_acknowledged_and_signs_no_second_root(place: File) -> None:
    seen: dict[int, bytes] = {}
    for wait in (0.0, 0.011, 0.023, 0.037, 0.051):
        with writer(place, 10_000) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
            acknowledged = [int(line) for line in process.stdout.read().split("\n")[:-1]]
        with closing(Ledger.open(place.url, verify=True)) as ledger:
            assert ledger.size > max(acknowledged, default=0)
            with ledger.store.reading() as reader:
                for size, note in reader.checkpoints():
                    assert seen.setdefault(size, note) == note
    assert len(seen) > 30


@pytest.mark.slow
def test_19_two_writers_at_once_make_one_history(place: File) -> None:
    with writer(place, 60) as one, writer(place, 60) as other:
        positions = [int(line) for process in (one, other) for line in process.communicate()[0].split("\n")[1:-1]]
    assert sorted(positions) == list(range(29, 149))
    with closing(Ledger.open(place.url, verify=True)) as ledger:
        assert ledger.size == 149
        assert not ledger.state().violations


def test_20_a_restored_backup_that_is_written_to_is_found(told: Told, place: File, tmp_path: Path) -> None:
    backup, shelf = tmp_path / "backup.sqlite", Shelf(tmp_path / "held")
    shutil.copy(place.path, backup)
    with closing(Ledger.open(place.url, key=testing.log_key())) as ledger:
        ledger.record_all([sealed(1), sealed(2)])
        shelf.follow(ledger)
        held = ledger.checkpoint
    for leftover in place.path.parent.glob(f"{place.path.name}-*"):
        leftover.unlink()
    shutil.copy(backup, place.path)
    with closing(Ledger.open(place.url, key=testing.log_key(), verify=True)) as ledger:
        with pytest.raises(IntegrityError, match="ends at 29 entries"):
            shelf.follow(ledger)
        ledger.record_all([sealed(3), sealed(4), sealed(5)])
        with pytest.raises(IntegrityError, match="history was rewritten"):
            shelf.follow(ledger)
        forked = contents(ledger, told.artifacts, model="digits", **PLAIN)
    caught(forked, None)
    caught(forked, Level.ANCHORING, "ledger/checkpoint: its first 31 entries are not those", held=held)
