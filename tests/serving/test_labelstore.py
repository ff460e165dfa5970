"""Labels on disk: none that was acknowledged is lost, none counts twice, and the latest holds."""

import os
import random
import resource
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruneguard.errors import IntegrityError, UnavailableError
from pruneguard.serving.labelstore import DAYS_KEPT, UNKNOWN_AFTER_S, Answered, Label, Labels, Receipt

DAY = 86_400.0
NOW = 1_763_700_000.0


@pytest.fixture
def labels(tmp_path):
    labels = Labels(tmp_path / "labels.sqlite")
    yield labels
    labels.close()


def enter(labels, *ids, model="tiny", number=1, batch=0, predicted=2, time=NOW):
    labels.enter(model, number, batch, [Answered(one, 0, predicted, time) for one in ids])


def values(labels, model="tiny"):
    """Values of the labels that can be joined, in the order they came."""
    return [one.value for found in labels.joinable(model, most=100).values() for one in found]


def test_a_label_is_taken_once_however_often_it_is_given(labels):
    given = [Label("a", 1), Label("b", 2, time=NOW - 5)]
    assert labels.add("tiny", given, now=NOW) == Receipt(2, 0, 0)
    assert labels.add("tiny", given, now=NOW + 1) == Receipt(0, 0, 2)
    assert labels.counts("tiny") == {"accepted": 2, "corrected": 0, "duplicates": 2, "unknown": 0, "waiting": 2}


def test_a_label_twice_in_one_request_is_one(labels):
    assert labels.add("tiny", [Label("a", 1), Label("a", 1)], now=NOW) == Receipt(1, 0, 1)


def test_rows_of_one_request_have_labels_of_their_own_and_so_have_models(labels):
    assert labels.add("tiny", [Label("a", 1, row=0), Label("a", 1, row=1)], now=NOW).accepted == 2
    assert labels.add("other", [Label("a", 1)], now=NOW).accepted == 1


def test_the_later_of_two_stated_times_holds_in_whichever_order_they_come(labels):
    enter(labels, "a")
    labels.add("tiny", [Label("a", 1, time=NOW)], now=NOW)
    labels.add("tiny", [Label("a", 2, time=NOW + 9)], now=NOW + 10)
    assert labels.add("tiny", [Label("a", 3, time=NOW - 9)], now=NOW + 11) == Receipt(1, 1, 0)
    first, correction, stale = labels.joinable("tiny", most=9)[1]
    assert (first.value, first.before, first.holds) == (1, None, True)
    assert (correction.value, correction.before, correction.holds) == (2, 1, True)
    assert (stale.value, stale.before, stale.holds) == (3, 2, False)


def test_of_equal_times_the_one_that_came_last_holds(labels):
    enter(labels, "a")
    labels.add("tiny", [Label("a", 1, time=NOW)], now=NOW)
    labels.add("tiny", [Label("a", 2, time=NOW)], now=NOW)
    assert [one.holds for one in labels.joinable("tiny", most=9)[1]] == [True, True]
    assert labels.joinable("tiny", most=9)[1][1].before == 1


def test_labels_are_joined_whether_they_come_before_or_after_their_answer_is_sealed(labels):
    labels.add("tiny", [Label("early", 1)], now=NOW)
    assert values(labels) == []
    enter(labels, "early", "late", number=3, batch=7, predicted=2)
    labels.add("tiny", [Label("late", 2)], now=NOW)
    early, late = labels.joinable("tiny", most=9)[3]
    assert (early.request_id, early.batch, early.predicted, late.request_id) == ("early", 7, 2, "late")


def test_what_was_sealed_is_not_joined_again(labels):
    enter(labels, "a", "b")
    labels.add("tiny", [Label("a", 1), Label("b", 1)], now=NOW)
    first, _ = labels.joinable("tiny", most=9)[1]
    labels.sealed([first.sequence])
    labels.sealed([first.sequence])
    assert [one.request_id for one in labels.joinable("tiny", most=9)[1]] == ["b"]


def test_an_id_that_was_answered_twice_is_about_the_newer_answer(labels):
    enter(labels, "a", number=2, time=NOW)
    enter(labels, "a", number=1, time=NOW - 60)
    labels.add("tiny", [Label("a", 1)], now=NOW)
    assert list(labels.joinable("tiny", most=9)) == [2]


def test_a_label_that_waited_in_vain_is_unknown_and_still_joined_should_its_answer_come_up(labels):
    labels.add("tiny", [Label("a", 1)], now=NOW)
    assert labels.expire(now=NOW + UNKNOWN_AFTER_S) == 0
    assert labels.expire(now=NOW + UNKNOWN_AFTER_S + 1) == 1
    assert labels.expire(now=NOW + UNKNOWN_AFTER_S + 2) == 0
    assert (labels.counts("tiny")["unknown"], labels.counts("tiny")["waiting"]) == (1, 0)
    enter(labels, "a")
    assert values(labels) == [1]


def test_what_was_sealed_is_removed_after_its_days_and_what_could_still_be_joined_is_not(labels):
    enter(labels, "sealed", "known")
    labels.add("tiny", [Label("sealed", 1), Label("known", 2)], now=NOW)
    labels.sealed([labels.joinable("tiny", most=1)[1][0].sequence])
    labels.expire(now=NOW + (DAYS_KEPT - 1) * DAY)
    assert labels.add("tiny", [Label("sealed", 1)], now=NOW) == Receipt(0, 0, 1)
    labels.expire(now=NOW + (DAYS_KEPT + 1) * DAY)
    assert labels.add("tiny", [Label("sealed", 1), Label("known", 2)], now=NOW) == Receipt(1, 0, 1)


@settings(deadline=None, max_examples=20)  # each one writes files
@given(st.permutations([(1, NOW), (2, NOW + 1), (3, NOW + 2), (3, NOW + 2)]))
def test_whatever_the_order_the_same_label_holds_in_the_end(tmp_path_factory, order):
    labels = Labels(tmp_path_factory.mktemp("labels") / "labels.sqlite")
    enter(labels, "a")
    held = None
    for value, time in order:
        labels.add("tiny", [Label("a", value, time=time)], now=NOW)
    for one in labels.joinable("tiny", most=9)[1]:
        held = one.value if one.holds else held
    labels.close()
    assert held == 3


ADDING = """
import sys, time
from pathlib import Path
from pruneguard.errors import UnavailableError
from pruneguard.serving.labelstore import Label, Labels
labels, name = Labels(Path(sys.argv[1])), sys.argv[2]
for number in range(100_000):
    try:
        labels.add("tiny", [Label(f"{name}-{number}", number % 10)])
    except UnavailableError:  # the others were faster for ten seconds: not acknowledged, not counted
        continue
    print(number, flush=True)
"""


def adding(path, name):
    return subprocess.Popen([sys.executable, "-c", ADDING, str(path), name], stdout=subprocess.PIPE, text=True)


def test_nothing_acknowledged_is_lost_when_writers_are_killed_in_the_middle(tmp_path):
    """Three processes write at once; each is killed as it stands, at a moment of its own."""
    path = tmp_path / "labels.sqlite"
    writers = {name: adding(path, name) for name in ("a", "b", "c")}
    acknowledged = set()
    for name, writer in writers.items():
        for _ in range(random.Random(name).randint(5, 25)):
            acknowledged.add(f"{name}-{int(writer.stdout.readline())}")  # no number: the writer failed, and said why
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged |= {f"{name}-{int(line)}" for line in writer.stdout if line.endswith("\n")}
        writer.wait()
        writer.stdout.close()
    labels = Labels(path)
    enter(labels, *acknowledged)
    kept = {one.request_id for one in labels.joinable("tiny", most=10_000)[1]}
    labels.close()
    assert kept == acknowledged


def test_a_full_disk_refuses_a_label_and_keeps_those_before(tmp_path):
    """The process may not write files beyond a size, which is how a full disk looks to SQLite."""
    path = tmp_path / "labels.sqlite"
    with Labels(path)._writing():
        pass
    given = f"""
import resource, signal
from pathlib import Path
from pruneguard.errors import UnavailableError
from pruneguard.serving.labelstore import Label, Labels
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, {resource.RLIM_INFINITY}))
labels = Labels(Path({str(path)!r}))
for number in range(10_000):
    try:
        labels.add("tiny", [Label(f"{{number}}", 1)] * 1)
    except UnavailableError as error:
        print(number)
        break
"""
    done = subprocess.run([sys.executable, "-c", given], capture_output=True, text=True, check=True, timeout=100)
    refused = int(done.stdout)
    labels = Labels(path)
    assert labels.counts("tiny")["accepted"] == refused
    assert labels.add("tiny", [Label(f"{refused}", 1)]).accepted == 1
    labels.close()


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path):
    with pytest.raises(UnavailableError, match="check the disk"):
        Labels(tmp_path / "absent" / "labels.sqlite").add("tiny", [Label("a", 1)])


def test_a_file_that_is_no_store_is_told_and_not_overwritten(tmp_path):
    path = tmp_path / "labels.sqlite"
    path.write_bytes(b"something else " * 100)
    with pytest.raises(IntegrityError, match="move the file away"):
        Labels(path).add("tiny", [Label("a", 1)])
    assert path.read_bytes() == b"something else " * 100
