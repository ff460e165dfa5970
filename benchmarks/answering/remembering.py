"""What the monitor keeps in memory for every answer that it was told of: nothing, it says."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pruneguard.serving.observing import Answer
from tests.monitors.service import Service, rows

A_STEP = 1_000


def growth(requests: int, done: Callable[[int], None]) -> float:
    """Resident megabytes that `requests` answers add, scaled to a million, after half as many to warm up."""
    with tempfile.TemporaryDirectory(prefix="pruneguard-bench-") as name:
        service = Service(Path(name))
        service.approve(service.dense)
        release = service.approve(service.pruned)
        service.watch.step()
        before = 0.0
        for sent in range(0, requests + requests // 2, A_STEP):
            if sent >= requests // 2 and not before:
                before = _resident()
            answer = service.answer(release, rows(service.rng, A_STEP))
            for _ in range(A_STEP // 50):
                for at in range(50):
                    service.watch.answered(_one(answer, at))
                service.watch.step()
            done(min(sent, requests))
        return max(0.0, _resident() - before) * 1e6 / requests


def _one(answer: Answer, at: int) -> Answer:
    return replace(answer, inputs=answer.inputs[at : at + 1], logits=answer.logits[at : at + 1])


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
