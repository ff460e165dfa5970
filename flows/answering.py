"""What answers requests for a service: a gateway in the service's own process, or workers in front of it."""

import shutil
import socket
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from starlette.routing import BaseRoute

from monitors.watch import Watch
from pruneguard import home
from pruneguard.ledger.state import State
from pruneguard.serving import access, configured, sockets
from pruneguard.serving.access import Access
from pruneguard.serving.follower import Follower
from pruneguard.serving.observing import Reason
from pruneguard.serving.routing import routes
from pruneguard.serving.server import Server, address_of, listen
from pruneguard.serving.workers import Workers
from pruneguard.settings import Settings

FOLLOW_SECONDS_MAX = 60.0
_GATEWAY, _OFFICE = "gateway", "office"


class Alone:
    """A gateway in this process. Entering raises UnavailableError when its port is taken."""

    def __init__(self, settings: Settings, watch: Watch, routes: Sequence[BaseRoute]) -> None:
        self._settings = settings
        self._access = access.from_settings(settings, refused=watch.refused)
        self.gateway = configured.gateway(settings, watch, access=self._access, extra_routes=routes)
        handed = sockets.inherited().get(_GATEWAY)
        self._server = Server(
            self.gateway.app,
            host=settings.host,
            port=settings.gateway_port,
            tls=configured.tls(settings),
            connections_max=settings.connections_max,
            bound=None if handed is None else socket.socket(fileno=handed),
        )
        self.follower = Follower(partial(home.read_ledger, settings), self.gateway)
        self._running = ExitStack()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def ready(self) -> bool:
        return self.gateway.ready

    @property
    def models(self) -> frozenset[str]:
        """What is served now."""
        return frozenset(self.gateway.table)

    @property
    def observer_failures(self) -> int:
        return self.gateway.observer_failures

    def roll(self) -> bool:
        """Nothing to replace but this process itself."""
        return False

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            starting.enter_context(self._access)
            starting.enter_context(self.follower)
            self.follower.wait_for(1, timeout_s=FOLLOW_SECONDS_MAX)  # what is live answers from the first request on
            starting.enter_context(self._server)
            starting.callback(self._drain)
            self._running = starting.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._running.__exit__(kind, error, at)

    def _drain(self) -> None:
        self.gateway.drain()
        if self._settings.drain_s:
            threading.Event().wait(self._settings.drain_s)


class Apart:
    """Workers in processes of their own, and the office where this one answers what they relay: metrics, labels,
    operations.

    Entering raises UnavailableError when the port is taken or a worker does not start. A listening socket that was
    handed to this process, and the workers of the program that it was before, are taken over.
    """

    def __init__(self, settings: Settings, watch: Watch, routes: Sequence[BaseRoute], *, workers: int) -> None:
        if tls := configured.tls(settings):
            tls.require()
        self._settings = settings
        self._watch = watch
        self._count = workers
        self._scheme = "https" if tls else "http"
        self._access = access.from_settings(settings, refused=watch.refused)
        self._desk = _Desk(self._access, watch)
        self.gateway = configured.gateway(settings, watch, access=self._access, extra_routes=routes)
        self.follower = Follower(partial(home.read_ledger, settings), self._desk)
        self._port = settings.gateway_port
        self._workers: Workers | None = None
        self._handed: dict[str, int] = {}
        self._running = ExitStack()

    @property
    def url(self) -> str:
        return address_of(self._settings.host, self._port, scheme=self._scheme)

    @property
    def ready(self) -> bool:
        return bool(self._desk.models) and self._workers is not None and self._workers.fleet.alive > 0

    @property
    def models(self) -> frozenset[str]:
        """What is served now."""
        return self._desk.models

    @property
    def observer_failures(self) -> int:
        return self._workers.fleet.observer_failures if self._workers else 0

    @property
    def pids(self) -> list[int]:
        return self._workers.pids if self._workers else []

    def roll(self) -> bool:
        """Replace every worker, with the code and files as they are now; False when the old ones had to go on."""
        return self._workers is not None and self._workers.roll()

    def hand_over(self) -> dict[str, int]:
        """Leave the workers and sockets to the program that this process becomes; what it finds by which name."""
        assert self._workers is not None  # only what runs can be handed over
        self._handed |= self._workers.hand_over()
        return self._handed

    def __enter__(self) -> Self:
        handed = sockets.inherited()
        with ExitStack() as starting:
            starting.enter_context(self._access)
            starting.enter_context(self.follower)
            self.follower.wait_for(1, timeout_s=FOLLOW_SECONDS_MAX)
            public, office = self._listen(starting, handed)
            starting.enter_context(Server(self.gateway.app, host="office", port=0, bound=office))
            workers = Workers(
                self._count,
                self._watch,
                environ=self._settings.environ,
                listener=public,
                office=office.getsockname(),
                report=self._watch.workers,
                adopted=_adopted(handed),
            )
            workers.start()
            starting.callback(workers.stop, drain_s=self._settings.drain_s)
            self._workers = workers
            self._running = starting.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._running.__exit__(kind, error, at)

    def _listen(self, starting: ExitStack, handed: Mapping[str, int]) -> tuple[socket.socket, socket.socket]:
        """The socket that clients connect to, and the one that workers do."""
        if (descriptor := handed.get(_GATEWAY)) is not None:
            public = socket.socket(fileno=descriptor)
        else:
            public = listen(self._settings.host, self._settings.gateway_port, setting="PRUNEGUARD_GATEWAY_PORT")
        self._port = public.getsockname()[1]
        if (descriptor := handed.get(_OFFICE)) is not None:
            office = socket.socket(fileno=descriptor)
        else:
            folder = tempfile.mkdtemp(prefix="pruneguard-")  # for this user only
            office = socket.socket(socket.AF_UNIX)
            office.bind(f"{folder}/office")
            office.listen(128)
        starting.callback(self._close, public, office)
        return public, office

    def _close(self, public: socket.socket, office: socket.socket) -> None:
        if self._handed:  # they go on, in other hands
            self._handed |= {_GATEWAY: public.detach(), _OFFICE: office.detach()}
            return
        folder = Path(office.getsockname()).parent
        public.close()
        office.close()
        shutil.rmtree(folder, ignore_errors=True)


class _Desk:
    """What of the ledger the office goes by: who may call, and which models there are. It loads none."""

    def __init__(self, allowed: Access, watch: Watch) -> None:
        self._access = allowed
        self._watch = watch
        self.models: frozenset[str] = frozenset()

    def follow(self, state: State) -> bool:
        self._access.follow(state)
        self.models = frozenset(routes(state))
        return True

    def refuse(self, model: str, reason: Reason) -> None:
        self._watch.refused(model, reason)


def _adopted(handed: Mapping[str, int]) -> dict[int, tuple[int, int]]:
    """The line and the pulse of each worker that was handed over, by its process."""
    lines = {name.removeprefix("line-"): line for name, line in handed.items() if name.startswith("line-")}
    return {int(pid): (line, handed[f"pulse-{pid}"]) for pid, line in lines.items()}
