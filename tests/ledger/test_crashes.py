"""A writer that is killed, at every step and at any moment: no acknowledged event is lost, no size has two roots."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest

from pruneguard import testing
from pruneguard.ledger.ledger import Ledger
from tests.ledger.places import Place

KEY = testing.log_key()

STEPS = 8
"""What one append says to the database: begin, lock, read, insert three times, commit; and one more is after it."""

WRITING = """
import os, signal, sys, threading
import sqlalchemy as sa
from pruneguard import testing
from pruneguard.ledger.ledger import Ledger
from tests.ledger.acts import sealed

url, threads, until = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ledger = Ledger.open(url, key=testing.log_key())
left = until

def step(*_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def write(hold, name):
    number = 0
    while True:
        recorded = hold.record(sealed(number, causation=f"{os.getpid()}/{name}/{number}"))
        os.write(1, b"%d %s\\n" % (recorded.index, recorded.event.id.encode()))
        number += 1

ledger.record(sealed(0))
for name in ("begin", "before_cursor_execute", "commit") if until else ():
    sa.event.listen(sa.Engine, name, step)
for name in range(threads):
    threading.Thread(target=write, args=(ledger.reopen(), name)).start()
"""


def writer(place: Place, *, threads: int = 1, until: int = 0) -> "subprocess.Popen[str]":
    """A process that says what was acknowledged, line by line, until it is killed or kills itself."""
    command = [sys.executable, "-c", WRITING, place.url, str(threads), str(until)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def require_whole(place: Place, acknowledged: dict[int, str]) -> None:
    with closing(Ledger.open(place.url, key=KEY, verify=True)) as ledger:
        for index, event in acknowledged.items():
            assert ledger.entry(index).event.id == event
        assert not ledger.state().violations
        ids = [ledger.entry(index).event.id for index in range(ledger.size)]
        assert len(set(ids)) == len(ids)


def heard(text: str) -> dict[int, str]:
    lines = [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return {int(index): event for index, event in lines}


@pytest.mark.usefixtures("ledger")
def test_a_writer_that_dies_at_any_step_leaves_a_whole_ledger(place: Place) -> None:
    acknowledged: dict[int, str] = {}
    for step in range(1, STEPS + 1):
        with writer(place, until=step) as child:
            said, _ = child.communicate(timeout=60)
        assert child.returncode == -signal.SIGKILL
        acknowledged |= heard(said)
        require_whole(place, acknowledged)
    assert acknowledged, "no step came after an acknowledgement"


@pytest.mark.slow
@pytest.mark.usefixtures("ledger")
def test_writers_that_are_killed_at_any_moment_lose_nothing_they_acknowledged(place: Place) -> None:
    moments = random.Random(7)
    acknowledged: dict[int, str] = {}
    for _ in range(3):
        pair = [writer(place, threads=4) for _ in range(2)]  # two processes at once, four threads in each
        for child in pair:
            assert child.stdout is not None
            acknowledged |= heard(child.stdout.readline())
        time.sleep(moments.uniform(0, 0.3))
        for child in pair:
            os.kill(child.pid, signal.SIGKILL)
        for child in pair:
            with child:
                assert child.stdout is not None
                mine = heard(child.stdout.read())
            assert not acknowledged.keys() & mine.keys(), "two events were acknowledged for one position"
            acknowledged |= mine
        require_whole(place, acknowledged)
    assert len(acknowledged) > 50
