"""The tiny workload with its twin, trained once per process."""

from dataclasses import replace
from pathlib import Path

import pytest

from pruneguard.analysis.subject import Subject, subject
from pruneguard.manifest import load_manifest
from pruneguard.settings import Settings
from tests.flows.conftest import TINY


@pytest.fixture(scope="session")
def tiny() -> Subject:
    return subject(replace(load_manifest(TINY), train_epochs=2), Settings(home=Path("no-home-here")))
