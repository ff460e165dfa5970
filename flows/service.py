"""The running service: gateway, monitor and dashboard, started together and stopped together."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Self

import httpx

from flows.child import Child
from monitors.watch import Pace, Watch
from pruneguard import home
from pruneguard.cli.terminal import Terminal
from pruneguard.errors import UnavailableError
from pruneguard.files import held
from pruneguard.ledger.trust import TrustPolicy
from pruneguard.reporting import listener
from pruneguard.serving.follower import Follower
from pruneguard.serving.gateway import Gateway
from pruneguard.serving.server import Server
from pruneguard.settings import Settings
from pruneguard.witness.cosigned import Cosigned
from pruneguard.witness.pushing import Pushing

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
        # A page that is rendered must not slow an answer, hence a process of its own.
        self._dashboard = Child("dashboards.server", environ=settings.environ) if dashboard else None
        self._witnesses = self._pushing(settings)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            # Two monitors would number their windows alike, and each would lose half of them to the other.
            lock = self._settings.home / "service.lock"
            starting.enter_context(held(lock, what=f"a service runs on {self._settings.home}"))
            starting.enter_context(self._follower)
            self._follower.wait_for(1, timeout_s=WAIT_SECONDS_MAX)  # what is live answers from the first request on
            for part in (self._server, self.watch, self._witnesses, self._dashboard):
                if part is not None:
                    starting.enter_context(part)
            self._running = starting.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._running.__exit__(kind, error, at)

    def _pushing(self, settings: Settings) -> Pushing | None:
        """What shows the newest checkpoint to the witnesses; None where no policy names any."""
        if (policy := settings.read_trust_policy()) is None:
            return None
        return Pushing(
            partial(home.read_ledger, settings),
            TrustPolicy.parse(policy),
            Cosigned(settings.cosigned),
            interval_s=settings.witness_interval_s,
            report=self.watch.witnessed,
        )

    @property
    def url(self) -> str:
        return self._server.url

    def addresses(self) -> Iterator[str]:
        """Where everything answers, one line each."""
        yield f"gateway    {self.url}/v2"
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


def main(settings: Settings, *, dashboard: bool) -> int:
    """`pruneguard up`: serve until somebody stops it."""
    home.read_ledger(settings, verify=True).close()  # an edited ledger stops here, before anything answers
    with Terminal() as terminal, Service(settings, dashboard=dashboard) as service:
        terminal.step("running, until Ctrl-C")
        for line in service.addresses():
            terminal.say(line)
        service.wait()
    return 0
