"""Serving: our gateway with its monitoring against other servers without any, what a change of version costs, memory.

All servers of a network run at once and are loaded in turns, so that a noisy machine is noisy for each of them.
"""

import gc
import json
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.answering.contestants import ENCODINGS, PEERS, Contestant, Encoding, require_right
from benchmarks.answering.load import Answered, Ask, load
from benchmarks.answering.networks import Network, networks
from benchmarks.answering.ours import Running, serving
from benchmarks.answering.remembering import growth
from benchmarks.peers.peer import Unable
from benchmarks.rows import Row
from pruneguard.evaluation.sessions import Session

SEEDS: tuple[int, ...] = (0,)
CONNECTIONS = (1, 8)
OURS, BARE = "PruneGuard", "PruneGuard without monitoring"

Reported = Callable[[str, int], Callable[[int], None]]
Server = tuple[str, Callable[[Encoding], Ask]]


def run(*, quick: bool, progress: Reported) -> Iterator[Row]:
    found = Found()
    for network in networks():
        yield from beside(network, found, quick=quick, progress=progress)
    yield from found.rows()
    network = next(iter(networks()))
    yield from swaps(network, quick=quick, progress=progress)
    yield from rollbacks(network, quick=quick, progress=progress)
    yield from memory(quick=quick, progress=progress)


# -- rates


@dataclass(slots=True)
class Found:
    """Answers by case (network, encoding, connections), then by server, repeat by repeat."""

    cases: dict[str, dict[str, list[Answered]]] = field(default_factory=dict)

    def add(self, case: str, server: str, answered: Answered) -> None:
        self.cases.setdefault(case, {}).setdefault(server, []).append(answered)

    def rows(self) -> Iterator[Row]:
        """The ratios that were asked for, each the worst case, and every case on a line of its own."""
        best = {case: _best_peer(told) for case, told in self.cases.items()}
        how = "all monitoring and a 5 % twin shadow on, against the best of the others, batch 1, in turns"
        over = {case: _ratios(told, OURS, best[case], "rate") for case, told in self.cases.items()}
        yield _worst(over, min, name="rps_over_best_peer", goal=">= 2", how=how)
        slower = {case: _ratios(told, OURS, best[case], "p99") for case, told in self.cases.items()}
        yield _worst(slower, max, name="p99_over_best_peer", goal="<= 1", how=how)
        how = "the same gateway in one process, with an observer that does nothing"
        kept = {case: _ratios(told, OURS, BARE, "rate") for case, told in self.cases.items()}
        yield _worst(kept, min, name="rps_over_unmonitored", goal=">= 0.85", how=how)
        for case, told in self.cases.items():
            for server, answers in told.items():
                how = f"p50 {_median(answers, 'p50'):.2f} ms, p99 {_median(answers, 'p99'):.2f} ms"
                rates = [each.rate for each in answers]
                yield Row.over(rates, name=f"{case}: {server}", unit="/s", goal=">= 0", how=how)


def beside(network: Network, found: Found, *, quick: bool, progress: Reported) -> Iterator[Row]:
    """Load every server of one network in turns; a row for each peer that cannot be had, and our distance from none."""
    seconds, repeats = (1.0, 1) if quick else (5.0, 3)
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="pruneguard-bench-")))
        servers: dict[str, Server] = {}
        for name, monitored in ((OURS, True), (BARE, False)):
            at = running.enter_context(serving(folder / name, network=network.name, monitored=monitored))
            servers[name] = (at.url, lambda encoding: our_ask(network, encoding))
            require_right(at.url, our_ask(network, "json"), lambda said: said["outputs"][0]["data"], network)
        for peer in () if quick else PEERS:
            try:
                servers[peer.name] = _fastest(peer, network, running)
            except Unable as reason:
                yield Row.over(
                    [float("nan")], name=f"{peer.name}, {network.name}", unit="", goal="= 1", how=f"{reason}"
                )
        cases = [(encoding, connections) for encoding in ENCODINGS for connections in CONNECTIONS]
        done = progress(f"{network.name}: {len(servers)} servers in turns", repeats * len(cases))
        for turn in range(repeats * len(cases)):
            encoding, connections = cases[turn % len(cases)]
            for name, (url, ask) in servers.items():
                answered = load(url, ask(encoding), connections=connections, seconds=seconds)
                found.add(f"{network.name}, {encoding}, {connections} connections", name, answered)
            done(turn + 1)
    yield _in_process(network, found)


def our_ask(network: Network, encoding: Encoding) -> Ask:
    """A request of the Open Inference Protocol: numbers in JSON, or both tensors behind it as bytes."""
    tensor: dict[str, Any] = {"name": "input", "datatype": "FP32", "shape": list(network.row.shape)}
    path, headers = "/v2/models/model/infer", {"Content-Type": "application/json"}
    if encoding == "json":
        return Ask(path, headers, json.dumps({"inputs": [tensor | {"data": network.row.ravel().tolist()}]}).encode())
    content = network.row.tobytes()
    tensor |= {"parameters": {"binary_data_size": len(content)}}
    outputs = [{"name": "logits", "parameters": {"binary_data": True}}]
    header = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    told = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(header))}
    return Ask(path, told, header + content)


def _fastest(peer: Contestant, network: Network, running: ExitStack) -> Server:
    """The peer with one worker or two, whichever answers more; raises Unable where neither does."""
    rates: dict[int, float] = {}
    why: Unable | None = None
    for workers in (1, 2):
        try:
            with peer.serving(network, workers=workers) as url:
                tried = [load(url, peer.ask(network.row, each), connections=8, seconds=2) for each in ENCODINGS]
            rates[workers] = sum(each.rate for each in tried)
        except Unable as reason:
            why = reason
    if not rates:
        raise why or Unable("it was not tried")
    best = max(rates, key=rates.__getitem__)
    url = running.enter_context(peer.serving(network, workers=best))
    return url, lambda encoding: peer.ask(network.row, encoding)


def _best_peer(told: Mapping[str, Sequence[Answered]]) -> str:
    """Whoever answers most of those that are not ours; ours where nobody else is there."""
    others = [name for name in told if name not in (OURS, BARE)]
    return max(others, key=lambda name: _median(told[name], "rate"), default=OURS)


def _ratios(told: Mapping[str, Sequence[Answered]], one: str, other: str, what: str) -> list[float]:
    """Repeat by repeat; not a number where there is nobody to compare with."""
    if one == other:
        return [float("nan")]
    return [getattr(a, what) / getattr(b, what) for a, b in zip(told[one], told[other], strict=True)]


def _median(answers: Sequence[Answered], what: str) -> float:
    return float(statistics.median(getattr(each, what) for each in answers))


def _worst(ratios: Mapping[str, list[float]], pick: Callable[..., str], *, name: str, goal: str, how: str) -> Row:
    case = pick(ratios, key=lambda each: statistics.median(ratios[each]))
    return Row.over(ratios[case], name=name, unit="1", goal=goal, how=f"{how}; worst: {case}")


def _in_process(network: Network, found: Found) -> Row:
    """How far the gateway is from nobody in between: one thread, the session alone."""
    session = Session(network.pruned)
    deadline, count = time.perf_counter() + 1.0, 0
    while time.perf_counter() < deadline:
        session.run(network.row)
        count += 1
    ours = found.cases[f"{network.name}, binary, 8 connections"][OURS]
    shares = [each.rate / count for each in ours]
    how = f"the gateway's rate over {count:,} runs a second of onnxruntime alone, one thread"
    return Row.over(shares, name=f"rps_over_in_process, {network.name}", unit="1", goal=">= 0", how=how)


# -- changes of version


def swaps(network: Network, *, quick: bool, progress: Reported) -> Iterator[Row]:
    """New releases under load, one after the other: what fails, and how slow the slowest answers become."""
    count = 10 if quick else 1_000
    with _alone(network) as ours:
        ask = our_ask(network, "json")
        quiet = load(ours.url, ask, connections=4, seconds=2 if quick else 20)
        done = progress("swaps under load", count)
        answers, ended = [], threading.Event()

        def go_on() -> None:
            while not ended.is_set():
                answers.append(load(ours.url, ask, connections=4, seconds=5))

        loading = threading.Thread(target=go_on)
        loading.start()
        for number in range(count):
            ours.ask("swap")
            done(number + 1)
        ended.set()
        loading.join()
    failed = sum(each.failed for each in answers)
    how = f"{count} releases by two steps each, {sum(each.requests for each in answers):,} requests from 4 connections"
    yield Row.over([float(failed)], name="swap_failed", unit="requests", goal="= 0", how=how)
    ratios = [each.p99 / quiet.p99 for each in answers]
    how = f"stretches of 5 s, against {quiet.p99:.1f} ms with nothing else going on"
    yield Row.over(ratios, name="swap_p99_ratio", unit="1", goal="<= 2", how=how)


def rollbacks(network: Network, *, quick: bool, progress: Reported) -> Iterator[Row]:
    """From the rollback in the ledger to the last answer of the version that left, with four clients asking."""
    count = 3 if quick else 30
    done = progress("rollbacks under load", count)
    seconds, failed = [], 0
    with _alone(network) as ours:
        for number in range(count):
            ours.ask("swap")
            late, lost = _rolled_back(ours, our_ask(network, "json"))
            seconds.append(late)
            failed += lost
            done(number + 1)
    how = "event acknowledged to last answer from the old version, 4 clients; the slowest of all is what counts"
    low, high = min(seconds), max(seconds)
    yield Row(name="rollback_s", value=high, low=low, high=high, unit="s", goal="<= 1", how=how)
    yield Row.over([float(failed)], name="rollback_failed", unit="requests", goal="= 0", how=f"in {count} rollbacks")


@contextmanager
def _alone(network: Network) -> Iterator[Running]:
    with (
        tempfile.TemporaryDirectory(prefix="pruneguard-bench-") as name,
        serving(Path(name) / "home", network=network.name, monitored=True) as ours,
    ):
        yield ours


def _rolled_back(ours: Running, ask: Ask) -> tuple[float, int]:
    """How long the old version still answered, and how many requests failed."""
    seen: list[tuple[float, str | None]] = []
    ended = threading.Event()

    def client() -> None:
        with httpx.Client(base_url=ours.url) as connection:
            while not ended.is_set():
                try:
                    said = connection.post(ask.path, headers=dict(ask.headers), content=ask.body)
                    version = said.json()["model_version"] if said.is_success else None
                except httpx.HTTPError:
                    version = None
                seen.append((time.time(), version))

    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    time.sleep(1.0)
    recorded = ours.ask("rollback")
    time.sleep(1.5)
    ended.set()
    for each in clients:
        each.join()
    newest = max(int(version) for at, version in seen if version is not None and at <= recorded)
    late = [at - recorded for at, version in seen if version == str(newest)]
    return max(0.0, *late), sum(version is None for _, version in seen)


# -- memory


def memory(*, quick: bool, progress: Reported) -> Iterator[Row]:
    """The monitor's bookkeeping for many requests, without the network between."""
    requests = 20_000 if quick else 300_000
    done = progress("answers kept account of", requests)
    gc.collect()
    grown = growth(requests, done)
    how = f"the monitor fed {requests:,} answers, after as many to warm up; megabytes a million"
    yield Row.over([grown], name="memory_mb_per_million", unit="MB", goal="<= 1", how=how)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    how = "all of it, with the libraries"
    yield Row.over([float(np.round(peak))], name="memory_peak_mb", unit="MB", goal=">= 0", how=how)
