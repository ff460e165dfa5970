"""One staged ledger per test session, copied for each test that wants it: staging signs and syncs dozens of entries."""

import shutil
from pathlib import Path

import pytest

from pruneguard.settings import Settings
from tests.dashboards.stage import staged
from tests.ledgers import new_ledger


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stage") / "var"
    staged(folder)
    return folder


@pytest.fixture
def settings(template: Path, tmp_path: Path) -> Settings:
    """A service's home with the staged ledger in it, this test's own."""
    shutil.copytree(template, tmp_path / "var")
    return Settings(home=tmp_path / "var")


@pytest.fixture
def empty(tmp_path: Path) -> Settings:
    """A service's home whose ledger knows people and no model."""
    return new_ledger(tmp_path / "empty")
