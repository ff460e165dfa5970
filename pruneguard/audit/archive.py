"""One tar for one content: sorted names, plain files, nothing that a machine or a moment adds.

The reader accepts exactly what the writer writes, so no byte of an archive is free: a changed header or padding is
refused as a changed file is, and links, devices, `..` and doubled names have no way to be spelled.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pruneguard import canonical
from pruneguard.errors import IntegrityError, InvalidInputError

BLOCK = 512
FILES_MAX = 500_000
FILE_BYTES_MAX = 64 * 1024**2  # a file is read into memory as a whole
BYTES_MAX = 16 * 1024**3
_OTHERS = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "compressed with gzip",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
}
_NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_ZERO = bytes(BLOCK)


class RefusedError(IntegrityError):
    """Something in an archive is not as it must be. `place` names where."""

    def __init__(self, place: str, detail: str) -> None:
        super().__init__(f"{place}: {detail}")
        self.place, self.detail = place, detail


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive: its content starts at byte `offset`."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A file that is to be written: its size and digest are known, its content is made when its turn comes."""

    size: int
    digest: str
    make: Callable[[], bytes]

    @classmethod
    def of(cls, content: bytes) -> "Piece":
        return cls(len(content), canonical.digest(content), lambda: content)

    def content(self) -> bytes:
        """Raises IntegrityError when what is made now is not what was counted on."""
        content = self.make()
        if (found := canonical.digest(content)) != self.digest:
            raise IntegrityError(f"a file changed while it was written: {found}, not {self.digest}; export again")
        return content


class Archive:
    """The files of an archive, read where they lie. Opening one checks every byte that is not a file's content."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.members = {member.name: member for member in _scan(file)}

    def read(self, name: str) -> bytes:
        """A file's content. Raises RefusedError when the archive has none of that name."""
        if (member := self.members.get(name)) is None:
            raise RefusedError(name, "this file is missing")
        self._file.seek(member.offset)
        return self._file.read(member.size)

    def place(self, name: str, start: int = 0, end: int | None = None) -> str:
        """Where bytes start..end-1 of a file lie in the archive, in words."""
        member = self.members[name]
        last = member.offset + (member.size if end is None else end)
        return f"{name}, bytes {member.offset + start} to {last - 1} of the archive"


def blocks(files: Mapping[str, Piece]) -> Iterator[bytes]:
    """The archive of these files, piece by piece."""
    for name in sorted(files):
        content = files[name].content()
        yield header(name, len(content))
        yield content
        yield bytes(-len(content) % BLOCK)
    yield 2 * _ZERO


def write(pieces: Iterable[bytes], out: Path) -> str:
    """Write an archive's pieces to a file and return the digest of the whole."""
    whole = hashlib.sha256()
    with out.open("wb") as file:
        for piece in pieces:
            file.write(piece)
            whole.update(piece)
    return f"sha256:{whole.hexdigest()}"


def header(name: str, size: int) -> bytes:
    """A POSIX ustar header: regular file, mode 644, owner 0, time 0. Raises InvalidInputError for an unsafe name."""
    if not _NAME.fullmatch(name) or len(name) > 100 or {".", ".."} & set(name.split("/")):
        raise InvalidInputError(f"{name[:120]!r} is not a name that an archive may hold")
    if not 0 <= size <= FILE_BYTES_MAX:
        raise InvalidInputError(f"{name} has {size} bytes; a file of an archive holds up to {FILE_BYTES_MAX}")
    number = b"0000000\x00"
    before = b"".join(
        (name.encode().ljust(100, b"\x00"), b"0000644\x00", 2 * number, b"%011o\x00" % size, b"0" * 11, b"\x00")
    )
    after = b"".join((b"0", bytes(100), b"ustar\x00", b"00", bytes(64), 2 * number, bytes(167)))
    checksum = sum(before) + sum(b" " * 8) + sum(after)
    return before + b"%06o\x00 " % checksum + after


def _scan(file: BinaryIO) -> Iterator[Member]:
    total = os.fstat(file.fileno()).st_size
    if total > BYTES_MAX:
        raise RefusedError("the archive", f"{total} bytes; at most {BYTES_MAX} are read")
    for magic, kind in _OTHERS.items():
        if _read(file, 0, min(len(magic), total)) == magic:
            raise RefusedError("byte 0", f"this is {kind}; expected the plain tar that an export writes")
    at, before, folded, folders = 0, "", set[str](), set[str]()
    while (block := _read(file, at)) != _ZERO:
        member = _member(block, at, total)
        if member.name <= before:
            raise RefusedError(f"byte {at}", f"{member.name} follows {before}; each name stands once, in order")
        if member.name.casefold() in folded or len(folded) == FILES_MAX:
            raise RefusedError(f"byte {at}", f"{member.name} differs from another only in case, or is one too many")
        folded.add(member.name.casefold())
        folders.update(_parents(member.name.casefold()))
        if member.name.casefold() in folders or not folded.isdisjoint(_parents(member.name.casefold())):
            raise RefusedError(f"byte {at}", f"{member.name} is a file where another is a folder")
        before, at = member.name, member.offset + member.size
        _require_zeros(file, at, -at % BLOCK, after=member.name)
        at += -at % BLOCK
        yield member
    _require_zeros(file, at, 2 * BLOCK, after="the last file")
    if total != at + 2 * BLOCK:
        raise RefusedError(f"byte {at + 2 * BLOCK}", f"{total - at - 2 * BLOCK} bytes follow the end of the archive")


def _member(block: bytes, at: int, total: int) -> Member:
    try:
        name, size = block[:100].rstrip(b"\x00").decode("ascii"), int(block[124:135], 8)
        expected = header(name, size)
    except (ValueError, InvalidInputError) as error:
        raise RefusedError(f"bytes {at} to {at + BLOCK - 1}", f"not a file's header: {error}") from error
    if block != expected:
        wrong = next(i for i in range(BLOCK) if block[i] != expected[i])
        raise RefusedError(
            f"byte {at + wrong}, in the header of {name}", f"found {block[wrong]:#04x}, expected {expected[wrong]:#04x}"
        )
    if size > total - at - BLOCK:
        raise RefusedError(
            f"byte {at + 124}, in the header of {name}", f"{size} bytes are announced, the file ends before"
        )
    return Member(name, at + BLOCK, size)


def _parents(name: str) -> Iterator[str]:
    while (slash := name.rfind("/")) > 0:
        name = name[:slash]
        yield name


def _require_zeros(file: BinaryIO, at: int, count: int, *, after: str) -> None:
    found = _read(file, at, count)
    if (wrong := next((at + i for i, byte in enumerate(found) if byte), None)) is not None:
        raise RefusedError(f"byte {wrong}, after the end of {after}", "found a byte; expected zeros")


def _read(file: BinaryIO, at: int, count: int = BLOCK) -> bytes:
    file.seek(at)
    found = file.read(count)
    if len(found) < count:
        raise RefusedError(f"byte {at + len(found)}", "the archive ends before its end mark")
    return found
