"""`POST` and `GET /v2/models/{name}/labels`: what turned out to be true of answers that were given.

    POST {"labels": [{"id": "r-17", "label": 3},
                     {"id": "r-18", "row": 2, "label": 0, "time": 1763700000.5}]}
    200  {"model_name": "digits", "accepted": 2, "corrected": 0, "duplicates": 0}

`id` is the request's, as the answer repeated it, `row` a row of its batch (0 where it is left out), `label` the class
from 0 or the value. `time`, in seconds since 1970, is when it was found out: of two that disagree the later holds. An
answer with 200 is a promise: the labels are on disk. The same request again is no harm, and anything else stored none.
"""

import asyncio
import json
import math
import time
from collections.abc import Callable, Collection
from reprlib import repr as brief
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pruneguard.errors import PruneGuardError
from pruneguard.serving.labelstore import Label, Labels
from pruneguard.serving.protocol import ID_CHARACTERS_MAX, RequestError, decompress, encode_error

LABELS_MAX = 1_000
BYTES_MAX = 500_000
WRITING_MAX = 16
"""Requests that wait for the disk at a time; more get 429."""
BODY_SECONDS_MAX = 30.0
AHEAD_SECONDS_MAX = 86_400.0
"""How far a stated time may lie ahead of this machine's: a label from the far future could never be corrected."""
ROW_MAX = 1_000_000


def routes(labels: Labels, *, models: Callable[[], Collection[str]]) -> list[Route]:
    """The routes, for an app; `models` names what is served now, and labels of anything else get 404."""
    endpoint = _Endpoint(labels, models)
    path = "/v2/models/{name}/labels"
    return [Route(path, endpoint.give, methods=["POST"]), Route(path, endpoint.count, methods=["GET"])]


def read(body: bytes, *, now: float) -> list[Label]:
    """The labels of a request. Raises RequestError naming the first that is not one."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the request is not JSON: {error}; send an object with `labels`") from error
    given = document.get("labels") if isinstance(document, dict) else None
    if not isinstance(given, list) or not 1 <= len(given) <= LABELS_MAX:
        raise RequestError(f"`labels` is {brief(given)}; expected a list of 1 to {LABELS_MAX} objects")
    return [_label(each, f"label {index}", now) for index, each in enumerate(given)]


class _Endpoint:
    def __init__(self, labels: Labels, models: Callable[[], Collection[str]]) -> None:
        self._labels = labels
        self._models = models
        self._writing = 0

    async def give(self, http: Request) -> Response:
        if self._writing >= WRITING_MAX:
            text = f"{self._writing} requests wait for the disk, which is the limit; repeat this one in a second"
            return _refused(text, 429)
        self._writing += 1
        try:
            model = self._model(http)
            given = read(await _body(http), now=time.time())
            done = await asyncio.to_thread(self._labels.add, model, given)
        except RequestError as error:
            return _refused(str(error), error.status)
        except PruneGuardError as error:
            return _refused(f"none of these labels was stored: {error}", 503)
        finally:
            self._writing -= 1
        counted = {"accepted": done.accepted, "corrected": done.corrected, "duplicates": done.duplicates}
        return JSONResponse({"model_name": model, **counted})

    async def count(self, http: Request) -> Response:
        try:
            model = self._model(http)
            return JSONResponse({"model_name": model, **await asyncio.to_thread(self._labels.counts, model)})
        except RequestError as error:
            return _refused(str(error), error.status)
        except PruneGuardError as error:
            return _refused(f"the labels cannot be counted: {error}", 503)

    def _model(self, http: Request) -> str:
        name: str = http.path_params["name"]
        if name not in (known := self._models()):
            raise RequestError(f"no model {brief(name)} is served here; there are {sorted(known)}", status=404)
        return name


async def _body(http: Request) -> bytes:
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            async for part in http.stream():
                size += len(part)
                if size > BYTES_MAX:
                    raise _too_large()
                parts.append(part)
    except TimeoutError as error:
        raise RequestError(
            f"the body did not arrive within {BODY_SECONDS_MAX:g} s; send it again", status=408
        ) from error
    except ClientDisconnect as error:
        raise RequestError("the client went away before its request was whole") from error
    encoding = http.headers.get("Content-Encoding", "").strip().lower()
    try:
        return decompress(b"".join(parts), encoding=encoding, bytes_max=BYTES_MAX)
    except RequestError as error:
        raise _too_large() if error.status == 413 else error from None


def _too_large() -> RequestError:
    return RequestError(f"the labels take more than {BYTES_MAX} bytes, uncompressed; send fewer at a time", status=413)


def _label(given: Any, place: str, now: float) -> Label:
    if not isinstance(given, dict):
        raise RequestError(f"{place} is {brief(given)}; expected an object with `id` and `label`")
    if unknown := given.keys() - {"id", "row", "label", "time"}:
        raise RequestError(f"{place} has {brief(sorted(unknown))}; expected `id`, `label`, and maybe `row` and `time`")
    request_id, row, stated = given.get("id"), given.get("row", 0), given.get("time")
    if not isinstance(request_id, str) or not 1 <= len(request_id) <= ID_CHARACTERS_MAX or not request_id.isprintable():
        raise RequestError(f"{place}: id is {brief(request_id)}; expected the `id` of an answer")
    if type(row) is not int or not 0 <= row < ROW_MAX:
        raise RequestError(f"{place}: row is {brief(row)}; expected a row of the request's batch, from 0")
    if stated is not None and not 0 <= (stated := _number(stated, place, "time")) <= now + AHEAD_SECONDS_MAX:
        raise RequestError(f"{place}: time is {stated:.15g}; expected seconds since 1970, not a day ahead of {now:.0f}")
    return Label(request_id, _number(given.get("label"), place, "label"), row, stated)


def _number(given: object, place: str, name: str) -> float:
    """A finite number that a double holds."""
    if type(given) in (int, float):
        try:
            if math.isfinite(found := float(given)):  # type: ignore[arg-type]  # a number, as was just seen
                return found
        except OverflowError:
            pass
    raise RequestError(f"{place}: {name} is {brief(given)}; expected a finite number")


def _refused(text: str, status: int) -> Response:
    headers = {"Retry-After": "1"} if status in (429, 503) else {}
    return Response(encode_error(text), status, headers, media_type="application/json")
