"""The service whose workers are processes of their own, and the program that replaces itself."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from flows.service import Service
from pruneguard.settings import for_children
from tests.serving.scene import JSON_ROW, mark
from tests.serving.test_workers import Load
from tests.serving.worker_scene import home_of, until

pytestmark = pytest.mark.slow  # each process takes seconds to start


@pytest.fixture
def home(tmp_path):
    settings, scene = home_of(tmp_path)
    yield settings, scene
    scene.ledger.close()


def metric(url, name):
    found = re.search(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", httpx.get(f"{url}/metrics").text, re.MULTILINE)
    return float(found[1]) if found else None


def test_metrics_and_labels_of_every_worker_are_the_one_services(home):
    threads = set(threading.enumerate())
    with Service(home[0], dashboard=False, workers=2) as service:
        assert service.ready()
        answers = [httpx.post(f"{service.url}/v2/models/digits/infer", json=JSON_ROW) for _ in range(10)]
        assert [mark(answer) for answer in answers] == [1] * 10
        until(lambda: metric(service.url, "pruneguard_requests_total") == 10, "all answers in the metrics")
        until(lambda: metric(service.url, "pruneguard_workers") == 2, "both workers in the metrics")
        label = {"labels": [{"id": answers[0].json()["id"], "label": 1}]}
        labelled = httpx.post(f"{service.url}/v2/models/digits/labels", json=label)
        assert labelled.status_code != 404, labelled.text
        pids = service.worker_pids
        assert len(pids) == 2
    assert set(threading.enumerate()) == threads
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_rollback_reaches_every_worker_under_load(home):
    settings, scene = home
    with Service(settings, dashboard=False, workers=2) as service, Load(service.url) as load:
        scene.release()
        until(lambda: set(load.answers[-40:]) == {2}, "the second release on every worker")
        scene.roll_back()
        until(lambda: set(load.answers[-40:]) == {1}, "the first release on every worker")
    assert load.failures == []


def test_a_service_that_becomes_another_program_refuses_and_loses_no_request(home):
    settings, _ = home
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environ = {**for_children(), **settings.environ, "PRUNEGUARD_GATEWAY_PORT": str(port), "PRUNEGUARD_WORKERS": "1"}
    command = [sys.executable, "-m", "pruneguard.cli", "up", "--no-dashboard"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as service:
        try:
            until(lambda: answers(url) or service.poll() is not None, "the service")
            with Load(url, clients=3) as load:
                for number in (signal.SIGHUP, signal.SIGUSR2):
                    load.more()
                    before = children(service.pid)
                    service.send_signal(number)
                    until(lambda before=before: (now := children(service.pid)) and not now & before, "new workers only")
                    load.more()
            assert load.failures == []
            assert service.poll() is None
            until(lambda: metric(url, "pruneguard_requests_total"), "metrics of the new program")
        finally:
            service.terminate()
            said = service.communicate(timeout=60)[0]
    assert service.returncode == 0, said
    assert not answers(url)


def answers(url):
    try:
        return httpx.post(f"{url}/v2/models/digits/infer", json=JSON_ROW).status_code == 200
    except httpx.TransportError:
        return False


def children(pid):
    """The workers of a process that have not ended."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        gone = suppress(FileNotFoundError, ProcessLookupError)  # threads and processes end while they are listed
        named: list[str] = []
        with gone:
            named = (task / "children").read_text().split()
        for child in named:
            with gone:
                if "pruneguard.serving.worker" in Path(f"/proc/{child}/cmdline").read_text():
                    found.add(child)
    return found
