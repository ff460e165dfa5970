"""An account of denied calls: each in a bounded file, all of them counted in the ledger, seldom."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pruneguard import canonical
from pruneguard.errors import UnavailableError
from pruneguard.ledger.ledger import Ledger
from pruneguard.serving import denials as module
from pruneguard.serving.denials import Denials
from pruneguard.testing import memory_ledger, register


@pytest.fixture
def ledger() -> Ledger:
    made = memory_ledger()
    register(made)
    return made


def told(folder: Path, ledger: Ledger | Callable[[], Ledger]) -> Denials:
    return Denials(folder, ledger if callable(ledger) else lambda: ledger)


def deny(denials: Denials, times: int, reason: str = "no token") -> None:
    for _ in range(times):
        denials.add(reason, act="infer", model="digits", token="")


def test_a_window_is_a_file_and_one_entry_that_names_its_digest(tmp_path: Path, ledger: Ledger) -> None:
    denials = told(tmp_path, ledger)
    deny(denials, 3)
    deny(denials, 2, "expired token")
    denials.tell()
    (account,) = ledger.state().denials
    assert account["reasons"] == {"no token": 3, "expired token": 2}
    assert account["since"] <= account["until"]
    (file,) = tmp_path.glob("*.jsonl")
    assert canonical.digest(file.read_bytes()) == account["refs"]["calls"] == f"sha256:{file.stem}"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["reason"] for line in lines] == ["no token"] * 3 + ["expired token"] * 2
    assert lines[0].keys() == {"time", "reason", "act", "model", "token"}


def test_where_nothing_was_denied_nothing_is_told(tmp_path: Path, ledger: Ledger) -> None:
    size = ledger.size
    told(tmp_path / "access", ledger).tell()
    assert ledger.size == size
    assert not (tmp_path / "access").exists()


def test_a_flood_is_counted_whole_and_its_lines_are_bounded(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW_BYTES_MAX", 1_000)
    denials, size = told(tmp_path, ledger), ledger.size
    deny(denials, 5_000)
    denials.tell()
    assert ledger.size == size + 1
    assert ledger.state().denials[0]["reasons"] == {"no token": 5_000}
    (file,) = tmp_path.glob("*.jsonl")
    assert 0 < file.stat().st_size <= 1_000
    deny(denials, 1)
    denials.tell()
    assert len(list(tmp_path.glob("*.jsonl"))) == 2, "the next window has room again"


def test_the_oldest_files_make_room(tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILES_MAX", 3)
    denials = told(tmp_path, ledger)
    for _ in range(5):
        deny(denials, 1)
        denials.tell()
    assert len(list(tmp_path.iterdir())) == 3
    assert len(ledger.state().denials) == 5


def test_a_ledger_that_is_away_is_told_later_and_of_everything_once(tmp_path: Path, ledger: Ledger) -> None:
    away = True

    def open_ledger() -> Ledger:
        if away:
            raise UnavailableError("the database is away")
        return ledger

    denials = told(tmp_path, open_ledger)
    deny(denials, 2)
    for _ in range(3):
        with pytest.raises(UnavailableError):
            denials.tell()
    deny(denials, 1, "expired token")
    away = False
    denials.tell()
    denials.tell()
    denials.tell()
    assert [dict(account["reasons"]) for account in ledger.state().denials] == [{"no token": 2}, {"expired token": 1}]


def test_what_is_there_when_it_stops_is_told(tmp_path: Path, ledger: Ledger) -> None:
    denials = told(tmp_path, ledger)
    denials.start()
    deny(denials, 4)
    denials.stop()
    assert ledger.state().denials[0]["reasons"] == {"no token": 4}


def test_a_disk_that_takes_nothing_stops_no_caller(tmp_path: Path, ledger: Ledger) -> None:
    (tmp_path / "access").write_text("a file where the folder should be")
    denials = told(tmp_path / "access", ledger)
    denials.start()
    deny(denials, 4)
    denials.stop()
    assert ledger.state().denials == type(ledger.state().denials)()
