"""What a killed monitor still knows."""

import os
import signal
import subprocess
import sys
import threading

from monitors.tally import Tally

KEY = ("tiny", 2)


def test_what_came_and_is_neither_sealed_nor_dropped_was_lost_with_the_process(tmp_path):
    first = Tally(tmp_path)
    first.came(KEY, 100)
    first.came(KEY, 30)
    second = Tally(tmp_path)
    assert second.lost(KEY, accounted=100) == 30
    assert second.lost(KEY, accounted=100) == 0  # told once


def test_what_comes_after_the_start_is_not_lost(tmp_path):
    Tally(tmp_path).came(KEY, 10)
    second = Tally(tmp_path)
    second.came(KEY, 5)
    assert second.lost(KEY, accounted=8) == 2
    assert Tally(tmp_path).lost(KEY, accounted=10) == 5


def test_a_release_that_is_new_has_lost_nothing(tmp_path):
    tally = Tally(tmp_path)
    tally.came(KEY, 5)
    assert tally.lost(KEY, accounted=0) == 0
    assert tally.lost(("other", 1), accounted=0) == 0


def test_a_tally_older_than_the_ledger_loses_nothing_and_goes_on_from_there(tmp_path):
    Tally(tmp_path).came(KEY, 10)
    second = Tally(tmp_path)
    second.came(KEY, 1)
    assert second.lost(KEY, accounted=50) == 0
    assert Tally(tmp_path).lost(KEY, accounted=50) == 1


def test_a_tally_that_was_lost_goes_on_from_what_the_ledger_knows(tmp_path):
    tally = Tally(tmp_path)
    tally.came(KEY, 3)
    assert tally.lost(KEY, accounted=50) == 0
    assert Tally(tmp_path).lost(KEY, accounted=51) == 2


def test_rows_from_several_threads_are_all_counted(tmp_path):
    tally = Tally(tmp_path)
    threads = [threading.Thread(target=lambda: [tally.came(KEY, 1) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Tally(tmp_path).lost(KEY, accounted=0) == 2_000


def test_what_a_process_counted_that_ended_just_now_is_read(tmp_path):
    """One process hands over to the next, which is there already."""
    first, second = Tally(tmp_path), Tally(tmp_path)
    first.came(KEY, 10)
    assert second.lost(KEY, accounted=4) == 6


def test_releases_of_models_with_dots_in_their_names_are_told_apart(tmp_path):
    tally = Tally(tmp_path)
    tally.came(("a.1", 2), 3)
    tally.came(("a", 12), 4)
    again = Tally(tmp_path)
    assert (again.lost(("a.1", 2), accounted=0), again.lost(("a", 12), accounted=0)) == (3, 4)


def test_a_file_that_was_cut_off_counts_as_nothing(tmp_path):
    Tally(tmp_path).came(KEY, 5)
    (path,) = tmp_path.glob("*.tally")
    path.write_bytes(b"\x01")
    assert Tally(tmp_path).lost(KEY, accounted=0) == 0


def test_a_folder_that_cannot_be_written_is_counted_and_holds_nothing_up(tmp_path):
    (tmp_path / "file").write_text("in the way")
    tally = Tally(tmp_path / "file" / "folder")
    tally.came(KEY, 5)
    tally.came(KEY, 5)
    assert tally.failures == 2


def test_segments_on_their_way_are_known_to_the_next_process(tmp_path):
    Tally(tmp_path).pending(KEY, {"sha256:b", "sha256:a"})
    assert Tally(tmp_path).left(KEY) == ["sha256:a", "sha256:b"]
    assert Tally(None).left(KEY) == []


def test_a_process_that_is_killed_has_counted_everything(tmp_path):
    counting = (
        "import sys; from pathlib import Path; from monitors.tally import Tally\n"
        "tally = Tally(Path(sys.argv[1]))\n"
        "for number in range(10**9):\n    tally.came(('tiny', 2), 1); print(number + 1, flush=True)"
    )
    child = subprocess.Popen([sys.executable, "-c", counting, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    seen = max(int(child.stdout.readline()) for _ in range(50))
    os.kill(child.pid, signal.SIGKILL)
    rest = [int(line) for line in child.stdout if line.endswith("\n")]
    child.wait()
    child.stdout.close()
    assert Tally(tmp_path).lost(("tiny", 2), accounted=0) >= max([seen, *rest])
