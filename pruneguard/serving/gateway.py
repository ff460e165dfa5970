"""The gateway: Open Inference Protocol v2 over HTTP, from the versions that the ledger names.

Answering and changing what answers never wait for each other: `follow` loads off the event loop and then rebinds one
reference to an immutable table, which a request reads once. A version that left the table lives until its last
request has ended.
"""

import asyncio
import logging
import os
import re
import threading
from collections.abc import Mapping, MutableSequence, Sequence
from reprlib import repr as brief
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.routing import Route as Path

from pruneguard.errors import UnavailableError
from pruneguard.ledger.state import State
from pruneguard.serving import metadata, protocol
from pruneguard.serving.access import Access
from pruneguard.serving.admission import Admission
from pruneguard.serving.batching import Joining
from pruneguard.serving.bodies import App, Receive, Scope, Send, receive_body, reply_error
from pruneguard.serving.inferring import KEY_HEADER, Inference, Limits
from pruneguard.serving.observing import Guarded, Observer, Reason
from pruneguard.serving.protocol import RequestError
from pruneguard.serving.routing import Target, routes
from pruneguard.serving.table import Served, Store, Table, Version, load, table, targets

__all__ = ["KEY_HEADER", "Gateway"]

_MODELS, _INFER = "/v2/models/", "/infer"
_OWN = re.compile(r"/v2/?|/v2/health/(live|ready)|/v2/repository/index|/v2/models/[^/]+(/versions/[^/]+)?(/ready)?")

log = logging.getLogger(__name__)


class Gateway:
    """`app` answers; `follow` changes what answers. `observer` hears of every answer and refusal.

    At most `in_flight_max` requests are worked on at a time (more get 429), each of at most `request_bytes_max` bytes,
    uncompressed, and `rows_max` rows. `threads` is what one inference may use, `joining` how requests share runs.

    `access` decides who may call. `extra_routes` come before the gateway's own; a path that is neither's goes to
    `relay`, if there is one, before anybody is asked for a token. `in_flight` is a place for the number of requests
    that are worked on, where somebody else wants to read it.
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
        joining: Joining | None = None,
        access: Access | None = None,
        extra_routes: Sequence[BaseRoute] = (),
        relay: App | None = None,
        in_flight: MutableSequence[int] | None = None,
    ) -> None:
        self._artifacts = artifacts
        self._admission = Admission(artifacts)
        self._observer = Guarded(observer)
        self._threads = threads
        self._request_bytes_max = request_bytes_max
        self._joining = joining or Joining(runs_max=max(1, (os.cpu_count() or 1) // threads))
        self._access = access
        self._relay = relay
        self._table: Table = {}
        self._following = threading.Lock()
        self._draining = False
        self._infer = Inference(
            self._served,
            self._observer,
            Limits(request_bytes_max, rows_max, in_flight_max),
            [0] if in_flight is None else in_flight,
        )
        self._pages = self._starlette(extra_routes)
        self.app: App = self._application()

    @property
    def observer_failures(self) -> int:
        """How often the observer raised; each was logged, and none reached a client."""
        return self._observer.failures

    # -- changing what answers ------------------------------------------------------------------------------------

    def follow(self, state: State) -> bool:
        """Serve what `state` says. False when a version could not be loaded: call again later.

        1. What is loaded already changes at once, so a rollback waits for no file.
        2. The rest is admitted or not, loaded and warmed up, digest-checked, while the table goes on answering.
        3. One reference is rebound.
        """
        with self._following:
            if self._access:
                self._access.follow(state)
            wanted = routes(state)
            loaded = {Target(v.number, v.digest): v for s in self._table.values() for v in s.versions.values()}
            failures: dict[Target, str] = {}
            self._table = table(wanted, loaded=loaded, failures=failures, before=self._table)
            for name, route in wanted.items():
                for target in targets(route):
                    if target not in loaded and target not in failures:
                        self._load(state, name, target, loaded, failures)
            self._table = table(wanted, loaded=loaded, failures=failures, before=self._table)
            return not failures

    def _load(
        self, state: State, name: str, target: Target, loaded: dict[Target, Version], failures: dict[Target, str]
    ) -> None:
        if objections := self._admission.objections(state, name, target.number):
            failures[target], reason = "; ".join(objections), Reason.NOT_ADMITTED
        else:
            try:
                loaded[target] = load(self._artifacts, target, threads=self._threads, joining=self._joining)
            except Exception as error:  # noqa: BLE001  # whatever is wrong with one file, the rest answers
                failures[target], reason = f"{type(error).__name__}: {error}", Reason.LOAD_FAILED
            else:
                return
        log.error("release %d of %r: %s", target.number, name, failures[target])
        self.refuse(name, reason)

    def drain(self) -> None:
        """Say from now on that this gateway is not ready, so that nobody sends it more. It answers what comes."""
        self._draining = True

    @property
    def table(self) -> Table:
        """What answers right now."""
        return self._table

    @property
    def ready(self) -> bool:
        return not self._draining and any(served.ready for served in self._table.values())

    def refuse(self, model: str, reason: Reason) -> None:
        self._observer.refused(model, reason)

    # -- answering ------------------------------------------------------------------------------------------------

    def _application(self) -> App:
        inner: App = self._access.middleware(self._dispatch) if self._access else self._dispatch
        if (relay := self._relay) is None:
            return inner

        async def own_or_relayed(scope: Scope, receive: Receive, send: Send) -> None:
            own = scope["type"] != "http" or scope["path"].endswith(_INFER) or _OWN.fullmatch(scope["path"])
            await (inner if own else relay)(scope, receive, send)

        return own_or_relayed

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if path.startswith(_MODELS) and path.endswith(_INFER):
            model, named, version = path[len(_MODELS) : -len(_INFER)].partition("/versions/")
            if "/" not in model and "/" not in version:
                if scope["method"] == "POST":
                    await self._infer(scope, receive, send, model=model, version=version if named else None)
                else:
                    text = f"{scope['method']} {brief(path)}: Method Not Allowed; inference is a POST"
                    await reply_error(send, 405, text, {"Allow": "POST"})
                return
        await self._pages(scope, receive, send)

    def _served(self, name: str) -> Served:
        served = self._table.get(name)
        if served is None:
            raise RequestError(f"no model {brief(name)} is served here; there are {sorted(self._table)}", status=404)
        return served

    # -- health and metadata --------------------------------------------------------------------------------------

    async def _live(self, _: HttpRequest) -> Response:
        return Response()

    async def _ready(self, _: HttpRequest) -> Response:
        if self.ready:
            return Response()
        if self._draining:
            return _error("this gateway is stopping; ask another", 503)
        return _error("no model answers yet; a release must be live first", 503)

    async def _server(self, _: HttpRequest) -> Response:
        return JSONResponse(metadata.server())

    async def _model(self, http: HttpRequest) -> Response:
        served = self._served(http.path_params["name"])
        return JSONResponse(metadata.model(served, _default(served, http)))

    async def _model_ready(self, http: HttpRequest) -> Response:
        _default(self._served(http.path_params["name"]), http)
        return Response()

    async def _index(self, http: HttpRequest) -> Response:
        body = await receive_body(http.receive, bytes_max=self._request_bytes_max)
        coding = http.headers.get("Content-Encoding", "").strip().lower()
        body = protocol.decompress(body, encoding=coding, bytes_max=self._request_bytes_max)
        return JSONResponse(metadata.index(self._table.values(), ready_only=metadata.ready_only(body)))

    async def _metrics(self, _: HttpRequest) -> Response:
        content, kind = await asyncio.to_thread(self._observer.metrics)
        return Response(content, headers={"Content-Type": kind})

    def _starlette(self, extra: Sequence[BaseRoute]) -> Starlette:
        models = ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
        handlers: dict[Any, Any] = {
            RequestError: _request_error,
            UnavailableError: _unavailable,
            HTTPException: _http_error,
            Exception: _fault,
        }
        return Starlette(
            routes=[
                *extra,
                *(Path(f"{model}/ready", self._model_ready) for model in models),
                *(Path(model, self._model) for model in models),
                *(Path(server, self._server) for server in ("/v2", "/v2/")),
                Path("/v2/health/live", self._live),
                Path("/v2/health/ready", self._ready),
                Path("/v2/repository/index", self._index, methods=["POST"]),
                Path("/metrics", self._metrics),
            ],
            exception_handlers=handlers,
        )


def _default(served: Served, http: HttpRequest) -> Version:
    """The version that the path names, or else what is live."""
    return served.named(http.path_params["version"]) if "version" in http.path_params else served.live()


def _error(text: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(protocol.encode_error(text), status, headers, media_type="application/json")


async def _request_error(_: HttpRequest, error: RequestError) -> Response:
    return _error(str(error), error.status)


async def _unavailable(_: HttpRequest, error: UnavailableError) -> Response:
    return _error(str(error), 503, {"Retry-After": "1"})


async def _http_error(http: HttpRequest, error: HTTPException) -> Response:
    text = f"{http.method} {brief(http.url.path)}: {error.detail}; see the Open Inference Protocol v2 for the paths"
    return _error(text, error.status_code, error.headers)


async def _fault(_: HttpRequest, error: Exception) -> Response:
    return _error(f"this is a fault of the gateway ({type(error).__name__}); its log says more", 500)
