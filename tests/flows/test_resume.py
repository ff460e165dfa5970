"""The real commands, killed for real."""

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from flows.traffic import Traffic
from pruneguard import home
from pruneguard.ledger.events import Entry, Event
from pruneguard.ledger.state import Status
from pruneguard.settings import Settings
from tests.flows.children import command, descendants, done, said, wait_for
from tests.flows.conftest import TINY, Approved

pytestmark = pytest.mark.slow


def events(settings: Settings) -> list[Event]:
    ledger = home.read_ledger(settings, verify=True)
    found = [Entry.decode(raw).event for raw in ledger.raw(0, ledger.size)]
    assert ledger.state().violations == []
    ledger.close()
    return found


def counted(settings: Settings) -> Counter[str]:
    return Counter(event.type for event in events(settings))


def test_a_run_killed_after_each_step_ends_as_if_nothing_had_happened(ready: Settings) -> None:
    for after in ("run.started", "model.trained", "verdict.given"):
        with command("run", str(TINY), settings=ready) as process:
            wait_for(lambda after=after, process=process: process.poll() is not None or counted(ready)[after] > 0)
            helpers = descendants(process)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            _, alive = psutil.wait_procs(helpers, timeout=30)
            assert not alive

    code, output = done("run", str(TINY), settings=ready)

    assert code == 0, output
    assert "goes on where it stopped" in output
    expected = dict.fromkeys(("run.started", "data.admitted", "model.trained", "run.finished"), 1)
    # One candidate, as the bolder ratio passes at once; the twin is judged and proposed too.
    expected |= {"model.pruned": 1, "verdict.given": 3, "release.proposed": 2}
    found = counted(ready)
    assert {name: found[name] for name in expected} == expected


def test_a_service_killed_while_a_canary_runs_takes_it_live_the_next_time(approved: Approved) -> None:
    settings = approved.settings
    ledger = home.read_ledger(settings)

    def status(number: int) -> Status:
        return ledger.state().models["tiny"].releases[number].status

    def send(url: str, until: Callable[[], bool], *, requests_max: int) -> Traffic:
        traffic = Traffic(url, "tiny", approved.rows, seed=1)
        traffic.until(until, requests_max=requests_max, progress=lambda done, total: None)
        return traffic

    with command("up", "--no-dashboard", settings=settings) as process:
        url = gateway(said(process, "gateway"))
        wait_for(lambda: status(2) is Status.CANARY)
        wait_for(
            lambda: httpx.get(f"{url}/v2/health/ready").is_success
        )  # the gateway follows the ledger a moment later
        assert send(url, lambda: False, requests_max=20).failed == 0
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (status(1), status(2)) == (Status.LIVE, Status.CANARY)

    with command("up", "--no-dashboard", settings=settings) as process:
        url = gateway(said(process, "gateway"))
        traffic = send(url, lambda: status(2) is Status.LIVE, requests_max=6_000)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        assert "Traceback" not in output
    assert traffic.failed == 0
    assert traffic.versions()[1] > traffic.versions()[2] >= 20
    assert (status(1), status(2)) == (Status.RETIRED, Status.LIVE)
    ledger.close()
    shifts = [(e.data["number"], e.data["share"]) for e in events(settings) if e.type == "traffic.shifted"]
    assert shifts == [(1, "1"), (2, "0.2"), (2, "1")]


def gateway(lines: list[str]) -> str:
    return lines[-1].split()[-1].removesuffix("/v2")


def test_ctrl_c_ends_with_130_and_no_traceback(ready: Settings) -> None:
    with command("run", str(TINY), settings=ready) as process:
        wait_for(lambda: process.poll() is not None or counted(ready)["run.started"] > 0)
        helpers = descendants(process)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "interrupted" in output
    assert "Traceback" not in output
    assert not psutil.wait_procs(helpers, timeout=30)[1]


def test_a_manifest_that_names_a_missing_class_leaves_the_ledger_as_it_was(ready: Settings, tmp_path: Path) -> None:
    for name in ("workload.py", "policy.yaml"):
        (tmp_path / name).write_bytes((TINY.parent / name).read_bytes())
    bad = tmp_path / "manifest.yaml"
    bad.write_text(TINY.read_text().replace("workload.py:Tiny", "workload.py:Tidy"))
    before = events(ready)
    code, output = done("run", str(bad), settings=ready)
    assert code == 2
    assert "Tidy" in output
    assert "Traceback" not in output
    assert events(ready) == before
