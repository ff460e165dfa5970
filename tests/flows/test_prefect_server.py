"""A Prefect server that is running already is used, and shows each run with its tasks."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from pruneguard.settings import Settings
from tests.flows.children import SECONDS_MAX, done, wait_for
from tests.flows.conftest import TINY

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=30).is_success
    except httpx.ConnectError:
        return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server's API; `prefect server start` takes no port 0."""
    port = free_port()
    words = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (
        (tmp_path / "server.log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "prefect", *words],
            env=os.environ | {"PREFECT_HOME": str(tmp_path / "prefect")},
            stdout=log,
            stderr=log,
        ) as process,
    ):
        url = f"http://127.0.0.1:{port}/api"
        try:
            wait_for(lambda: answers(url))
            yield url
        finally:
            for one in [*psutil.Process(process.pid).children(recursive=True), process]:
                one.terminate()


def test_a_run_stands_completed_on_the_server_with_its_tasks_named(server: str, ready: Settings) -> None:
    code, output = done("run", str(TINY), settings=ready, PREFECT_API_URL=server)
    assert code == 0, output
    with httpx.Client(base_url=server, timeout=SECONDS_MAX) as client:
        (run,) = client.post("/flow_runs/filter", json={}).json()
        (flow,) = client.post("/flows/filter", json={}).json()
        tasks = client.post("/task_runs/filter", json={"flow_runs": {"id": {"any_": [run["id"]]}}}).json()
    assert flow["name"] == "retrain-and-prune"
    assert run["state_type"] == "COMPLETED"
    named = {task["name"].rpartition("-")[0] or task["name"] for task in tasks}
    assert {"begin", "admit", "train", "attempt-channels", "propose_twin", "judge", "propose"} <= named
    assert "attempt-channels-0.5" in {task["name"] for task in tasks}
    assert {task["state_type"] for task in tasks} == {"COMPLETED"}
