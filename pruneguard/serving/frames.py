"""What a worker tells its parent, as bytes: frames on a stream, without I/O.

    frame   = length of the rest (4 bytes, big endian) . length of the head (4 bytes) . head (JSON) . arrays
    head    = {"answers": [[field, ...], ...], "refusals": [[model, reason, count], ...],
               "failures": [[model, version, count], ...], "lost": count}

A field of an answer is a JSON value, or {"dtype", "shape"} of an array, whose bytes follow in order behind the head.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import orjson

from pruneguard.errors import IntegrityError
from pruneguard.serving.observing import Answer, Observer

FRAME_BYTES_MAX = 1 << 28
_LENGTHS = struct.Struct(">II")
_LENGTH = struct.Struct(">I")
LENGTH_BYTES = _LENGTH.size

_FIELDS = tuple(one.name for one in fields(Answer))
_TYPES = frozenset({"<f4", "<f8", "<i4", "<i8", "|u1"})


@dataclass(frozen=True, slots=True)
class Told:
    """What a frame holds: answers, refusals by model and reason, failures by model and version, and how many answers
    found no room."""

    answers: Sequence[Answer] = ()
    refusals: Mapping[tuple[str, str], int] = field(default_factory=dict)
    failures: Mapping[tuple[str, int], int] = field(default_factory=dict)
    lost: int = 0

    def tell(self, observer: Observer) -> None:
        for answer in self.answers:
            observer.answered(answer)
        for (model, reason), count in self.refusals.items():
            for _ in range(count):
                observer.refused(model, reason)
        for (model, version), count in self.failures.items():
            for _ in range(count):
                observer.failed(model, version)
        if self.lost:
            observer.lost(self.lost)


def pack(told: Told) -> bytes:
    """A whole frame."""
    arrays: list[bytes] = []
    answers = [[_packed(getattr(answer, name), arrays) for name in _FIELDS] for answer in told.answers]
    refusals, failures = ([[*key, count] for key, count in found.items()] for found in (told.refusals, told.failures))
    head = orjson.dumps({"answers": answers, "refusals": refusals, "failures": failures, "lost": told.lost})
    length = _LENGTH.size + len(head) + sum(map(len, arrays))
    return b"".join([_LENGTHS.pack(length, len(head)), head, *arrays])


def length(prefix: bytes) -> int:
    """How many bytes follow the first four. Raises IntegrityError where no worker of ours would send so many."""
    (found,) = _LENGTH.unpack(prefix)
    if not _LENGTH.size <= found <= FRAME_BYTES_MAX:
        raise IntegrityError(f"a worker announces a frame of {found} bytes; expected at most {FRAME_BYTES_MAX}")
    return int(found)


def unpack(rest: bytes) -> Told:
    """What follows the first four bytes. Raises IntegrityError where it is no frame."""
    try:
        (size,) = _LENGTH.unpack_from(rest)
        end = _LENGTH.size + size
        head = orjson.loads(rest[_LENGTH.size : end])
        answers = []
        for given in head["answers"]:
            values = []
            for value in given:
                found, end = _unpacked(value, rest, end)
                values.append(found)
            answers.append(Answer(**dict(zip(_FIELDS, values, strict=True))))
        refusals = {(model, reason): count for model, reason, count in head["refusals"]}
        failures = {(model, version): count for model, version, count in head["failures"]}
        if end != len(rest):
            raise ValueError(f"{len(rest) - end} bytes are left over")
        return Told(answers, refusals, failures, head["lost"])
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise IntegrityError(f"a worker sent no frame: {error}; are two versions of PruneGuard mixed?") from error


def _packed(value: Any, arrays: list[bytes]) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    arrays.append(value.tobytes())
    return {"dtype": value.dtype.str, "shape": value.shape}


def _unpacked(value: Any, rest: bytes, start: int) -> tuple[Any, int]:
    if not isinstance(value, dict):
        return value, start
    if value["dtype"] not in _TYPES:
        raise ValueError(f"an array of {value['dtype']!r}")
    dtype, shape = np.dtype(value["dtype"]), value["shape"]
    end = start + dtype.itemsize * math.prod(shape)
    return np.frombuffer(rest[start:end], dtype).reshape(shape), end
