"""The real command, killed for real."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pruneguard import home
from pruneguard.ledger.events import Entry
from pruneguard.settings import Settings

pytestmark = pytest.mark.slow

TINY = Path(__file__).parent / "tiny"
SECONDS_MAX = 240


def command(*words: str, home_dir: Path, **environ: str) -> subprocess.Popen[str]:
    # An own PREFECT_HOME: two embedded servers on one database wait for each other.
    env = {**os.environ, "PRUNEGUARD_HOME": str(home_dir), "PREFECT_HOME": str(home_dir / "prefect"), **environ}
    return subprocess.Popen(
        [sys.executable, "-m", "pruneguard.cli", *words],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def done(*words: str, home_dir: Path, **environ: str) -> tuple[int, str]:
    process = command(*words, home_dir=home_dir, **environ)
    output, _ = process.communicate(timeout=SECONDS_MAX)
    return process.returncode, output


def events(settings: Settings) -> Counter[str]:
    ledger = home.read_ledger(settings)
    counted = Counter(Entry.decode(raw).event.type for raw in ledger.raw(0, ledger.size))
    ledger.close()
    return counted


@pytest.fixture
def home_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "var"
    assert done("init", "--team", home_dir=folder)[0] == 0
    assert done("approve", "--policy", str(TINY / "policy.yaml"), home_dir=folder)[0] == 0
    return folder


@pytest.mark.parametrize("after", ["run.started", "model.trained", "verdict.given"])
def test_a_run_killed_after_any_step_ends_as_if_nothing_had_happened(home_dir: Path, after: str) -> None:
    settings = Settings(home=home_dir)
    process = command("run", str(TINY / "manifest.yaml"), home_dir=home_dir)
    deadline = time.monotonic() + SECONDS_MAX
    while not events(settings)[after] and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)  # the other side is a process that knows nothing of us
    process.send_signal(signal.SIGKILL)
    process.communicate()

    code, output = done("run", str(TINY / "manifest.yaml"), home_dir=home_dir)

    assert code == 0, output
    counted = events(settings)
    assert (
        counted["run.started"] == counted["model.trained"] == counted["data.admitted"] == counted["run.finished"] == 1
    )
    assert counted["model.pruned"] == 2
    assert counted["release.proposed"] == 2  # the dense twin and the pruned version
    assert home.read_ledger(settings, verify=True).state().violations == []


def test_ctrl_c_ends_with_130_and_no_traceback(home_dir: Path) -> None:
    settings = Settings(home=home_dir)
    process = command("run", str(TINY / "manifest.yaml"), home_dir=home_dir)
    deadline = time.monotonic() + SECONDS_MAX
    while not events(settings)["run.started"] and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "interrupted" in output
    assert "Traceback" not in output


def test_a_manifest_that_names_a_missing_class_leaves_the_ledger_as_it_was(home_dir: Path, tmp_path: Path) -> None:
    for name in ("workload.py", "policy.yaml"):
        (tmp_path / name).write_bytes((TINY / name).read_bytes())
    bad = tmp_path / "manifest.yaml"
    bad.write_text((TINY / "manifest.yaml").read_text().replace("workload.py:Tiny", "workload.py:Tidy"))
    before = home.read_ledger(Settings(home=home_dir)).size
    code, output = done("run", str(bad), home_dir=home_dir)
    assert code == 2
    assert "Tidy" in output
    assert "Traceback" not in output
    assert home.read_ledger(Settings(home=home_dir)).size == before
