"""Files and archives: which reader looks at them, and what makes them suspect before anybody reads."""

import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.contender import Contender
from pruneguard.evaluation.estimates import exact
from pruneguard.evaluation.security.unsafe_files import graphs, pickles, tensors
from pruneguard.evidence import Measurement

PICKLES = (".bin", ".ckpt", ".dill", ".joblib", ".p", ".pickle", ".pkl", ".pt", ".pth")
SUFFIXES = (*PICKLES, ".npy", ".npz", ".onnx", ".safetensors", ".zip")

_UNPACKED_MAX = 2**31
_NESTED_MAX = 3


@dataclass(frozen=True, slots=True, order=True)
class Threat:
    """Where something lies (`model.pt/archive/data.pkl`), and what is wrong with it."""

    where: str
    what: str


def measure(contender: Contender) -> dict[str, Measurement]:
    """`artifact.threats`: how many there are in the ONNX file. Costs no inference."""
    return {"artifact.threats": exact(len(threats(contender.onnx, "model.onnx")), n=1)}


def threats_below(folder: Path) -> tuple[Threat, ...]:
    """The threats of every model file under `folder`, links not followed. Raises InvalidInputError when it is none."""
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is no folder; name the one that the model's files lie in")
    found: list[Threat] = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES:
            continue
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found.append(Threat(name, "is a link; what it leads to was not looked at"))
        elif path.is_file():
            found += threats(path.read_bytes(), name)
    return tuple(found)


def threats(content: bytes, name: str) -> tuple[Threat, ...]:
    """Everything in a file that would run or reach out when it is loaded; `name` ends with what it claims to be."""
    return tuple(sorted(set(_threats(content, name, depth=0))))


def _threats(content: bytes, name: str, *, depth: int) -> Iterator[Threat]:
    suffix = PurePosixPath(name.lower()).suffix
    packed = content.startswith(b"PK")
    if packed or (suffix not in (".onnx", ".safetensors") and zipfile.is_zipfile(io.BytesIO(content))):
        yield from _archive(content, name, depth=depth)
        if packed:
            return
        yield Threat(name, "is an archive and something before it; which of the two is loaded depends on the loader")
    if content.startswith(b"\x93NUMPY"):
        found = _array(content)
    elif suffix == ".safetensors":
        found = tensors.objections(content)
    elif suffix == ".onnx":
        found = graphs.objections(content)
    elif suffix in PICKLES or content.startswith(b"\x80"):
        found = pickles.objections(content, surely=suffix != ".bin" or content.startswith(b"\x80"))
    else:
        found = iter(("is of no known kind",))
    yield from (Threat(name, what) for what in found)


def _archive(content: bytes, name: str, *, depth: int) -> Iterator[Threat]:
    if depth == _NESTED_MAX:
        yield Threat(name, f"lies {depth} archives deep; nothing below was looked at")
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if (size := sum(member.file_size for member in members)) > _UNPACKED_MAX:
                yield Threat(name, f"unpacks to {size} bytes; nothing in it was looked at")
                return
            for path, times in Counter(member.filename for member in members).items():
                if times > 1:
                    yield Threat(f"{name}/{path}", f"lies there {times} times; loaders differ in which they take")
            for member in members:
                yield from _member(archive, member, name, depth=depth)
    # All that zipfile raises of a broken, locked or oddly packed archive: told as a threat, never passed over.
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError, ValueError) as error:
        yield Threat(name, f"does not unpack: {error}; loaders may be less strict")


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, *, depth: int) -> Iterator[Threat]:
    where, suffix = f"{name}/{member.filename}", PurePosixPath(member.filename.lower()).suffix
    if graphs.leaves(member.filename):
        yield Threat(where, "would be unpacked outside its folder")
    if member.flag_bits & 1:
        yield Threat(where, "is encrypted and was not looked at")
    elif suffix == ".py":
        yield Threat(where, "is code that runs")
    elif suffix in SUFFIXES:
        yield from _threats(archive.read(member), where, depth=depth + 1)


def _array(content: bytes) -> Iterator[str]:
    kind = content[:256].partition(b"descr")[2].partition(b"fortran_order")[0]
    if not kind or b"O" in kind:
        yield "holds Python objects, which are unpickled when they are loaded"
