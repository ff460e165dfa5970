"""One HTTP connection, as patient as a server can afford: in how many there are, and in how long a request takes."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS_MAX = 20.0
"""Between the first byte of a request, or the connection's beginning, and the last of its headers."""

UNREAD_SECONDS_MAX = 60.0
"""How long an answer may lie here because its client does not read."""

HEADER_BYTES_MAX = 65_536

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n"
    b'content-length: 61\r\n\r\n{"error":"there are too many connections; retry in a second"}'
)


@dataclass(slots=True, eq=False)
class Door:
    """What all connections of one server share. `leaving`: each ends with the answer that is under way."""

    connections_max: int
    leaving: bool = False
    turned_away: int = 0
    open: "set[Connection]" = field(default_factory=set)

    def sweep(self, now: float) -> None:
        """End what has taken too long. Call it every second or so."""
        for connection in list(self.open):
            connection.expire(now)


class _Joining:
    """A transport that writes the head of an answer together with its body: one system call, and not two."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
            self._transport.write(data)
        else:
            self._head = data
            self._loop.call_soon(self.flush)  # where no body follows at once

    def flush(self) -> None:
        if self._head:
            data, self._head = self._head, b""
            self._transport.write(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Connection(HttpToolsProtocol):
    """uvicorn's own, which waits for ever for headers, and for a client to read, and takes headers of any size."""

    def __init__(self, *args: Any, door: Door, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._door = door
        self._since: float | None = None
        self._unread_since: float | None = None
        self._header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = _Joining(transport, self.loop)  # type: ignore[assignment]
        if len(self._door.open) >= self._door.connections_max:
            self._door.turned_away += 1
            self.transport.write(_FULL)
            self.transport.close()
            return
        self._door.open.add(self)
        self._since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.open.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.parser is None or self.transport.is_closing():
            return
        super().data_received(data)
        if self._since is not None:
            self._header_bytes += len(data)
            if self._header_bytes > HEADER_BYTES_MAX:
                self.transport.abort()

    def on_message_begin(self) -> None:
        self._since = self.loop.time()
        self._header_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._since = None
        super().on_headers_complete()
        if self._door.leaving:
            self.cycle.keep_alive = False  # its answer says so

    def expire(self, now: float) -> None:
        """Close this connection where its request does not become whole, or its answer is not read."""
        if self._since is not None and now - self._since > HEADER_SECONDS_MAX:
            self.transport.abort()
        elif not self.transport.get_write_buffer_size():
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        elif now - self._unread_since > UNREAD_SECONDS_MAX:
            self.transport.abort()
