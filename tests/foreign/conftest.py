"""Somebody else's verifiers, in an environment of their own, over the bundle of the story; BUNDLE=FILE names another.

BUNDLE=var/demo/digits-1-audit.tar make test ARGS=tests/foreign      # what the demo exported
"""

import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.audit.conftest import Told, told

__all__ = ["told"]

collect_ignore_glob = ["programs/*"]  # they import what is not installed here

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".foreign/bin/python"
PROGRAMS = Path(__file__).with_name("programs")

Asked = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def bundle(told: Told, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle's files, unpacked. Shared: read it."""
    folder = tmp_path_factory.mktemp("bundle")
    if other := os.environ.get("BUNDLE"):
        with tarfile.open(other) as tar:
            tar.extractall(folder, filter="data")
        return folder
    for name, content in told.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="session")
def ask() -> Asked:
    """Run one of the programs beside this file with their Python; what it prints is JSON."""
    if not PYTHON.exists():
        pytest.skip("no environment of foreign verifiers (.foreign); `make foreign` makes one")

    def run(program: str, *arguments: object) -> dict[str, Any]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            [PYTHON, PROGRAMS / program, *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run
