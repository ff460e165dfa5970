"""Ledgers to test with, in every database there is one for."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from pruneguard import testing
from pruneguard.artifacts import Artifacts
from pruneguard.ledger.ledger import Ledger
from tests.ledger import places


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """A ledger with a story in it, to copy."""
    ledger = testing.memory_ledger()
    testing.story(ledger, Artifacts(str(tmp_path_factory.mktemp("told") / "artifacts")))
    return ledger


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A private server; skipped, by name, where none is installed."""
    if (programs := places.binaries()) is None:
        pytest.skip("no PostgreSQL server on this machine; Debian's package is `postgresql`")
    with places.server(programs) as address:
        yield address


@pytest.fixture
def file(tmp_path: Path) -> places.File:
    return places.file(tmp_path / "my ledger#1.sqlite")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest) -> places.Place:
    """An empty place for a ledger, in each database."""
    if request.param == "sqlite":
        made: places.Place = request.getfixturevalue("file")
        return made
    return places.schema(request.getfixturevalue("postgresql"), f"test_{uuid.uuid4().hex}")


@pytest.fixture
def ledger(told: Ledger, place: places.Place) -> Iterator[Ledger]:
    """The story, told in `place`."""
    place.hold(told)
    ledger = Ledger.open(place.url, key=testing.log_key())
    yield ledger
    ledger.close()
