"""An environment of its own for a peer whose dependencies do not go with ours, below `.bench/`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.peer import Unable

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".bench"
MINUTES_MAX = 15
WORDS_LINES = 4
"""Of what an installer said last; uv folds its sentences into several lines."""


def python(name: str, packages: Sequence[str]) -> Path:
    """The interpreter of `.bench/NAME` with these packages in it; made at the first call, and again when they change.

    By uv where it is installed, else by pip, which needs many minutes for the largest; wheels of your own are found
    where PIP_FIND_LINKS says, by either. Raises Unable with the installer's last words.
    """
    home = FOLDER / name
    interpreter, note = home / "bin" / "python", home / "packages.txt"
    wanted = "\n".join(packages)
    if note.is_file() and note.read_text() == wanted:
        return interpreter
    FOLDER.mkdir(exist_ok=True)
    _run([sys.executable, "-m", "venv", "--clear", str(home)])
    _install(interpreter, packages)
    note.write_text(wanted)
    return interpreter


def _install(interpreter: Path, packages: Sequence[str]) -> None:
    if (uv := shutil.which("uv")) is None:
        _run([str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
        return
    links = [option for place in os.environ.get("PIP_FIND_LINKS", "").split() for option in ("--find-links", place)]
    certificates = {"UV_SYSTEM_CERTS": "true"}  # a proxy's is one that the system knows and uv's own list does not
    command = [uv, "pip", "install", "--quiet", "--python", str(interpreter), *links, *packages]
    _run(command, environment=certificates | os.environ)


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
        last = [line.strip() for line in ran.stderr.splitlines() if line.strip()][-WORDS_LINES:]
        raise Unable(" ".join(last) or f"exit code {ran.returncode}")
