"""The gateway: Open Inference Protocol v2 over HTTP, from the versions that the ledger names.

Answering and changing what answers never wait for each other: `follow` loads off the event loop and then rebinds one
reference to an immutable table, which a request reads once. A version that left the table lives until its last
request has ended.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from reprlib import repr as brief

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as Path

from pruneguard.errors import InvalidInputError
from pruneguard.ledger.state import State
from pruneguard.serving import metadata, protocol
from pruneguard.serving.observing import Answer, Observer, Reason
from pruneguard.serving.protocol import RequestError
from pruneguard.serving.routing import Target, routes
from pruneguard.serving.table import Served, Store, Table, Version, load, table, targets
from pruneguard.workload import Floats

KEY_HEADER = "PruneGuard-Key"
BODY_SECONDS_MAX = 30.0
OFFLOAD_SECONDS = 0.005
"""A batch that takes longer leaves the event loop; a shorter one is faster on it (a thread costs 0.08 ms)."""

_REASONS = {404: Reason.NOT_SERVED, 413: Reason.TOO_LARGE, 429: Reason.BUSY, 503: Reason.NOT_SERVED}

log = logging.getLogger(__name__)


class Gateway:
    """`app` answers; `follow` changes what answers. `observer` hears of every answer and refusal.

    At most `in_flight_max` requests are worked on at a time (more get 429), each of at most `request_bytes_max` bytes,
    uncompressed, and `rows_max` rows. `threads` is what one inference may use.
    """

    def __init__(
        self,
        artifacts: Store,
        observer: Observer,
        *,
        threads: int,
        request_bytes_max: int,
        rows_max: int = 1024,
        in_flight_max: int = 256,
    ) -> None:
        self._artifacts = artifacts
        self._observer = observer
        self._threads = threads
        self._request_bytes_max = request_bytes_max
        self._rows_max = rows_max
        self._in_flight_max = in_flight_max
        self._in_flight = 0
        self._table: Table = {}
        self._following = threading.Lock()
        self.observer_failures = 0
        """How often the observer raised; each was logged, and none reached a client."""
        self.app = self._application()

    # -- changing what answers ------------------------------------------------------------------------------------

    def follow(self, state: State) -> bool:
        """Serve what `state` says. False when a version could not be loaded: call again later.

        1. What is loaded already changes at once, so a rollback waits for no file.
        2. The rest is loaded and warmed up, digest-checked, while the table goes on answering.
        3. One reference is rebound.
        """
        with self._following:
            wanted = routes(state)
            loaded = {Target(v.number, v.digest): v for s in self._table.values() for v in s.versions.values()}
            failures: dict[Target, str] = {}
            self._table = table(wanted, loaded=loaded, failures=failures, before=self._table)
            for name, route in wanted.items():
                for target in targets(route):
                    if target not in loaded and target not in failures:
                        self._load(name, target, loaded, failures)
            self._table = table(wanted, loaded=loaded, failures=failures, before=self._table)
            return not failures

    def _load(self, name: str, target: Target, loaded: dict[Target, Version], failures: dict[Target, str]) -> None:
        try:
            loaded[target] = load(self._artifacts, target, threads=self._threads)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one file, the rest answers
            failures[target] = f"{type(error).__name__}: {error}"
            log.error("release %d of %r: %s", target.number, name, failures[target])
            self.refuse(name, Reason.LOAD_FAILED)

    @property
    def table(self) -> Table:
        """What answers right now."""
        return self._table

    # -- answering ------------------------------------------------------------------------------------------------

    async def _infer(self, http: HttpRequest) -> Response:
        if self._in_flight >= self._in_flight_max:
            self.refuse("", Reason.BUSY)
            text = f"{self._in_flight} requests are being answered, which is the limit; retry in a second"
            return _error(text, 429, {"Retry-After": "1"})
        self._in_flight += 1
        try:
            return await self._answer(http, await self._body(http))
        except InvalidInputError as error:  # a RequestError, or the runtime refusing a size that the model leaves open
            status = error.status if isinstance(error, RequestError) else 400
            name = http.path_params["name"]
            self.refuse(name if name in self._table else "", _REASONS.get(status, Reason.INVALID))
            return _error(str(error), status)
        finally:
            self._in_flight -= 1

    async def _answer(self, http: HttpRequest, body: bytes) -> Response:
        started = time.perf_counter()
        served = self._served(http)
        request = protocol.read(body, json_length=http.headers.get(protocol.JSON_LENGTH))
        if "version" in http.path_params:
            version = served.named(http.path_params["version"])
        else:
            version = served.for_key(http.headers.get(KEY_HEADER) or request.id)
        inputs = protocol.tensor(request, version.input, rows_max=self._rows_max)
        binary = protocol.wants_binary(request, version.output)
        logits = await _run(version, inputs)
        if not np.isfinite(logits).all():
            raise RequestError("these inputs overflow the model: its answer is not finite; send values of usual size")
        content, headers = protocol.encode(
            logits, version.output, model=served.model, version=version.number, request_id=request.id, binary=binary
        )
        seconds = time.perf_counter() - started
        self._tell(
            Answer(served.model, version.number, version.digest, request.id, inputs, logits, seconds, time.time())
        )
        return Response(content, headers=headers)

    async def _body(self, http: HttpRequest) -> bytes:
        """The request's body, uncompressed. Raises RequestError when it is too large or does not arrive."""
        parts, size = [], 0
        try:
            async with asyncio.timeout(BODY_SECONDS_MAX):  # a client that stalls must not hold a place for ever
                async for part in http.stream():
                    size += len(part)
                    if size > self._request_bytes_max:
                        raise protocol.too_large(self._request_bytes_max)
                    parts.append(part)
        except TimeoutError as error:
            raise RequestError(
                f"the body did not arrive within {BODY_SECONDS_MAX:g} s; send it again", status=408
            ) from error
        except ClientDisconnect as error:
            raise RequestError("the client went away before its request was whole") from error
        encoding = http.headers.get("Content-Encoding", "").strip().lower()
        return protocol.decompress(b"".join(parts), encoding=encoding, bytes_max=self._request_bytes_max)

    def _served(self, http: HttpRequest) -> Served:
        served = self._table.get(http.path_params["name"])
        if served is None:
            found = brief(http.path_params["name"])
            raise RequestError(f"no model {found} is served here; there are {sorted(self._table)}", status=404)
        return served

    # -- telling --------------------------------------------------------------------------------------------------

    def _tell(self, answer: Answer) -> None:
        try:
            self._observer.answered(answer)
        except Exception:  # no request fails because of a monitor
            self.observer_failures += 1
            log.exception("the observer failed on an answer")

    def refuse(self, model: str, reason: Reason) -> None:
        try:
            self._observer.refused(model, reason)
        except Exception:  # no request and no release fails because of a monitor
            self.observer_failures += 1
            log.exception("the observer failed on a refusal")

    # -- health and metadata --------------------------------------------------------------------------------------

    async def _live(self, _: HttpRequest) -> Response:
        return Response()

    async def _ready(self, _: HttpRequest) -> Response:
        if any(served.ready for served in self._table.values()):
            return Response()
        return _error("no model answers yet; a release must be live first", 503)

    async def _server(self, _: HttpRequest) -> Response:
        return JSONResponse(metadata.server())

    async def _model(self, http: HttpRequest) -> Response:
        served = self._served(http)
        return JSONResponse(metadata.model(served, _default(served, http)))

    async def _model_ready(self, http: HttpRequest) -> Response:
        _default(self._served(http), http)
        return Response()

    async def _index(self, http: HttpRequest) -> Response:
        ready_only = metadata.ready_only(await self._body(http))
        return JSONResponse(metadata.index(self._table.values(), ready_only=ready_only))

    async def _metrics(self, _: HttpRequest) -> Response:
        content, kind = self._observer.metrics()
        return Response(content, headers={"Content-Type": kind})

    def _application(self) -> Starlette:
        models = ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
        return Starlette(
            routes=[
                *(Path(f"{model}/infer", self._infer, methods=["POST"]) for model in models),
                *(Path(f"{model}/ready", self._model_ready) for model in models),
                *(Path(model, self._model) for model in models),
                *(Path(server, self._server) for server in ("/v2", "/v2/")),
                Path("/v2/health/live", self._live),
                Path("/v2/health/ready", self._ready),
                Path("/v2/repository/index", self._index, methods=["POST"]),
                Path("/metrics", self._metrics),
            ],
            exception_handlers={RequestError: _request_error, HTTPException: _http_error, Exception: _fault},
        )


async def _run(version: Version, inputs: Floats) -> Floats:
    if version.row_seconds * len(inputs) < OFFLOAD_SECONDS:
        return version.session.logits(inputs)
    return await asyncio.to_thread(version.session.logits, inputs)


def _default(served: Served, http: HttpRequest) -> Version:
    """The version that the path names, or else what is live."""
    return served.named(http.path_params["version"]) if "version" in http.path_params else served.live()


def _error(text: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(protocol.encode_error(text), status, headers, media_type="application/json")


async def _request_error(_: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _error(str(error), error.status)


async def _http_error(http: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = f"{http.method} {brief(http.url.path)}: {error.detail}; see the Open Inference Protocol v2 for the paths"
    return _error(text, error.status_code, error.headers)


async def _fault(_: HttpRequest, error: Exception) -> Response:
    return _error(f"this is a fault of the gateway ({type(error).__name__}); its log says more", 500)
