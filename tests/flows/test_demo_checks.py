"""The demo says "ok" only of what happened: a table line must not be bought by the wrong status."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from flows import demo
from flows.service import Service
from flows.traffic import Traffic
from pruneguard import releases, testing
from pruneguard.artifacts import Artifacts
from pruneguard.ledger.ledger import Ledger
from pruneguard.lifecycle import Job
from pruneguard.manifest import load_manifest
from pruneguard.workload import Split


class Listening:
    """A service that answers and is sent nothing: no request is due in these cases."""

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        Service.wait_for(condition, what)

    def ready(self) -> bool:
        return True


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = testing.memory_ledger()
    testing.story(ledger, Artifacts(str(tmp_path)))
    return ledger


@pytest.fixture
def job(ledger: Ledger, tmp_path: Path) -> Job:
    nothing = cast("Any", None)
    manifest = load_manifest(demo.MANIFEST)
    return Job(
        "digits-1", manifest, nothing, nothing, nothing, ledger, Artifacts(str(tmp_path)), testing.people()["ada"]
    )


def idle() -> Traffic:
    return Traffic("http://127.0.0.1:9", "digits", Split(np.zeros((1, 2), np.float32), np.zeros(1, np.int64)), seed=1)


def abandoned_canary(ledger: Ledger) -> int:
    """Release 3, taken out of traffic while it was in canary."""
    given = next(v for v in reversed(ledger.state().models["digits"].verdicts) if v.passed)
    people = testing.people()
    ada, grace, otto = people["ada"], people["grace"], people["otto"]
    releases.propose(
        ledger, model="digits", candidate=given.candidate, verdict=given.digest, causation="again", signer=ada
    )
    releases.approve(ledger, model="digits", number=3, reason="again", signer=grace)
    releases.shift(ledger, model="digits", number=3, share=0.1)
    releases.roll_back(ledger, model="digits", reason="a test", actor="otto", signer=otto)
    return 3


def test_a_canary_that_was_rolled_back_is_neither_live_nor_drilled(job: Job, ledger: Ledger) -> None:
    number = abandoned_canary(ledger)
    service = cast("Service", Listening())
    released = demo.go_live.fn(job, number, idle(), service)
    assert not released.ok
    assert "rolled back" in released.result
    assert not demo.decay.fn(job, number, idle(), service).ok


def test_a_drill_that_an_interrupted_demo_had_finished_stands(job: Job) -> None:
    service = cast("Service", Listening())
    assert demo.go_live.fn(job, 2, idle(), service).ok
    assert demo.decay.fn(job, 2, idle(), service).ok
