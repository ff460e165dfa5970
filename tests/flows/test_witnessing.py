"""The running service shows its ledger to a witness that others run, and says so when it does not answer."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from flows.service import Service
from pruneguard import home
from pruneguard.errors import InvalidInputError
from pruneguard.ledger import notes
from pruneguard.ledger.events import Event
from pruneguard.settings import Settings
from pruneguard.testing import people
from pruneguard.witness import keys
from pruneguard.witness.cosigned import Cosigned
from pruneguard.witness.server import Witness, WitnessServer
from pruneguard.witness.state import State
from tests.ledgers import new_ledger


class City:
    """A witness that can be started again where it was."""

    def __init__(self, folder: Path, log: notes.Verifier) -> None:
        self.key, self._folder, self._log = keys.new(folder / "w.key", "city.example/w"), folder, log

    def serve(self, port: int = 0) -> WitnessServer:
        return WitnessServer(Witness(State(self._folder / "w.sqlite"), [self.key], [self._log]), port=port)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    new_ledger(tmp_path / "var")
    return Settings(home=tmp_path / "var", gateway_port=0, witness_interval_s=0.05)


@pytest.fixture
def city(tmp_path: Path, settings: Settings) -> Iterator[City]:
    with closing(home.read_ledger(settings)) as ledger:
        yield City(tmp_path, ledger.verifier)


def name(city: City, server: WitnessServer, settings: Settings) -> None:
    policy = f"witness city {city.key.verifier.vkey} {server.url}\nquorum city\n"
    (settings.home / "trust-policy.txt").write_text(policy)


def cosigned_size(city: City, settings: Settings) -> int:
    with closing(home.read_ledger(settings)) as ledger:
        note = Cosigned(settings.cosigned).read(ledger.verifier)
    if note is None or note.signed_by(city.key.verifier) is None:
        return 0
    return notes.Checkpoint.parse(note.text).size


def metrics(service: Service) -> dict[str, float]:
    text = httpx.get(f"{service.url}/metrics").text
    lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith("pruneguard_"))
    return {name: float(value) for name, _, value in lines}


def append(settings: Settings) -> int:
    """One more entry; the size with it."""
    with closing(home.open_ledger(settings)) as ledger:
        event = Event("run.started", "ada", {"run": "r", "model": "m"}, {"manifest": f"sha256:{'0' * 64}"})
        return ledger.record(event, signer=people()["ada"]).index + 1


def test_what_is_appended_is_cosigned_within_the_period(settings: Settings, city: City) -> None:
    with city.serve() as server:
        name(city, server, settings)
        with Service(settings, dashboard=False) as service:
            service.wait_for(lambda: cosigned_size(city, settings) == 5, "the first cosignature")
            size = append(settings)
            service.wait_for(lambda: cosigned_size(city, settings) == size, "the cosignature of what was appended")
            gauge = 'pruneguard_cosigned_size{witness="city"}'
            service.wait_for(lambda: metrics(service).get(gauge) == size, "the metric")
            assert metrics(service)['pruneguard_witness_failures_total{witness="city"}'] == 0


def test_a_witness_that_is_away_stops_nothing_and_is_counted_and_logged(
    settings: Settings, city: City, caplog: pytest.LogCaptureFixture
) -> None:
    with city.serve() as server:
        name(city, server, settings)
    with Service(settings, dashboard=False) as service:
        failures = 'pruneguard_witness_failures_total{witness="city"}'
        service.wait_for(lambda: metrics(service).get(failures, 0) >= 2, "the failures")
        append(settings)
        assert cosigned_size(city, settings) == 0
        with city.serve(server.port):
            service.wait_for(lambda: cosigned_size(city, settings) == 6, "the cosignature")
    told = [record.getMessage() for record in caplog.records if record.name == "pruneguard.witness.pushing"]
    assert sum("does not answer" in text for text in told) == 1


def test_without_a_trust_policy_nobody_is_asked(settings: Settings) -> None:
    with Service(settings, dashboard=False) as service:
        assert not [name for name in metrics(service) if "witness=" in name]
    assert not settings.cosigned.exists()


def test_a_trust_policy_that_is_none_stops_the_start_with_its_line(settings: Settings) -> None:
    (settings.home / "trust-policy.txt").write_text("witness city\nquorum city\n")
    with pytest.raises(InvalidInputError, match="line 1 of the trust policy"):
        Service(settings, dashboard=False)
