"""The service over a ledger with two tiny releases: real gateway, real monitor, real requests over HTTP."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from flows.drill import damage_in_memory
from flows.service import Service
from flows.traffic import Reply, Traffic
from pruneguard import cli, home
from pruneguard.errors import UnavailableError
from pruneguard.ledger.state import Model, Status
from pruneguard.settings import PREFIX, Settings
from pruneguard.workload import Split
from tests.flows.conftest import Approved

pytestmark = pytest.mark.slow  # for what they share: a walk through the tiny lifecycle

REQUESTS_MAX = 6_000


class Running:
    """A service, what its ledger says, and clients."""

    def __init__(self, service: Service, settings: Settings, rows: Split) -> None:
        self.service = service
        self.traffic = Traffic(service.url, "tiny", rows, seed=1)
        self._ledger = home.read_ledger(settings)

    @property
    def model(self) -> Model:
        return self._ledger.state().models["tiny"]

    def status(self, number: int) -> Status:
        return self.model.releases[number].status

    def send(self, done: Callable[[], bool], *, requests_max: int = REQUESTS_MAX) -> bool:
        return self.traffic.until(done, requests_max=requests_max, progress=lambda done, total: None)

    def go_live(self) -> None:
        self.service.wait_for(self.service.ready, "the gateway")
        assert self.send(lambda: self.status(2) is Status.LIVE)

    def newest(self) -> set[int | None]:
        """Which versions gave the last twenty answers."""
        return {reply.version for reply in self.traffic.replies[-20:]}

    def metric(self, name: str, **labels: str) -> float:
        """The value of a sample in the exposition that carries these labels."""
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        for line in httpx.get(f"{self.service.url}/metrics").text.splitlines():
            sample = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if sample and wanted <= set((sample[1] or "").split(",")):
                return float(sample[2])
        raise AssertionError(f"/metrics has no {name} with {labels}")

    def close(self) -> None:
        self._ledger.close()


@pytest.fixture
def settings(approved: Approved) -> Settings:
    return approved.settings


@pytest.fixture
def running(approved: Approved) -> Iterator[Running]:
    with Service(approved.settings, dashboard=False) as service:
        running = Running(service, approved.settings, approved.rows)
        yield running
        running.close()


def test_the_first_release_goes_straight_live_and_the_second_through_a_canary(running: Running) -> None:
    running.go_live()
    assert running.status(1) is Status.RETIRED
    answered = running.traffic.versions()
    assert running.traffic.failed == 0
    assert answered[1] > answered[2] >= 20  # the canary's share is a fifth, until it has answered 20
    assert running.send(lambda: running.newest() == {2})


def test_metrics_tell_traffic_versions_findings_and_decay(running: Running) -> None:
    running.go_live()
    replies = running.traffic.versions()
    running.service.wait_for(lambda: running.metric("pruneguard_live_version", model="tiny") == 2, "metrics to follow")
    assert running.metric("pruneguard_canary_share", model="tiny") == 0
    for version in (1, 2):
        counted = running.metric("pruneguard_requests_total", model="tiny", version=str(version), outcome="answered")
        assert counted == replies[version]
    assert running.metric("pruneguard_gate_findings", model="tiny", version="2", outcome="passed") == 2
    assert running.metric("pruneguard_twin_runs_total", model="tiny", version="2") > 0
    assert running.metric("pruneguard_decay_alarm", model="tiny", version="2") == 0
    assert running.metric("pruneguard_decay_evalue_log10", model="tiny", version="2") < 2
    assert running.metric("pruneguard_monitor_errors_total") == 0


def test_a_rollback_takes_effect_within_a_second_and_fails_no_request(
    running: Running, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.go_live()
    for name, value in settings.environ.items():
        monkeypatch.setenv(name, value)
    enough, before = threading.Event(), len(running.traffic.replies)
    clients = threading.Thread(target=running.send, args=(enough.is_set,))
    clients.start()
    Service.wait_for(lambda: len(running.traffic.replies) > before, "the first answers")

    assert cli.main(["rollback", "tiny", "--reason", "a complaint"]) == 0

    done = time.time()
    Service.wait_for(lambda: len(after(running, done + 1)) >= 20, "answers of the second after")
    enough.set()
    clients.join()
    assert running.status(2) is Status.ROLLED_BACK
    assert {reply.version for reply in running.traffic.replies[before:]} == {1, 2}
    assert {reply.version for reply in after(running, done + 1)} == {1}
    assert running.traffic.failed == 0


def after(running: Running, moment: float) -> list[Reply]:
    return [reply for reply in list(running.traffic.replies) if reply.time > moment]


def test_a_copy_that_goes_bad_in_memory_raises_the_alarm_and_is_rolled_back(
    running: Running, settings: Settings
) -> None:
    running.go_live()
    artifact = home.artifacts(settings).get(running.model.releases[2].digest)
    since = len(running.traffic.replies)
    damage_in_memory(running.service.gateway, artifact, model="tiny", number=2, share=0.5, seed=0)
    assert running.send(lambda: running.status(2) is Status.ROLLED_BACK)
    alarm = running.model.alarms[-1]
    assert (alarm.number, alarm.cause) == (2, "artefact")
    assert running.status(1) is Status.LIVE
    assert running.send(lambda: running.newest() == {1})
    running.service.wait_for(lambda: running.metric("pruneguard_live_version", model="tiny") == 1, "metrics to follow")
    assert running.traffic.accuracy(2, until=since) > running.traffic.accuracy(2, since=since)
    assert running.traffic.failed == 0


def test_an_occupied_port_names_the_port_and_its_setting_and_leaves_nothing_running(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        threads = set(threading.enumerate())
        crowded = settings.model_copy(update={"gateway_port": port})
        with pytest.raises(UnavailableError, match=rf"port {port} .*{PREFIX}GATEWAY_PORT"), Service(crowded):
            pytest.fail("it started")
        assert set(threading.enumerate()) == threads


def test_a_taken_port_of_the_dashboard_stops_what_had_started(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        threads = set(threading.enumerate())
        crowded = settings.model_copy(update={"dashboard_port": port})
        with pytest.raises(UnavailableError, match=r"dashboards\.server"), Service(crowded):
            pytest.fail("it started")
        assert set(threading.enumerate()) == threads
    said = capfd.readouterr().err
    assert f"port {port} " in said
    assert f"{PREFIX}DASHBOARD_PORT" in said


def test_stopping_frees_the_port_and_ends_every_thread(settings: Settings) -> None:
    threads = set(threading.enumerate())
    with Service(settings, dashboard=False) as service:
        port = int(service.url.rpartition(":")[2])
        service.wait_for(service.ready, "the gateway")
    assert set(threading.enumerate()) == threads
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass
