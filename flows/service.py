"""The running service: gateway, monitor and dashboard, started together and stopped together."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from monitors.watch import Pace, Watch
from pruneguard import home
from pruneguard.cli.terminal import Terminal
from pruneguard.errors import UnavailableError
from pruneguard.reporting import listener
from pruneguard.serving.follower import Follower
from pruneguard.serving.gateway import Gateway
from pruneguard.serving.server import Server
from pruneguard.settings import Settings

CHECKOUT = Path(__file__).parents[1]
WAIT_SECONDS_MAX = 60.0


class Service:
    """Use it as a context. Entering raises UnavailableError when a port is taken, and leaves nothing behind."""

    def __init__(self, settings: Settings, *, dashboard: bool = True, pace: Pace | None = None) -> None:
        artifacts = home.artifacts(settings)
        self.watch = Watch(partial(home.open_ledger, settings), artifacts, pace=pace, threads=settings.threads)
        self.gateway = Gateway(
            artifacts, self.watch, threads=settings.threads, request_bytes_max=settings.request_bytes_max
        )
        self._settings = settings
        self._server = Server(self.gateway.app, host=settings.host, port=settings.gateway_port)
        self._follower = Follower(partial(home.read_ledger, settings), self.gateway)
        self._dashboard = Dashboard(settings) if dashboard else None
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            for part in (self._server, self._follower, self.watch, self._dashboard):
                if part is not None:
                    starting.enter_context(part)
            self._running = starting.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._running.__exit__(kind, error, at)

    @property
    def url(self) -> str:
        return self._server.url

    def addresses(self) -> Iterator[str]:
        """Where everything answers, one line each."""
        yield f"gateway    {self.url}/v2/models"
        yield f"metrics    {self.url}/metrics"
        if self._dashboard:
            yield f"dashboard  {self._dashboard.url}"

    def ready(self) -> bool:
        return httpx.get(f"{self.url}/v2/health/ready").status_code == httpx.codes.OK

    def wait(self) -> None:
        """Return on SIGINT or SIGTERM; say so once if the dashboard ends before."""
        stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        told = False
        while not stopping.wait(1.0):
            if self._dashboard and self._dashboard.ended and not told:
                listener.get().say("the dashboard has ended; gateway and monitor go on. Restart to get it back")
                told = True

    @staticmethod
    def wait_for(condition: Callable[[], bool], what: str) -> None:
        """Raises UnavailableError when it does not come true within a minute."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not condition():
            if time.monotonic() > deadline:
                raise UnavailableError(f"waited {WAIT_SECONDS_MAX:g} s for {what}; the log before this says why")
            time.sleep(0.05)  # the other side is a thread that polls a database


class Dashboard:
    """The dashboard in a process of its own: a page that is rendered must not slow an answer.

    The child ends when its standard input does, so that a parent that is killed leaves no orphan on the port.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.url = ""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "dashboards.server", "--until-eof"]
        environ = {**os.environ, **self._settings.environ}
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            command, env=environ, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None  # asked for above
        self.url = self._process.stdout.readline().strip()  # its first line is its address, or nothing when it failed
        if not self.url:
            self._stop()
            raise UnavailableError("the dashboard did not start; its own message stands above")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main(settings: Settings, *, dashboard: bool) -> int:
    """`pruneguard up`: serve until somebody stops it."""
    home.read_ledger(settings, verify=True).close()  # an edited ledger stops here, before anything answers
    with Terminal() as terminal, Service(settings, dashboard=dashboard) as service:
        terminal.step("running, until Ctrl-C")
        for line in service.addresses():
            terminal.say(line)
        service.wait()
    return 0
