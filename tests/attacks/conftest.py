"""What attackers start from: the story, told once, and its bundle without control frameworks."""

from pathlib import Path

import pytest

from pruneguard import testing
from pruneguard.artifacts import Artifacts
from tests.attacks.attacker import PLAIN
from tests.audit.conftest import Told, contents


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Shared: read it, and attack copies."""
    return _tell(tmp_path_factory.mktemp("told"))


@pytest.fixture
def fresh(tmp_path: Path) -> Told:
    """One's own, to write to."""
    return _tell(tmp_path / "told")


def _tell(folder: Path) -> Told:
    ledger, artifacts = testing.memory_ledger(), Artifacts(str(folder / "artifacts"))
    story = testing.story(ledger, artifacts)
    return Told(ledger, artifacts, story, contents(ledger, artifacts, model=story.model, **PLAIN))
