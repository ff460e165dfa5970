"""The path of an inference request, from its bytes to the answer's: bare ASGI, for it is walked most."""

import asyncio
import time
from collections.abc import Callable, MutableSequence
from dataclasses import dataclass

import numpy as np

from pruneguard.errors import InvalidInputError
from pruneguard.serving import protocol
from pruneguard.serving.bodies import Receive, Scope, Send, gone, receive_body, reply, reply_error
from pruneguard.serving.observing import Answer, Guarded, Reason
from pruneguard.serving.protocol import Request, RequestError, TensorSpec
from pruneguard.serving.table import Served, Version
from pruneguard.workload import Floats

KEY_HEADER = "PruneGuard-Key"
_REASONS = {404: Reason.NOT_SERVED, 413: Reason.TOO_LARGE, 429: Reason.BUSY, 503: Reason.NOT_SERVED}
_KEY, _JSON_LENGTH = KEY_HEADER.lower().encode(), protocol.JSON_LENGTH.lower().encode()


@dataclass(frozen=True, slots=True)
class Limits:
    """At most `in_flight_max` requests are worked on at a time, each of at most `request_bytes_max` bytes,
    uncompressed, and `rows_max` rows."""

    request_bytes_max: int
    rows_max: int
    in_flight_max: int


class _GoneError(RequestError):
    """Nobody is there to hear the answer."""


class Inference:
    """`find` names what serves a model, or raises RequestError; `observer` hears of every answer and refusal.

    `in_flight[0]` is how many requests are worked on.
    """

    def __init__(
        self, find: Callable[[str], Served], observer: Guarded, limits: Limits, in_flight: MutableSequence[int]
    ) -> None:
        self._find = find
        self._observer = observer
        self._limits = limits
        self._in_flight = in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send, *, model: str, version: str | None) -> None:
        """Answer a POST to the infer path of a model, and of one version where the path names it."""
        if self._in_flight[0] >= self._limits.in_flight_max:
            self._observer.refused("", Reason.BUSY)
            text = f"{self._in_flight[0]} requests are being answered, which is the limit; retry in a second"
            await reply_error(send, 429, text, {"Retry-After": "1"})
            return
        self._in_flight[0] += 1
        try:
            content, headers = await self._answer(dict(scope["headers"]), receive, model, version)
        except InvalidInputError as error:  # a RequestError, or the runtime refusing a size that the model leaves open
            status = error.status if isinstance(error, RequestError) else 400
            self._refused(model, status)
            await reply_error(send, status, str(error))
        except Exception as error:
            text = f"this is a fault of the gateway ({type(error).__name__}); its log says more"
            await reply_error(send, 500, text)
            raise
        else:
            await reply(send, 200, content, headers)
        finally:
            self._in_flight[0] -= 1

    async def _answer(
        self, headers: dict[bytes, bytes], receive: Receive, model: str, named: str | None
    ) -> tuple[bytes, dict[str, str]]:
        body = await receive_body(receive, bytes_max=self._limits.request_bytes_max)
        started = time.perf_counter()
        served = self._find(model)
        if len(body) > protocol.LARGE_BYTES or b"content-encoding" in headers:  # nobody else waits for it
            request = await asyncio.to_thread(self._read, body, headers)
        else:
            request = self._read(body, headers)
        if named is not None:
            version = served.named(named)
        else:
            key = headers.get(_KEY)
            version = served.for_key(key.decode("latin-1") if key else request.id)
        inputs, binary = await self._inputs(request, version.input, version.output)
        try:
            logits = version.batches.at_once(inputs)
            if logits is None:
                logits = await _wait(version, inputs, receive)
            if not np.isfinite(logits).all():
                raise RequestError("these inputs overflow the model: its answer is not finite; send usual values")
        except _GoneError:
            raise
        except Exception:
            self._observer.failed(served.model, version.number)
            raise
        content, told = protocol.encode(
            logits, version.output, model=served.model, version=version.number, request_id=request.id, binary=binary
        )
        seconds = time.perf_counter() - started
        self._observer.answered(
            Answer(served.model, version.number, version.digest, request.id, inputs, logits, seconds, time.time())
        )
        accepted = headers.get(b"accept-encoding")
        if accepted and len(content) >= protocol.COMPRESSED_BYTES_MIN:
            content, packed = await asyncio.to_thread(protocol.compress, content, accepted=accepted.decode("latin-1"))
            told |= packed
        return content, told

    def _read(self, body: bytes, headers: dict[bytes, bytes]) -> Request:
        if coding := headers.get(b"content-encoding"):
            encoding = coding.decode("latin-1").strip().lower()
            body = protocol.decompress(body, encoding=encoding, bytes_max=self._limits.request_bytes_max)
        length = headers.get(_JSON_LENGTH)
        return protocol.read(body, json_length=None if length is None else length.decode("latin-1"))

    async def _inputs(self, request: Request, spec: TensorSpec, output: TensorSpec) -> tuple[Floats, bool]:
        binary = protocol.wants_binary(request, output)
        if request.large:
            inputs = await asyncio.to_thread(protocol.tensor, request, spec, rows_max=self._limits.rows_max)
        else:
            inputs = protocol.tensor(request, spec, rows_max=self._limits.rows_max)
        return inputs, binary

    def _refused(self, model: str, status: int) -> None:
        try:
            name = self._find(model).model
        except RequestError:
            name = ""  # what a client made up is no label
        self._observer.refused(name, _REASONS.get(status, Reason.INVALID))


async def _wait(version: Version, inputs: Floats, receive: Receive) -> Floats:
    """The logits out of a run with others. Raises RequestError when the client went away before it began."""
    waiting = version.batches.wait(inputs)
    leaving = asyncio.ensure_future(gone(receive))
    leaving.add_done_callback(lambda _: waiting.cancel())
    try:
        return await waiting
    except asyncio.CancelledError:
        if not leaving.done() or leaving.cancelled():
            raise  # it is this task that was cancelled
        raise _GoneError("the client went away before its answer") from None
    finally:
        leaving.cancel()
