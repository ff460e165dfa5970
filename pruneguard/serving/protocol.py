"""Open Inference Protocol v2 over REST, both ways, without I/O.

Follows the REST document of github.com/kserve/open-inference-protocol, and the binary tensor data extension: tensors
lie behind the JSON, whose length stands in the header `Inference-Header-Content-Length`. A model has one FP32 input
and one FP32 output, batch first.
"""

import math
import secrets
import zlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from reprlib import repr as brief  # what a client sent is quoted, and never at full length
from typing import Any

import numpy as np
import orjson

from pruneguard.errors import InvalidInputError
from pruneguard.workload import Floats

JSON_LENGTH = "Inference-Header-Content-Length"
DATATYPE = "FP32"
ID_CHARACTERS_MAX = 256
_DRAWN: deque[str] = deque()
LARGE_BYTES = 262_144
"""To parse a larger body takes milliseconds."""

COMPRESSED_BYTES_MIN = 16_384
"""Below this, what compression saves on the wire is less than the time it takes."""

# These change what a tensor means; to overlook one would answer another question than was asked.
_REFUSED = ("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size", "classification")


class RequestError(InvalidInputError):
    """A request that cannot be answered, with the HTTP status that says so."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A model's input or output: its name, and its shape without the batch, -1 where any size will do."""

    name: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name!r} {DATATYPE} {[-1, *self.shape]}"

    def to_document(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": DATATYPE, "shape": [-1, *self.shape]}


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose tensors were not looked at yet: the model that it goes to says what they must be."""

    id: str
    document: Mapping[str, Any]
    binary: bytes
    large: bool = False  # to look at them takes milliseconds


def decompress(body: bytes, *, encoding: str, bytes_max: int) -> bytes:
    """A body as its `Content-Encoding` says (gzip, deflate or identity), and never more than `bytes_max` of it."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise RequestError(f"Content-Encoding {brief(encoding)}; expected gzip, deflate or identity", status=415)
    inflater = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # 32: by the first bytes, gzip or zlib
    try:
        content = inflater.decompress(body, bytes_max + 1)
    except zlib.error as error:
        raise RequestError(f"the body is not {encoding}, which its Content-Encoding says: {error}") from error
    if len(content) > bytes_max:
        raise too_large(bytes_max)
    if not inflater.eof or inflater.unused_data:
        found = "stops before its end" if not inflater.eof else f"is followed by {len(inflater.unused_data)} bytes"
        raise RequestError(f"the {encoding} stream {found}; send one whole stream")
    return content


def too_large(bytes_max: int) -> RequestError:
    return RequestError(
        f"the body is larger than {bytes_max} bytes, uncompressed; send a smaller batch, or raise "
        "PRUNEGUARD_REQUEST_BYTES_MAX",
        status=413,
    )


def read(body: bytes, *, json_length: str | None) -> Request:
    """The JSON of a request and the bytes behind it; `json_length` is the header of the binary extension."""
    length = len(body) if json_length is None else _length(json_length, len(body))
    try:
        document = orjson.loads(body if length == len(body) else body[:length])
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the request is not JSON: {error}; send an object with `inputs`") from error
    if not isinstance(document, dict):
        raise RequestError(f"the request is {_kind(document)}; expected an object with `inputs`")
    _parameters(document, "the request")
    binary = body[length:] if length < len(body) else b""
    return Request(_identifier(document.get("id")), document, binary, large=len(body) > LARGE_BYTES)


def tensor(request: Request, spec: TensorSpec, *, rows_max: int) -> Floats:
    """The request's one input as float32 [n, *spec.shape], finite. Raises RequestError naming what does not fit."""
    given = _named(request.document.get("inputs"), "inputs")
    names = [found.get("name") for found in given]
    if spec.name not in names:
        raise RequestError(f"the input {spec} is missing; found {brief(names)}")
    if len(names) > 1:
        raise RequestError(f"found the inputs {brief(names)}; expected {spec}, once, and no other")
    place, found = f"input {spec.name!r}", given[0]
    if found.get("datatype") != DATATYPE:
        raise RequestError(f"{place}: datatype {brief(found.get('datatype'))}; expected {DATATYPE}")
    shape = _shape(found.get("shape"), spec, place, rows_max)
    size = _parameters(found, place).get("binary_data_size")
    if size is None:
        if request.binary:
            raise RequestError(f"{place}: no binary_data_size, but {len(request.binary)} bytes follow the JSON")
        values = _from_json(found.get("data"), shape, place)
    else:
        if "data" in found:
            raise RequestError(f"{place}: both data and binary_data_size; send one of them")
        values = _from_binary(request.binary, size, shape, place)
    if not np.isfinite(values).all():
        first = int(np.flatnonzero(~np.isfinite(values))[0])
        raise RequestError(f"{place}: element {first} is {values[first]}; expected finite {DATATYPE} numbers")
    return values.reshape(shape)


def wants_binary(request: Request, spec: TensorSpec) -> bool:
    """Whether the output is wanted as bytes. Raises RequestError for an output that the model does not have."""
    default = _flag(_parameters(request.document, "the request"), "binary_data_output", False, "the request")
    wanted = request.document.get("outputs")
    if wanted is None or wanted == []:
        return default
    given = _named(wanted, "outputs")
    names = [found.get("name") for found in given]
    if names != [spec.name]:
        raise RequestError(f"the outputs {brief(names)} are wanted; the model has one, {spec}")
    place = f"output {spec.name!r}"
    return _flag(_parameters(given[0], place), "binary_data", default, place)


def encode(
    values: Floats, spec: TensorSpec, *, model: str, version: int, request_id: str, binary: bool
) -> tuple[bytes, dict[str, str]]:
    """The body of an answer and its headers. `values` are finite float32 [n, *spec.shape].

    JSON holds each number with as many digits as tell it from every other float32.
    """
    output: dict[str, Any] = {"name": spec.name, "datatype": DATATYPE, "shape": values.shape}
    document = {"model_name": model, "model_version": str(version), "id": request_id, "outputs": [output]}
    if not binary:
        output["data"] = np.ascontiguousarray(values).ravel()
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY), {"Content-Type": "application/json"}
    content = values.astype("<f4", copy=False).tobytes()
    output["parameters"] = {"binary_data_size": len(content)}
    head = orjson.dumps(document)
    return head + content, {"Content-Type": "application/octet-stream", JSON_LENGTH: str(len(head))}


def compress(content: bytes, *, accepted: str) -> tuple[bytes, dict[str, str]]:
    """A body as the client's `Accept-Encoding` allows, where that saves more than it costs, and its headers.

    >>> compress(b"short", accepted="gzip")
    (b'short', {})
    """
    if not accepted or len(content) < COMPRESSED_BYTES_MIN:
        return content, {}
    named = (one.partition(";") for one in accepted.lower().replace(" ", "").split(","))
    offered = {name for name, _, weight in named if weight.rstrip("0.") != "q="}  # a weight of 0 is a no
    for name, wbits in (("gzip", 16 + zlib.MAX_WBITS), ("deflate", zlib.MAX_WBITS)):
        if name in offered or "*" in offered:
            deflater = zlib.compressobj(level=1, wbits=wbits)
            packed = deflater.compress(content) + deflater.flush()
            return packed, {"Content-Encoding": name, "Vary": "Accept-Encoding"}
    return content, {}


def encode_error(message: str) -> bytes:
    """The protocol's error document.

    >>> encode_error("no such model")
    b'{"error":"no such model"}'
    """
    return orjson.dumps({"error": message.encode("utf-8", "backslashreplace").decode()})


def _length(text: str, size: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= size):
        raise RequestError(f"{JSON_LENGTH}: {brief(text)}; expected the JSON's length, at most the body's {size} bytes")
    return int(text)


def _identifier(given: object) -> str:
    if given is None or given == "":
        return _fresh()
    if not isinstance(given, str) or len(given) > ID_CHARACTERS_MAX or not given.isprintable():
        raise RequestError(f"id: {brief(given)}; expected text of at most {ID_CHARACTERS_MAX} printable characters")
    return given


def _fresh() -> str:
    """128 random bits, drawn many at a time: a system call for each is a twentieth of an answer. For any thread."""
    try:
        return _DRAWN.pop()
    except IndexError:
        drawn = secrets.token_hex(16 * 256)
        _DRAWN.extend(drawn[at : at + 32] for at in range(32, len(drawn), 32))
        return drawn[:32]


def _named(given: object, key: str) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise RequestError(f"`{key}` is {brief(given)}; expected a list of tensors, each an object with a name")
    return given


def _parameters(holder: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    found = holder.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise RequestError(f"{place}: parameters are {_kind(found)}; expected an object")
    if refused := [name for name in _REFUSED if name in found]:
        raise RequestError(f"{place}: the parameters {refused} are not supported; send the values in the request")
    return found


def _flag(parameters: Mapping[str, Any], name: str, default: bool, place: str) -> bool:
    found = parameters.get(name, default)
    if not isinstance(found, bool):
        raise RequestError(f"{place}: {name} is {brief(found)}; expected true or false")
    return found


def _shape(found: object, spec: TensorSpec, place: str, rows_max: int) -> tuple[int, ...]:
    expected = [-1, *spec.shape]
    if not isinstance(found, list) or not all(type(size) is int for size in found) or len(found) != len(expected):
        raise RequestError(f"{place}: shape {brief(found)}; expected {len(expected)} whole numbers, {expected}")
    if any(size != want if want != -1 else size < 1 for size, want in zip(found[1:], spec.shape, strict=True)):
        raise RequestError(f"{place}: shape {brief(found)}; expected {expected}, where -1 is any size from 1")
    if not 1 <= found[0] <= rows_max:
        raise RequestError(
            f"{place}: a batch of {brief(found[0])} rows; expected 1 to {rows_max}, send several requests"
        )
    return tuple(found)


def _from_json(data: object, shape: tuple[int, ...], place: str) -> Floats:
    """Numbers out of a flat or evenly nested list, row by row."""
    if not isinstance(data, list):
        raise RequestError(f"{place}: data is {_kind(data)}; expected a list of numbers")
    flat: list[Any] = data
    nest = [len(flat)]
    while flat and isinstance(flat[0], list):
        nest.append(len(flat[0]))
        if not all(isinstance(item, list) and len(item) == nest[-1] for item in flat):
            raise RequestError(f"{place}: data is nested unevenly; send a flat list, or nest it as its shape says")
        flat = list(chain.from_iterable(flat))
    if nest[:-1] != list(shape[: len(nest) - 1]):  # [[1, 2], [3, 4], [5, 6]] is not of the shape [2, 3]
        raise RequestError(f"{place}: data is nested as {brief(nest)}; expected {list(shape)}")
    _require_count(len(flat), shape, place)
    if strange := set(map(type, flat)) - {int, float}:
        names = sorted(kind.__name__ for kind in strange)
        raise RequestError(f"{place}: data holds {', '.join(names)}; expected numbers only")
    with np.errstate(over="ignore"):  # what does not fit a float32 becomes an infinity, which is refused
        return np.asarray(flat, dtype=np.float64).astype(np.float32)


def _from_binary(content: bytes, size: object, shape: tuple[int, ...], place: str) -> Floats:
    if type(size) is not int or size < 0:
        raise RequestError(f"{place}: binary_data_size is {brief(size)}; expected a number of bytes")
    if size != len(content):
        raise RequestError(f"{place}: binary_data_size is {size}, but {len(content)} bytes follow the JSON")
    if size % 4:
        raise RequestError(f"{place}: {size} bytes; expected 4 for each {DATATYPE} number")
    _require_count(size // 4, shape, place)
    return np.frombuffer(content, dtype="<f4").astype(np.float32)  # a copy of its own: aligned and writable


def _require_count(count: int, shape: tuple[int, ...], place: str) -> None:
    if count != (expected := math.prod(shape)):
        raise RequestError(f"{place}: {count} values; expected {expected} for the shape {list(shape)}")


def _kind(value: object) -> str:
    """What a JSON value is, in JSON's words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
