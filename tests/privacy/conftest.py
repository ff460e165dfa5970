"""The telemetry scene, told once and copied for each test."""

import shutil
from pathlib import Path

import pytest

from pruneguard.settings import Settings
from tests.privacy.scenes import Observed, observed


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    return observed(Settings(home=tmp_path_factory.mktemp("lived") / "var"))


@pytest.fixture
def scene(lived: Observed, tmp_path: Path) -> Observed:
    shutil.copytree(lived.settings.home, tmp_path / "var")
    return Observed(Settings(home=tmp_path / "var"), lived.batches, lived.shared, lived.last)
