"""What a worker does not answer itself goes to the parent: plain HTTP over a Unix socket, body and all."""

import httpx

from pruneguard.serving.bodies import Receive, Scope, Send, receive_body, reply, reply_error
from pruneguard.serving.protocol import RequestError

SECONDS_MAX = 60.0
_OWN_HEADERS = frozenset({b"connection", b"transfer-encoding", b"content-length", b"keep-alive"})  # of one connection
_PARENT = "http://parent"


class Relay:
    """An ASGI app in front of whoever listens on the Unix socket at `path`."""

    def __init__(self, path: str, *, request_bytes_max: int) -> None:
        self._bytes_max = request_bytes_max
        transport = httpx.AsyncHTTPTransport(uds=path, limits=httpx.Limits(max_connections=64))
        self._client = httpx.AsyncClient(transport=transport, timeout=SECONDS_MAX, trust_env=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await receive_body(receive, bytes_max=self._bytes_max)
        except RequestError as error:
            await reply_error(send, error.status, str(error))
            return
        url = httpx.URL(_PARENT, raw_path=scope["raw_path"] + (b"?" + scope["query_string"]).rstrip(b"?"))
        headers = [(name, value) for name, value in scope["headers"] if name not in _OWN_HEADERS]
        request = httpx.Request(scope["method"], url, headers=headers, content=body)
        try:
            answer = await self._client.send(request, stream=True)
            content = b"".join([part async for part in answer.aiter_raw()])
            await answer.aclose()
        except httpx.HTTPError as error:
            text = f"the service behind this worker does not answer ({type(error).__name__}); retry in a second"
            await reply_error(send, 503, text, {"Retry-After": "1"})
            return
        kept = {k.decode(): v.decode("latin-1") for k, v in answer.headers.raw if k.lower() not in _OWN_HEADERS}
        await reply(send, answer.status_code, content, kept)
