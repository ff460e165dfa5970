"""Observations that a device kept: taken in where their chain is whole and goes on from what came before.

1. What was exported is a release of this ledger.
2. Every line is what the runner writes about that export, and names the line before by its digest.
3. The first file goes on where the last one that was taken in ended: one that is missing between is seen.
4. Each file is kept under the digest of its bytes, and the chain of them beside it.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pruneguard import canonical, files
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.ledger.shapes import is_digest, is_name, is_time
from pruneguard.ledger.state import Release, State
from pruneguard.releases import find_release

_LINE = {"time", "input", "answer", "before"}
_FIRST = {"release", "device", "before"}


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of observations. `before` is the digest of the line before its first, empty for none."""

    digest: str
    release: str
    device: str
    before: str
    last: str
    rows: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What came in: rows that were not there before, of which devices, and how many files brought nothing new."""

    release: Release
    rows: int
    devices: tuple[str, ...]
    known: int


def exported(state: State, about: bytes) -> Release:
    """The release that an export's release.json is about. Raises InvalidInputError where this ledger has none such."""
    try:
        told = json.loads(about)
        model, number, digest = told["model"], told["number"], told["digest"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise InvalidInputError(f"release.json is not what an export writes: {error}") from error
    release = find_release(state, model=model, number=number)
    if release.digest != digest:
        raise InvalidInputError(f"{model} {number} is {release.digest} here, and {digest} was exported")
    return release


def read(path: Path) -> tuple[Segment, bytes]:
    """A file of observations. Raises InvalidInputError for what is none, IntegrityError where its chain is broken."""
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        raise InvalidInputError(f"{path}: its last line has no end; fetch it again, the device was writing it")
    raw = content.splitlines()
    first = _line(path, 1, raw[0])
    if first.keys() != _FIRST or not is_digest(first["release"]) or not is_name(first["device"]):
        raise InvalidInputError(f"{path}: line 1 does not say which export answered on which device")
    last, width = canonical.digest(raw[0]), 0
    for number, line in enumerate(raw[1:], 2):
        told = _line(path, number, line)
        width = width or _width(told.get("answer"))
        if not _is_observation(told, width):
            raise InvalidInputError(f"{path}: line {number} is no observation: {line[:80]!r}")
        if told["before"] != last:
            raise IntegrityError(
                f"{path}: line {number} follows {told['before']!r:.80}, and the line before it is {last}; lines were "
                "changed, taken out or put in between"
            )
        last = canonical.digest(line)
    segment = Segment(canonical.digest(content), first["release"], first["device"], first["before"], last, len(raw) - 1)
    return segment, content


def collect(folder: Path, state: State, about: bytes, given: Sequence[Path]) -> Taken:
    """Take files of one export into `folder`, in the order of their names. A file may come again when it has grown.

    Raises IntegrityError where a file between is missing or another one lies in its place; then nothing is taken in.
    """
    release, export = exported(state, about), canonical.digest(about)
    home = folder / release.model / str(release.number) / export.removeprefix("sha256:")
    chains: dict[str, list[Segment]] = {}
    contents: dict[str, bytes] = {}
    rows = known = 0
    for path in sorted(given):
        segment, content = read(path)
        if segment.release != export:
            raise InvalidInputError(f"{path}: it is about the export {segment.release}, and this one is {export}")
        chain = chains.setdefault(segment.device, _chain(home / segment.device))
        if segment in chain:
            known += 1
            continue
        if chain and segment.before == chain[-1].before and _has_grown(home / segment.device, chain[-1], content):
            rows -= chain.pop().rows
        if segment.before != (expected := chain[-1].last if chain else ""):
            raise IntegrityError(
                f"{path}: it goes on from {segment.before or 'nothing'}; what came from {segment.device!r} before ends "
                f"with {expected or 'nothing'}. A file between is missing, or the device began anew"
            )
        rows += segment.rows
        chain.append(segment)
        contents[segment.digest] = content
    for device, chain in chains.items():
        for segment in chain:
            if segment.digest in contents:
                with files.appearing(_file(home / device, segment), replace=True) as partial:
                    partial.write_bytes(contents[segment.digest])
        with files.appearing(home / device / "chain.json", replace=True) as partial:
            partial.write_text(json.dumps([asdict(segment) for segment in chain], indent=1), encoding="utf-8")
    return Taken(release, rows, tuple(chains), known)


def _chain(home: Path) -> list[Segment]:
    """What was taken in from a device so far, in order."""
    path = home / "chain.json"
    return [Segment(**told) for told in json.loads(path.read_bytes())] if path.exists() else []


def _has_grown(home: Path, before: Segment, content: bytes) -> bool:
    return content.startswith(_file(home, before).read_bytes())


def _file(home: Path, segment: Segment) -> Path:
    return home / f"{segment.digest.removeprefix('sha256:')}.jsonl"


def _line(path: Path, number: int, raw: bytes) -> dict[str, Any]:
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path}: line {number} is not JSON: {error}") from error
    if not isinstance(told, dict) or not isinstance(told.get("before"), str):
        raise InvalidInputError(f"{path}: line {number} names no line before it")
    return told


def _width(answer: Any) -> int:
    return len(answer) if isinstance(answer, list) else 0


def _is_observation(told: dict[str, Any], width: int) -> bool:
    if told.keys() != _LINE or not is_time(told["time"]) or not is_digest(told["input"]) or not width:
        return False
    answer = told["answer"]
    return _width(answer) == width and all(type(value) in (int, float) and math.isfinite(value) for value in answer)
