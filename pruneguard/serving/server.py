"""A web server in a thread: for the gateway, for the dashboard, for tests."""

import asyncio
import errno
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn

from pruneguard.errors import InvalidInputError, UnavailableError
from pruneguard.serving.connections import Connection, Door

START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 10
PORT_MAX = 65_535
KEEP_ALIVE_SECONDS = 75
"""Longer than most clients keep an idle connection: a server that closes first fails the request that is on its way."""


CONNECTIONS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate chain and its private key, as PEM files."""

    cert: Path
    key: Path

    def require(self) -> None:
        """Raises InvalidInputError when no server could use these files."""
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.cert, self.key, password="")
        except (OSError, ssl.SSLError) as error:
            raise InvalidInputError(
                f"PRUNEGUARD_TLS_CERT={self.cert} and PRUNEGUARD_TLS_KEY={self.key}: {error}; name a PEM file with the "
                "certificate chain, and one with its private key, not encrypted"
            ) from error


class Server:
    """Serves `app` (ASGI) on `host` and `port`; 0 takes any free port. `setting` names the knob in errors.

    It listens on `bound`, where somebody else has bound it, and then does not close it; with `tls`, it speaks https.
    More than `connections_max` clients are told to come back, and slow ones are not waited for.

    `start` returns when requests are answered, and `port` is then the real one; `stop` when those under way have
    ended, at most STOP_SECONDS_MAX. `beat` is called in the event loop about ten times a second. It installs no signal
    handlers: whoever starts it decides when it ends.
    """

    def __init__(
        self,
        app: Any,
        *,
        host: str,
        port: int,
        setting: str = "PRUNEGUARD_GATEWAY_PORT",
        bound: socket.socket | None = None,
        tls: Tls | None = None,
        connections_max: int = CONNECTIONS_MAX,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        if tls:
            tls.require()
        self._door = Door(connections_max)
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=partial(Connection, door=self._door),  # type: ignore[arg-type]  # a class, bound
            ws="none",
            interface="asgi3",
            proxy_headers=False,  # who a client is decides nothing here
            access_log=False,
            server_header=False,
            log_config=None,  # logging belongs to whoever starts the server
            log_level="warning",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS_MAX,
            ssl_certfile=tls.cert if tls else None,
            ssl_keyfile=tls.key if tls else None,
        )
        self.host = host
        self.port = port
        self._scheme = "https" if tls else "http"
        self._setting = setting
        self._server = _Announcing(config, self._door, beat)
        self._bound = bound
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name=f"server {host}:{port}", daemon=True)

    @property
    def url(self) -> str:
        return address_of(self.host, self.port, scheme=self._scheme)

    @property
    def turned_away(self) -> int:
        """How many connections there was no room for."""
        return self._door.turned_away

    def start(self) -> None:
        """Listen and answer. Raises UnavailableError when the port is taken or the app does not start."""
        self._socket = self._bound.dup() if self._bound else listen(self.host, self.port, setting=self._setting)
        if self._socket.family != socket.AF_UNIX:
            self.port = self._socket.getsockname()[1]
        self._thread.start()
        if not self._server.settled.wait(START_SECONDS_MAX) or not self._server.started:
            self.stop()
            raise UnavailableError(f"the app for {self.url} did not start; the log before this says why")

    def stop(self, *, linger_s: float = 0.0) -> None:
        """Stop listening, let what is under way end, and return when the thread has.

        Clients that keep their connections open are given `linger_s` to send one more request, whose answer tells
        them to connect anew; a connection that is closed on a client may swallow the request that is on its way.
        """
        self._server.linger_s = linger_s
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(linger_s + STOP_SECONDS_MAX + START_SECONDS_MAX)
        if self._socket is not None:
            self._socket.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            with suppress(SystemExit):  # how uvicorn gives up; `start` says so to its caller
                self._server.run(sockets=[self._socket] if self._socket else None)
        finally:
            self._server.settled.set()


def listen(host: str, port: int, *, setting: str) -> socket.socket:
    """A socket that listens there; port 0 takes any free one. `setting` names the knob in errors.

    Raises InvalidInputError for what is no address or port, UnavailableError where it is taken or not allowed.
    """
    if not 0 <= port <= PORT_MAX:
        raise InvalidInputError(f"{setting}={port}; expected 0 (any free port) to {PORT_MAX}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise InvalidInputError(f"PRUNEGUARD_HOST={host!r}: {error.strerror}; name an address") from error
    try:
        return socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        raise UnavailableError(_why(error, host, port, setting)) from error


def address_of(host: str, port: int, *, scheme: str = "http") -> str:
    """Where a client finds it.

    >>> address_of("127.0.0.1", 8600), address_of("::1", 8600)
    ('http://127.0.0.1:8600', 'http://[::1]:8600')
    """
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _why(error: OSError, host: str, port: int, setting: str) -> str:
    place = f"port {port} on {host}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{place} is taken by another process, perhaps a PruneGuard that still runs "
            f"(`ss -ltnp 'sport = :{port}'` names it); stop that one, or set {setting} to another "
            "port (0 takes any free one)"
        )
    return f"cannot listen on {place}: {error.strerror}; set {setting} or PRUNEGUARD_HOST to what is allowed"


class _Announcing(uvicorn.Server):
    """Says when it has started or given up, so that nobody polls for it; looks after its connections; may linger."""

    def __init__(self, config: uvicorn.Config, door: Door, beat: Callable[[], None]) -> None:
        super().__init__(config)
        self.settled = threading.Event()
        self.linger_s = 0.0
        self._door = door
        self._beat = beat

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.settled.set()

    async def on_tick(self, counter: int) -> bool:
        self._beat()
        if counter % 10 == 0:
            self._door.sweep(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._door.leaving = True
        for server in self.servers:
            server.close()
        end = asyncio.get_running_loop().time() + self.linger_s
        while self._door.open and asyncio.get_running_loop().time() < end:
            self._beat()
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
