"""The telemetry scene, told once and copied for each test."""

import shutil
from dataclasses import replace
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
    return replace(lived, settings=Settings(home=tmp_path / "var"))
