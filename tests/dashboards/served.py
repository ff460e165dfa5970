"""The dashboard in a process of its own, as the service starts it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pruneguard.settings import PREFIX, Settings

STOP_S = 20


@contextmanager
def dashboard(settings: Settings) -> Iterator[str]:
    """Start the dashboard on a free port and give its address. It is listening by then: the socket comes first."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    command = [sys.executable, "-m", "dashboards.server", "--port", "0"]
    with subprocess.Popen(command, env=others | settings.environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(STOP_S)
