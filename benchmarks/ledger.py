"""The ledger: durable appends, by many clients and in bulk, and what it costs to check and to ask a large one."""

import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.rows import Row
from pruneguard import canonical
from pruneguard.artifacts import Artifacts
from pruneguard.audit.export import Keys, export
from pruneguard.audit.verify import verify
from pruneguard.ledger.events import Event
from pruneguard.ledger.group import Group, Take
from pruneguard.ledger.keys import LogKey
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.rules import MONITOR
from pruneguard.testing import people, story
from tests.ledger import places

SEEDS: tuple[int, ...] = ()  # nothing here is random
CLIENTS = 32
BATCH = 500
KEY = LogKey("pruneguard.example/bench", Ed25519PrivateKey.generate())

Reported = Callable[[str, int], Callable[[int], None]]


def run(*, quick: bool, progress: Reported) -> Iterator[Row]:
    each, repeats, many = (4, 1, 5_000) if quick else (300, 5, 50_000)
    with tempfile.TemporaryDirectory(prefix="pruneguard-bench-") as name:
        folder = Path(name)
        yield from durable(folder, each=each, repeats=repeats, progress=progress)
        yield from bulk(folder, events=many, progress=progress)
        yield from postgresql(folder, each=each, repeats=repeats, events=many, progress=progress)
        events, decisions = (10_000, 200) if quick else (1_000_000, 20_000)
        yield from large(folder, events=events, decisions=decisions, progress=progress)


@contextmanager
def new_ledger(folder: Path, url: str) -> Iterator[Ledger]:
    """A ledger in which a model is live, so that monitors have something to write about."""
    with closing(Ledger.create(url, origin=KEY.name, key=KEY)) as ledger:
        story(ledger, Artifacts(str(folder / "artifacts")))
        yield ledger


def sealed(count: int, *, first: int = 0) -> list[Event]:
    """The event that a busy service writes most."""
    refs = {"model": canonical.digest(b"ONNX of the twin"), "batch": "sha256:" + "0" * 64}
    data = {"model": "digits", "number": 1, "rows": 512, "twin_runs": 51, "flips": 2}
    return [Event("batch.sealed", MONITOR, data, refs, f"bench/{index}") for index in range(first, first + count)]


# -- durable appends by many clients


def durable(folder: Path, *, each: int, repeats: int, progress: Reported) -> Iterator[Row]:
    """One event at a time from many threads; then the same bytes into a bare table, by the same group commit."""
    rates, slowest, ratios = [], [], []
    done = progress(f"{CLIENTS} clients, {each} durable appends each", repeats)
    for repeat in range(repeats):
        events = sealed(CLIENTS * each)
        with new_ledger(folder, f"sqlite:///{folder / f'durable-{repeat}'}.sqlite") as ledger:
            holds = [ledger.reopen() for _ in range(CLIENTS)]
            rate, p99 = shared([hold.record for hold in holds], events)
        with closing(bare_table(folder / f"bare-{repeat}.sqlite")) as table:
            group: Group[bytes, None] = Group(partial(commit_bare, table))
            bare, _ = shared([group.submit] * CLIENTS, [event.encode() for event in events])
        rates.append(rate)
        slowest.append(p99)
        ratios.append(rate / bare)
        done(repeat + 1)
    how = f"{CLIENTS} threads, a hold of the ledger each, an event at a time, SQLite synchronous=FULL"
    yield Row.over(rates, name="durable_appends_per_s_32c", unit="/s", goal=">= 5000", how=how)
    yield Row.over(slowest, name="append_p99_ms_32c", unit="ms", goal="<= 50", how=how)
    how = f"the same {CLIENTS} threads, in turns, put the same bytes into a bare table by the same group commit"
    yield Row.over(ratios, name="ratio_to_bare_insert", unit="1", goal=">= 0.5", how=how)


def shared(acts: Sequence[Callable[[Any], object]], items: Sequence[Any]) -> tuple[float, float]:
    """Each act in a thread of its own, over its share of the items: rate, and 99th percentile in milliseconds."""
    seconds: list[float] = []

    def work(act: Callable[[Any], object], share: Sequence[Any]) -> None:
        for item in share:
            seconds.append(timed(partial(act, item)))

    threads = [threading.Thread(target=work, args=(act, items[at :: len(acts)])) for at, act in enumerate(acts)]
    elapsed = timed(partial(together, threads))
    return len(items) / elapsed, 1000 * sorted(seconds)[int(0.99 * len(seconds))]


def together(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def bare_table(path: Path) -> sqlite3.Connection:
    table = sqlite3.connect(path, check_same_thread=False)
    table.execute("PRAGMA journal_mode=WAL")
    table.execute("PRAGMA synchronous=FULL")
    table.execute("CREATE TABLE entry (idx INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    return table


def commit_bare(table: sqlite3.Connection, take: Take[bytes, None]) -> None:
    insert(table, [(turn.ask,) for turn in take()])


def insert(table: sqlite3.Connection, rows: Sequence[tuple[bytes]]) -> None:
    with table:
        table.executemany("INSERT INTO entry (body) VALUES (?)", rows)


# -- in bulk


def bulk(folder: Path, *, events: int, progress: Reported) -> Iterator[Row]:
    """Many events a transaction, in turns with inserting the same bytes into a bare table with the same durability."""
    url = f"sqlite:///{folder / 'bulk'}.sqlite"
    with new_ledger(folder, url) as ledger, closing(bare_table(folder / "bare.sqlite")) as table:
        ours, bare = [], []
        for batch in batches(events, progress):
            ours.append(BATCH / timed(partial(ledger.record_all, batch)))
            bare.append(BATCH / timed(partial(insert, table, [(event.encode(),) for event in batch])))
    how = f"{BATCH} events a transaction, SQLite synchronous=FULL, one thread"
    yield Row.over(ours, name="bulk_appends_per_s", unit="/s", goal=">= 30000", how=how)
    ratios = [mine / theirs for mine, theirs in zip(ours, bare, strict=True)]
    how += "; the other side is given the bytes and only inserts them, in turns"
    yield Row.over(ratios, name="bulk_ratio_to_bare_insert", unit="1", goal=">= 0.5", how=how)


def batches(events: int, progress: Reported) -> Iterator[list[Event]]:
    done = progress(f"appends, {BATCH} a transaction", events)
    for first in range(0, events, BATCH):
        yield sealed(BATCH, first=first)
        done(first + BATCH)


def postgresql(folder: Path, *, each: int, repeats: int, events: int, progress: Reported) -> Iterator[Row]:
    """The same on a private server with its own settings: fsync and synchronous_commit on."""
    if (programs := places.binaries()) is None:
        progress("no PostgreSQL server here: its rows are left out", 0)
        return
    with places.server(programs) as server:
        rates, slowest, ours = [], [], []
        done = progress(f"PostgreSQL: {CLIENTS} clients, {each} durable appends each", repeats)
        for repeat in range(repeats):
            with new_ledger(folder, places.schema(server, f"durable_{repeat}").url) as ledger:
                rate, p99 = shared([ledger.reopen().record for _ in range(CLIENTS)], sealed(CLIENTS * each))
            rates.append(rate)
            slowest.append(p99)
            done(repeat + 1)
        with new_ledger(folder, places.schema(server, "bulk").url) as ledger:
            for batch in batches(events, progress):
                ours.append(BATCH / timed(partial(ledger.record_all, batch)))
    how = f"{CLIENTS} threads, a hold of the ledger each, an event at a time, PostgreSQL on a local socket"
    yield Row.over(rates, name="postgresql_durable_appends_per_s_32c", unit="/s", goal=">= 5000", how=how)
    yield Row.over(slowest, name="postgresql_append_p99_ms_32c", unit="ms", goal="<= 50", how=how)
    how = f"{BATCH} events a transaction, PostgreSQL on a local socket, one thread"
    yield Row.over(ours, name="postgresql_bulk_appends_per_s", unit="/s", goal=">= 30000", how=how)


# -- a large ledger


def large(folder: Path, *, events: int, decisions: int, progress: Reported) -> Iterator[Row]:
    """Every question about a large ledger is asked in a process of its own."""
    path, artifacts = folder / "large.sqlite", Artifacts(str(folder / "artifacts"))
    with new_ledger(folder, f"sqlite:///{path}") as ledger:
        decide(ledger, decisions, progress)
        for batch in batches(events - ledger.size, progress):
            ledger.record_all(batch)
        size = ledger.size

    asked = progress("integrity, three times", 3)
    spent = [answer("integrity", path, partial(asked, turn)) for turn in (1, 2, 3)]
    how = f"Ledger.open(verify=True) of {size:,} entries, one checkpoint for {BATCH}, three processes, one core each"
    seconds, megabytes = ([pair[index] for pair in spent] for index in (0, 1))
    yield Row.over(seconds, name="verify_1m_integrity_s", unit="s", goal="<= 5", how=how)
    yield Row.over(megabytes, name="verify_1m_rss_mb", unit="MB", goal="<= 300", how=how)

    asked = progress("who was live", 1)
    cold, *warm = answer("standing", path, partial(asked, 1))
    what = f"what answered at a moment, who approved it, on which evidence, and a proof of each, at {size:,} events"
    how = f"{what}: a service that follows the ledger, {len(warm)} times"
    yield Row.over(warm, name="who_was_live_s", unit="s", goal="<= 1", how=how)
    how = f"{what}: a process that starts, and folds the whole log first"
    yield Row.over([cold], name="who_was_live_cold_s", unit="s", goal="<= 1", how=how)

    asked = progress("meaning: export, then verify", 2)
    with closing(Ledger.open(f"sqlite:///{path}")) as ledger:
        keys = Keys(log=KEY, models=ec.generate_private_key(ec.SECP256R1()))
        export(ledger, artifacts, keys=keys, model="digits", out=folder / "bundle.tar")
    asked(1)
    seconds_s, megabytes_mb = answer("meaning", folder / "bundle.tar", partial(asked, 2))
    how = f"pruneguard.audit.verify of a bundle of {size:,} entries, {decisions:,} of them signed decisions, one core"
    yield Row.over([seconds_s], name="verify_1m_semantic_s", unit="s", goal="<= 30", how=how)
    yield Row.over([megabytes_mb], name="verify_1m_semantic_rss_mb", unit="MB", goal="<= 300", how=how)


def decide(ledger: Ledger, decisions: int, progress: Reported) -> None:
    """Signed acts that the rules accept: an admin gives a role for an audit and takes it back."""
    done = progress("signed decisions", decisions)
    for number in range(0, decisions, 2):
        about = {"actor": "otto", "roles": ["auditor"], "reason": f"audit {number // 2}"}
        acts = [Event(type_, "root", about) for type_ in ("role.granted", "role.revoked")]
        ledger.record_all(acts, signer=people()["root"])
        done(number + 2)


def answer(question: str, path: Path, done: Callable[[], None]) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.ledger", question, str(path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    done()
    return [float(word) for word in said.split()]


def integrity(path: Path) -> list[float]:
    seconds = timed(partial(Ledger.open, f"sqlite:///{path}", verify=True))
    return [seconds, rss_mb()]


def meaning(path: Path) -> list[float]:
    start = time.perf_counter()
    report = verify(path)
    if not report.ok:
        raise RuntimeError(f"the bundle is not as it must be: {[check for check in report.checks if not check.ok]}")
    return [time.perf_counter() - start, rss_mb()]


def standing(path: Path) -> list[float]:
    """The first answer of a process, and those of one that has followed the log since."""
    start = time.perf_counter()
    ledger = Ledger.open(f"sqlite:///{path}")
    was_live(ledger)
    cold = time.perf_counter() - start
    return [cold, *(timed(partial(was_live, ledger)) for _ in range(20))]


def was_live(ledger: Ledger) -> list[bytes]:
    model = ledger.state().models["digits"]
    (answering,) = model.standing(model.history[-1].time)
    told = [answering.stretch.index, answering.verdict.index, *(a.index for a in answering.release.approvals)]
    return [ledger.proof(index) for index in told]


def rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":  # the processes that `answer` starts
    print(*{"integrity": integrity, "meaning": meaning, "standing": standing}[sys.argv[1]](Path(sys.argv[2])))
