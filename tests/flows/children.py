"""Commands as processes of their own, the way a person starts them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

from pruneguard.settings import Settings

SECONDS_MAX = 1200


@contextmanager
def command(
    *words: str, settings: Settings, module: str = "pruneguard.cli", **environ: str
) -> Iterator[subprocess.Popen[str]]:
    """A `pruneguard` command that runs; its two outputs are one. What is left of it at the end is killed."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *words],
        env=os.environ | settings.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_hear_ctrl_c,
    ) as process:
        try:
            yield process
        finally:
            for one in [*descendants(process), process]:
                one.kill()


def _hear_ctrl_c() -> None:
    """A shell starts what runs in its background with SIGINT ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def done(*words: str, settings: Settings, module: str = "pruneguard.cli", **environ: str) -> tuple[int, str]:
    """A command's exit code and output, once it has ended."""
    with command(*words, settings=settings, module=module, **environ) as process:
        output, _ = process.communicate(timeout=SECONDS_MAX)
        return process.returncode, output


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that it started and that still run."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def said(process: subprocess.Popen[str], text: str) -> list[str]:
    """Read lines until one holds `text`, and give all of them."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if text in line:
            return lines
    raise AssertionError(f"it ended without {text!r}:\n" + "\n".join(lines))


def wait_for(condition: Callable[[], bool]) -> None:
    """Ask until it is so: the other side is a process that knows nothing of us."""
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
