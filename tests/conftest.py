"""What every test runs in: one thread, no telemetry, and a home of its own for each library that writes to one."""

import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # test processes share the cores; and sums come out the same on every machine
    "DO_NOT_TRACK": "1",  # Prefect's client, Evidently
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
}
HOME = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module, and with it any library, is imported."""
    for name in [name for name in os.environ if name.startswith(("PRUNEGUARD_", "PREFECT_"))]:
        if name != "PRUNEGUARD_DATA_DIR":
            del os.environ[name]  # what a developer has exported must not decide a test
    config.stash[HOME] = tempfile.mkdtemp(prefix="pruneguard-tests-")
    os.environ |= ENVIRONMENT | {"PREFECT_HOME": config.stash[HOME], "XDG_STATE_HOME": f"{config.stash[HOME]}/state"}


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[HOME], ignore_errors=True)  # a server that is just stopping may still write there


@pytest.fixture(autouse=True)
def own_memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test has seen the checkpoints of another: ledgers of tests share keys, and are forks of each other."""
    monkeypatch.setenv("XDG_STATE_HOME", f"{request.config.stash[HOME]}/state-{uuid.uuid4()}")


@pytest.fixture(autouse=True)
def own_main() -> Iterator[None]:
    """Streamlit's AppTest leaves its page as `__main__`, which a process that a later test spawns would then run."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture
def data_dir() -> Callable[[str], Path]:
    """`data_dir("mnist")` is the folder that holds this set; without it the test is skipped, by the name of the set."""

    def holding(name: str) -> Path:
        folder = Path(os.environ.get("PRUNEGUARD_DATA_DIR", "data"))
        if not (folder / name).is_dir():
            pytest.skip(f"no data set {name} in {folder}; PRUNEGUARD_DATA_DIR names the folder to look in")
        return folder

    return holding
