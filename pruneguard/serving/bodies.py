"""Bodies in and out, as bare ASGI: bounded in size and in time, before anything is parsed."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from pruneguard.serving import protocol
from pruneguard.serving.protocol import RequestError

BODY_SECONDS_MAX = 30.0

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


async def receive_body(receive: Receive, *, bytes_max: int) -> bytes:
    """The body as it was sent. Raises RequestError when it is too large or does not arrive."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):  # a client that stalls must not hold a place for ever
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RequestError("the client went away before its request was whole")
                part = message.get("body", b"")
                size += len(part)
                if size > bytes_max:
                    raise protocol.too_large(bytes_max)
                parts.append(part)
                more = message.get("more_body", False)
    except TimeoutError as error:
        raise RequestError(
            f"the body did not arrive within {BODY_SECONDS_MAX:g} s; send it again", status=408
        ) from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def gone(receive: Receive) -> None:
    """Return when the client has gone away. For a request whose body was received."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def reply(send: Send, status: int, content: bytes, headers: Mapping[str, str]) -> None:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    raw.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": content})


async def reply_error(send: Send, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
    """An error in the protocol's form."""
    found = {"Content-Type": "application/json", **(headers or {})}
    await reply(send, status, protocol.encode_error(text), found)
