"""The ledger: durable appends, by many clients and in bulk, and what a full verification costs."""

import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.rows import Row
from pruneguard.artifacts import Artifacts
from pruneguard.ledger.events import Event
from pruneguard.ledger.keys import LogKey
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.rules import MONITOR
from pruneguard.testing import story

SEEDS: tuple[int, ...] = ()  # nothing here is random
CLIENTS = 32
BATCH = 500

Reported = Callable[[str, int], Callable[[int], None]]


def run(*, quick: bool, progress: Reported) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="pruneguard-bench-") as folder:
        yield from durable(Path(folder), each=4 if quick else 60, repeats=1 if quick else 3, progress=progress)
        yield from bulk(Path(folder), events=5_000 if quick else 50_000, progress=progress)
        yield from verification(Path(folder), events=10_000 if quick else 1_000_000, progress=progress)


def new_ledger(folder: Path, name: str) -> Ledger:
    """A SQLite ledger in which a model is live, so that monitors have something to write about."""
    key = LogKey("pruneguard.example/bench", Ed25519PrivateKey.generate())
    ledger = Ledger.create(f"sqlite:///{folder / name}.sqlite", origin=key.name, key=key)
    story(ledger, Artifacts(str(folder / "artifacts")))
    return ledger


def sealed(count: int) -> list[Event]:
    """The event that a busy service writes most."""
    refs = {"batch": "sha256:" + "0" * 64}
    data = {"model": "digits", "number": 1, "rows": 512, "twin_runs": 51, "flips": 2}
    return [Event("batch.sealed", MONITOR, data, refs, f"bench/{index}") for index in range(count)]


def durable(folder: Path, *, each: int, repeats: int, progress: Reported) -> Iterator[Row]:
    """One event a transaction, from many threads at once."""
    rates, slowest = [], []
    done = progress(f"{CLIENTS} clients, {each} durable appends each", repeats)
    for repeat in range(repeats):
        with closing(new_ledger(folder, f"durable-{repeat}")) as ledger:
            events = sealed(CLIENTS * each)
            shares = [events[client::CLIENTS] for client in range(CLIENTS)]
            seconds: list[float] = []
            threads = [threading.Thread(target=append_each, args=(ledger.reopen(), share, seconds)) for share in shares]
            elapsed = timed(partial(together, threads))
            rates.append(len(seconds) / elapsed)
            slowest.append(1000 * sorted(seconds)[int(0.99 * len(seconds))])
        done(repeat + 1)
    how = f"{CLIENTS} threads, a hold of the ledger each, one event a transaction, SQLite synchronous=FULL"
    yield Row.over(rates, name="durable_appends_per_s_32c", unit="/s", goal=">= 5000", how=how)
    yield Row.over(slowest, name="append_p99_ms_32c", unit="ms", goal="<= 50", how=how)


def append_each(ledger: Ledger, events: Sequence[Event], seconds: list[float]) -> None:
    for event in events:
        seconds.append(timed(partial(ledger.record, event)))


def together(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def bulk(folder: Path, *, events: int, progress: Reported) -> Iterator[Row]:
    """Many events a transaction, against inserting the same bytes into a bare table with the same durability."""
    ours, bare = [], []
    with closing(new_ledger(folder, "bulk")) as ledger, closing(sqlite3.connect(folder / "bare.sqlite")) as table:
        ledger.state()
        table.execute("PRAGMA journal_mode=WAL")
        table.execute("PRAGMA synchronous=FULL")
        table.execute("CREATE TABLE entry (idx INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        waiting = sealed(events)
        done = progress(f"appends, {BATCH} a transaction", events)
        for start in range(0, events, BATCH):  # in turns, so that a busy machine is busy for both
            batch = waiting[start : start + BATCH]
            ours.append(BATCH / timed(partial(ledger.record_all, batch)))
            rows = [(event.encode(),) for event in batch]
            bare.append(BATCH / timed(partial(insert, table, rows)))
            done(start + BATCH)
    how = f"{BATCH} events a transaction, SQLite synchronous=FULL, one thread"
    yield Row.over(ours, name="bulk_appends_per_s", unit="/s", goal=">= 30000", how=how)
    ratios = [mine / theirs for mine, theirs in zip(ours, bare, strict=True)]
    how += "; the other side inserts the same bytes, in turns"
    yield Row.over(ratios, name="ratio_to_bare_insert", unit="1", goal=">= 0.5", how=how)


def insert(table: sqlite3.Connection, rows: Sequence[tuple[bytes]]) -> None:
    with table:
        table.executemany("INSERT INTO entry (body) VALUES (?)", rows)


def verification(folder: Path, *, events: int, progress: Reported) -> Iterator[Row]:
    """Every byte, node and checkpoint of a large ledger, checked in a process of its own."""
    with closing(new_ledger(folder, "large")) as ledger:
        waiting = sealed(events)
        done = progress("events for the ledger that is verified", events)
        for start in range(0, events, 10_000):
            ledger.record_all(waiting[start : start + 10_000])
            done(start + 10_000)
        url, size = f"sqlite:///{folder / 'large'}.sqlite", ledger.size
    command = [sys.executable, "-m", "benchmarks.ledger", url]
    spent = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() for _ in range(3)]
    how = f"Ledger.open(verify=True) of {size:,} entries, three processes, one core each"
    seconds, megabytes = ([float(pair[index]) for pair in spent] for index in (0, 1))
    yield Row.over(seconds, name="verify_1m_integrity_s", unit="s", goal="<= 5", how=how)
    yield Row.over(megabytes, name="verify_1m_rss_mb", unit="MB", goal="<= 300", how=how)


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":  # the process that `verification` starts
    spent_s = timed(partial(Ledger.open, sys.argv[1], verify=True))
    print(spent_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
