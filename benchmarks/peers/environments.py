"""An environment of its own for a peer whose dependencies do not go with ours, below `.bench/`."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.peer import Unable

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".bench"
MINUTES_MAX = 15


def python(name: str, packages: Sequence[str]) -> Path:
    """The interpreter of `.bench/NAME` with these packages in it; made at the first call, and again when they change.

    PIP_FIND_LINKS and the like are pip's own settings and reach it. Raises Unable with pip's last words.
    """
    home = FOLDER / name
    interpreter, note = home / "bin" / "python", home / "packages.txt"
    wanted = "\n".join(packages)
    if note.is_file() and note.read_text() == wanted:
        return interpreter
    FOLDER.mkdir(exist_ok=True)
    _run([sys.executable, "-m", "venv", "--clear", str(home)])
    _run([str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
    note.write_text(wanted)
    return interpreter


def call(interpreter: Path, module: str, arguments: Sequence[str], *, environment: dict[str, str]) -> None:
    """Run a module of this checkout with the peer's interpreter. Raises Unable with the last line that it wrote."""
    seen = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    _run([str(interpreter), "-m", module, *arguments], environment=seen)


def _run(command: Sequence[str], *, environment: dict[str, str] | None = None) -> None:
    try:
        ran = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60 * MINUTES_MAX
        )
    except subprocess.TimeoutExpired as error:
        raise Unable(f"{command[2]} took more than {MINUTES_MAX} minutes") from error
    if ran.returncode != 0:
        lines = [line for line in ran.stderr.splitlines() if line.strip()]
        raise Unable(lines[-1].strip() if lines else f"exit code {ran.returncode}")
