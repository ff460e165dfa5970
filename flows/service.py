"""The running service: gateway, monitor and dashboard, started together and stopped together."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from flows.answering import Alone, Apart
from flows.child import Child
from monitors.watch import Pace, Watch
from pruneguard import home
from pruneguard.cli.terminal import Terminal
from pruneguard.errors import UnavailableError
from pruneguard.files import held
from pruneguard.ledger.trust import TrustPolicy
from pruneguard.reporting import listener
from pruneguard.serving import configured, sockets
from pruneguard.serving.gateway import Gateway
from pruneguard.serving.labels import routes as labels_routes
from pruneguard.serving.labelstore import Labels
from pruneguard.serving.operations import routes as operations_routes
from pruneguard.settings import Settings
from pruneguard.witness.cosigned import Cosigned
from pruneguard.witness.pushing import Pushing

WAIT_SECONDS_MAX = 60.0


class Service:
    """Use it as a context. Entering raises UnavailableError when a port is taken, and leaves nothing behind.

    `workers` processes answer; with 0, this one does.
    """

    def __init__(
        self, settings: Settings, *, dashboard: bool = True, pace: Pace | None = None, workers: int = 0
    ) -> None:
        self._settings = settings
        artifacts = home.artifacts(settings)
        self.labels = Labels(settings.labels)
        self.watch = Watch(
            partial(home.open_ledger, settings),
            artifacts,
            pace=pace,
            folder=settings.observations,
            labels=self.labels,
            key=home.observations_key(settings),
        )
        extra = [
            *labels_routes(self.labels, models=lambda: self._answering.models),
            *operations_routes(partial(home.open_ledger, settings)),
        ]
        self._answering: Alone | Apart = (
            Apart(settings, self.watch, extra, workers=workers) if workers else Alone(settings, self.watch, extra)
        )
        self.watch.reads(
            observer_failures=lambda: self._answering.observer_failures,
            cut_off=lambda: self._answering.follower.cut_off,
            age_s=lambda: self._answering.follower.proved_age_s,
        )
        # A page that is rendered must not slow an answer, hence a process of its own.
        self._dashboard = Child("dashboards.server", environ=settings.environ) if dashboard else None
        self._witnesses = self._pushing(settings)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            # Two monitors would number their windows alike, and each would lose half of them to the other.
            lock = self._settings.home / "service.lock"
            starting.enter_context(held(lock, what=f"a service runs on {self._settings.home}"))
            for part in (self.watch, self._answering, self._witnesses, self._dashboard):
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
        return self._answering.url

    @property
    def gateway(self) -> Gateway:
        """The gateway of this process: what answers, or where its workers relay to."""
        return self._answering.gateway

    @property
    def worker_pids(self) -> list[int]:
        """The processes that answer, where they are not this one."""
        return self._answering.pids if isinstance(self._answering, Apart) else []

    def addresses(self) -> Iterator[str]:
        """Where everything answers, one line each."""
        yield f"gateway    {self.url}/v2"
        yield f"metrics    {self.url}/metrics"
        if self._dashboard:
            yield f"dashboard  {self._dashboard.url}"

    def ready(self) -> bool:
        return self._answering.ready

    def restart_workers(self) -> bool:
        """Replace every worker by a new one, with the code and files as they are now. No request is lost."""
        return self._answering.roll()

    def wait(self) -> bool:
        """Return on SIGINT or SIGTERM; True on SIGUSR2, when this very process is to be replaced.

        On SIGHUP the workers are. Says so once if the dashboard ends before.
        """
        asked: SimpleQueue[int] = SimpleQueue()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, lambda number, _: asked.put(number))
        told = False
        while True:
            with suppress(Empty):
                wanted = asked.get(timeout=1.0)
                if wanted == signal.SIGUSR2 and not isinstance(self._answering, Apart):
                    listener.get().say("without workers this process cannot be replaced; stop it and start it again")
                elif wanted != signal.SIGHUP:
                    return wanted == signal.SIGUSR2
                elif self.restart_workers():
                    listener.get().say("every worker was replaced")
                else:
                    listener.get().say("the workers were not replaced; what answered goes on")
            if self._dashboard and self._dashboard.ended and not told:
                listener.get().say("the dashboard has ended; gateway and monitor go on. Restart to get it back")
                told = True

    def hand_over(self) -> dict[str, int]:
        """Leave workers and sockets to whatever this process becomes, when this service has been left."""
        assert isinstance(self._answering, Apart)  # `wait` says so
        return self._answering.hand_over()

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
    handed: dict[str, int] | None = None
    workers = configured.workers(settings)
    with Terminal() as terminal, Service(settings, dashboard=dashboard, workers=workers) as service:
        terminal.step("running, until Ctrl-C")
        for line in service.addresses():
            terminal.say(line)
        if service.wait():
            handed = service.hand_over()
    if handed is not None:
        sockets.become([sys.executable, *sys.orig_argv[1:]], handed)  # new code; nobody's connection is refused
    return 0
