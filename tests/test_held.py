"""Checkpoints that somebody kept: a ledger that goes back or forks is found, and nothing else is."""

import json
import multiprocessing
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest

from pruneguard import held, home
from pruneguard.errors import IntegrityError, InvalidInputError, UnavailableError
from pruneguard.held import Kept, Shelf, default_folder
from pruneguard.ledger import events, notes
from pruneguard.ledger.ledger import Ledger
from pruneguard.settings import Settings
from pruneguard.testing import START, memory_ledger, people, register
from tests.ledgers import new_ledger
from tests.witness.logs import TinyLog

LOG = TinyLog(300)


def grow(ledger: Ledger, name: str) -> None:
    """One more entry: the key of an engineer of this name."""
    data = {"actor": name, "person": name, "public_key": people()["ada"].public_key, "roles": ["engineer"]}
    data["public_key"] = notes.encode_base64(name.encode().ljust(32, b"."))
    ledger.record(events.Event("key.registered", "root", data), signer=people()["root"])


def keep(shelf: Shelf, log: TinyLog, size: int, where: str = "here") -> None:
    shelf.keep(log.verifier, log.note(size), where=where, continues=lambda old: log.root(old.size) == old.root)


def size_of(shelf: Shelf, log: TinyLog = LOG) -> int:
    seen = shelf.find(log.verifier)
    return 0 if seen is None else notes.open_checkpoint(seen.note.encode(), log.verifier).size


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "state" / "held")


def test_what_was_never_seen_is_not_found(shelf: Shelf) -> None:
    assert shelf.find(LOG.verifier) is None


def test_a_checkpoint_is_found_again_with_where_it_was_seen(shelf: Shelf) -> None:
    keep(shelf, LOG, 20, "a bundle")
    seen = shelf.find(LOG.verifier)
    assert seen is not None
    assert (seen.note.encode(), seen.where) == (LOG.note(20), "a bundle")
    assert len(seen.at) == len("2026-01-02T03:04:05Z")


def test_logs_of_one_name_and_two_keys_are_two(shelf: Shelf) -> None:
    keep(shelf, LOG, 20)
    other = notes.Verifier(LOG.name, notes.ED25519, bytes(32))
    assert shelf.find(other) is None
    assert shelf.path(other) != shelf.path(LOG.verifier)


def test_only_a_larger_checkpoint_takes_its_place(shelf: Shelf) -> None:
    keep(shelf, LOG, 20, "first")
    keep(shelf, LOG, 20, "again")
    assert str(shelf.find(LOG.verifier)).endswith("in first")
    keep(shelf, LOG, 30, "later")
    assert str(shelf.find(LOG.verifier)).endswith("in later")


@pytest.mark.parametrize(
    ("log", "size", "why"),
    [
        (LOG, 19, "ends at 19 entries, and 20 were seen before"),
        (TinyLog(300, forked_at=5), 20, "first 20 entries are not those"),
        (TinyLog(300, forked_at=19), 25, "first 20 entries are not those"),
        (TinyLog(300, forked_at=19), 7, "ends at 7 entries"),
    ],
)
def test_a_log_that_went_back_or_forked_is_refused_and_the_proof_stays(
    shelf: Shelf, log: TinyLog, size: int, why: str
) -> None:
    keep(shelf, LOG, 20, "the dashboard")
    with pytest.raises(IntegrityError, match=f"there: .*{why}.*in the dashboard.*{shelf.path(LOG.verifier)}"):
        keep(shelf, log, size, "there")
    assert size_of(shelf) == 20


def test_a_fork_that_parted_later_is_seen_as_a_continuation(shelf: Shelf) -> None:
    keep(shelf, LOG, 20)
    keep(shelf, TinyLog(300, forked_at=20), 25)
    with pytest.raises(IntegrityError):
        keep(shelf, LOG, 30)


def test_a_note_that_the_log_did_not_sign_is_never_kept(shelf: Shelf) -> None:
    with pytest.raises(IntegrityError, match="does not match"):
        shelf.keep(LOG.verifier, LOG.note(5).replace(b"\n5\n", b"\n6\n"), where="", continues=lambda _: True)
    assert shelf.find(LOG.verifier) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[:-20],
        lambda text: text.replace("held/v1", "held/v9"),
        lambda text: json.dumps({"kind": "held/v1"}),
        lambda text: text.replace("\\n20\\n", "\\n10\\n"),
    ],
)
def test_a_file_that_was_changed_is_told_and_not_overwritten(shelf: Shelf, spoil) -> None:
    keep(shelf, LOG, 20)
    path = shelf.path(LOG.verifier)
    path.write_text(spoil(path.read_text()))
    spoilt = path.read_text()
    with pytest.raises((IntegrityError, InvalidInputError), match=str(path)):
        keep(shelf, LOG, 30)
    assert path.read_text() == spoilt


def test_many_at_once_end_with_the_largest(shelf: Shelf) -> None:
    """Two processes keep ever larger checkpoints; a smaller one that comes late is refused, never kept."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        # A child that cannot start is started again and again: without a limit the test would never end.
        refused = pool.starmap_async(_keep_many, [(shelf.folder, start) for start in (1, 2)]).get(timeout=120)
    assert size_of(shelf) == 100
    assert sum(refused) < 100
    assert [path.suffix for path in sorted(shelf.folder.iterdir())] == [".json", ".lock"]


def _keep_many(folder: Path, start: int) -> int:
    refused = 0
    for size in range(start, 101, 2):
        try:
            keep(Shelf(folder), LOG, size)
        except IntegrityError:
            refused += 1
    return refused


def test_a_folder_that_cannot_be_written_is_told_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="PRUNEGUARD_HELD_DIR"):
        keep(Shelf(tmp_path / "file"), LOG, 20)


def test_a_file_of_ones_own_is_read_as_a_note_or_as_a_shelf_wrote_it_and_never_written(
    shelf: Shelf, tmp_path: Path
) -> None:
    keep(shelf, LOG, 20, "a bundle")
    bare = tmp_path / "checkpoint"
    bare.write_bytes(LOG.note(20))
    for path, where in ((bare, str(bare)), (shelf.path(LOG.verifier), "a bundle")):
        before = path.read_bytes()
        seen = Kept(path).find(LOG.verifier)
        assert seen is not None
        assert (seen.note.encode(), seen.where) == (LOG.note(20), where)
        Kept(path).keep(LOG.verifier, LOG.note(30), where="", continues=lambda _: True)
        assert path.read_bytes() == before
    with pytest.raises(InvalidInputError, match="no file"):
        Kept(tmp_path / "none").find(LOG.verifier)


def test_where_things_are_kept() -> None:
    assert default_folder({"PRUNEGUARD_HELD_DIR": "/srv/held", "XDG_STATE_HOME": "/x"}) == Path("/srv/held")
    assert default_folder({"XDG_STATE_HOME": "/x"}) == Path("/x/pruneguard/held")
    assert default_folder({}) == Path("~/.local/state/pruneguard/held").expanduser()


# -- ledgers ------------------------------------------------------------------------------------------------------


def test_a_ledger_that_grows_is_followed(shelf: Shelf) -> None:
    ledger = memory_ledger()
    for _ in range(2):
        shelf.follow(ledger)
    register(ledger)
    shelf.follow(ledger)
    seen = shelf.find(ledger.verifier)
    assert seen is not None
    assert seen.note.encode() == ledger.checkpoint


def test_looking_from_many_sides_while_it_grows_is_no_false_alarm(shelf: Shelf, tmp_path: Path) -> None:
    settings = new_ledger(tmp_path / "home")
    written = Event()

    def look() -> int:
        ledger, looks = home.read_ledger(settings), 0
        while not written.is_set():
            shelf.follow(ledger)
            looks += 1
        ledger.close()
        return looks

    with ThreadPoolExecutor(4) as pool:
        looking = [pool.submit(look) for _ in range(4)]
        writer = home.open_ledger(settings)
        for number in range(40):
            grow(writer, f"eve-{number}")
        written.set()
        assert all(future.result() for future in looking)
    shelf.follow(writer)
    writer.close()


def test_an_old_backup_is_found_before_and_after_it_is_appended_to(shelf: Shelf, tmp_path: Path) -> None:
    settings = new_ledger(tmp_path / "home")
    shutil.copytree(settings.home, tmp_path / "backup")
    with_more = home.open_ledger(settings)
    grow(with_more, "eve")
    shelf.follow(with_more)
    seen_size = with_more.size
    with_more.close()

    restored = home.open_ledger(Settings(home=tmp_path / "backup"))
    with pytest.raises(IntegrityError, match=f"ends at {seen_size - 1} entries, and {seen_size} were seen"):
        shelf.follow(restored)
    for name in ("mallory", "trent"):
        grow(restored, name)
        with pytest.raises(IntegrityError, match=rf"first {seen_size} entries are not those .*{settings.home}"):
            shelf.follow(restored)
    restored.close()


def test_a_ledger_that_was_rewritten_from_the_start_is_found(shelf: Shelf) -> None:
    """Whoever holds the log's key hashes and signs another history: every signature in it holds."""
    true, false = memory_ledger(), memory_ledger()
    register(true)
    shelf.follow(true)
    register(false, time=START + timedelta(minutes=1))  # the same people at another moment: other ids, other bytes
    grow(false, "eve")
    false.verify()
    with pytest.raises(IntegrityError, match="history was rewritten"):
        shelf.follow(false)


def test_every_fork_is_found_whatever_was_seen() -> None:
    for old in range(1, 33):
        for forked_at in range(33):
            fork, newest = TinyLog(33, forked_at=forked_at), TinyLog(33, forked_at=forked_at).checkpoint(33)
            before = TinyLog(33).checkpoint(old)
            reason = held.fork(before, newest, lambda b, fork=fork: fork.root(b.size) == b.root)
            assert bool(reason) == (forked_at < old)
