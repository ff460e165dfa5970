"""The auditor's machine: nothing on it but the wheel and the two libraries it asks for."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.audit.conftest import Told, packed

ROOT = Path(__file__).parents[2]

OUTSIDE = """
import json, pathlib, sys
import pruneguard.audit.export, pruneguard.audit.verify
import pruneguard.gates, pruneguard.ledger.merkle, pruneguard.ledger.tiles, pruneguard.statistics

report = pruneguard.audit.verify.verify(pathlib.Path(sys.argv[1]))
loaded = {name.partition(".")[0] for name in sys.modules}
foreign = sorted(loaded & {"sqlalchemy", "numpy", "torch", "fsspec", "pydantic"})
print(json.dumps({"ok": report.ok, "exit": report.exit_code, "foreign": foreign}))
"""


def run(*command: str | Path, cwd: Path, ok: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in ok, done.stdout + done.stderr
    return done


def wheel(folder: Path) -> Path:
    """Built from a copy, so that nothing is written into the checkout."""
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "pruneguard", source / "pruneguard", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist", cwd=source)
    (built,) = (folder / "dist").iterdir()
    return built


def install(folder: Path, built: Path) -> Path:
    """A fresh environment's Python, with the wheel and what it depends on. Skips where no registry answers."""
    python = folder / "venv/bin/python"
    if uv := shutil.which("uv"):
        run(uv, "venv", "--python", sys.executable, folder / "venv", cwd=folder)
        command = [uv, "pip", "install", "--python", python, built]
    else:
        venv.create(folder / "venv", with_pip=True)
        command = [python, "-m", "pip", "install", "--disable-pip-version-check", built]
    done = run(*command, cwd=folder, ok=(0, 1, 2))
    if done.returncode and any(
        word in done.stderr.lower() for word in ("connect", "resolve", "network", "timed out", "dns")
    ):
        pytest.skip(f"no package registry answers: {done.stderr.strip().splitlines()[-1][:200]}")
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.slow
def test_a_bundle_verifies_where_only_the_wheel_is_installed(told: Told, tmp_path: Path) -> None:
    python = install(tmp_path, wheel(tmp_path))
    bundle = packed(told.files, tmp_path / "b.tar")
    done = run(python, "-W", "error", "-c", OUTSIDE, bundle, cwd=tmp_path)
    assert done.stdout.strip() == '{"ok": true, "exit": 0, "foreign": []}'

    told_on_the_terminal = run(python, "-m", "pruneguard.cli", "audit", "verify", bundle, cwd=tmp_path)
    assert "verified; guarantee: self-signed only" in told_on_the_terminal.stdout
    whole = bytearray(bundle.read_bytes())
    whole[len(whole) // 2] ^= 1
    bundle.write_bytes(whole)
    done = run(python, "-m", "pruneguard.cli", "audit", "verify", bundle, cwd=tmp_path, ok=(10,))
    assert "NOT verified" in done.stdout

    for words in (["run", "manifest.yaml"], ["up"], ["status"], ["keys", "new", "lin"]):
        done = run(python, "-m", "pruneguard.cli", *words, cwd=tmp_path, ok=(4,))
        assert "this command needs the service" in done.stderr
        assert len(done.stderr.splitlines()) == 1
