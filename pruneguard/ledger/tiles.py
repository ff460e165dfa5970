"""C2SP tlog-tiles and tlog-proof: the files in which a log is served, so that foreign tools can check it.

https://c2sp.org/tlog-tiles (v0.1.0): tiles of 256 hashes at every eighth level of the tree, and bundles of 256 entries.
https://c2sp.org/tlog-proof: one entry's inclusion proof with the checkpoint it leads to.
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pruneguard.errors import InvalidInputError
from pruneguard.ledger import merkle

WIDTH = 1 << merkle.TILE_HEIGHT
ENTRY_BYTES_MAX = 65_535
_PROOF = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class Tile:
    """A row of hashes at tree level 8 * `level`, or with `level` None the entries below level 0."""

    level: int | None
    index: int
    width: int

    @property
    def path(self) -> str:
        """Where the tile lies below the log's address.

        >>> Tile(0, 1234067, 256).path
        'tile/0/x001/x234/067'
        >>> Tile(None, 0, 7).path
        'tile/entries/000.p/7'
        """
        digits = f"{self.index:d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        partial = f".p/{self.width}" if self.width < WIDTH else ""
        return f"tile/{'entries' if self.level is None else self.level}/{name}{partial}"

    @property
    def start(self) -> int:
        """Index of the first hash (on its tree level) or entry."""
        return self.index * WIDTH


def entry_bundles(size: int) -> Iterator[Tile]:
    """The bundles that hold the first `size` entries."""
    return _row(None, size)


def hash_tiles(size: int) -> Iterator[Tile]:
    """The tiles of the tree of `size` leaves, level by level."""
    level = 0
    while size:
        yield from _row(level, size)
        size, level = size // WIDTH, level + 1


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Entries, each after its length in two bytes. Raises InvalidInputError for one over 65,535 bytes."""
    if any(len(entry) > ENTRY_BYTES_MAX for entry in entries):
        raise InvalidInputError(f"an entry is longer than {ENTRY_BYTES_MAX} bytes; no tile can hold it")
    return b"".join(len(entry).to_bytes(2) + entry for entry in entries)


def decode_bundle(content: bytes) -> list[bytes]:
    """The entries of a bundle. Raises InvalidInputError, naming the byte, when a length leads past the end."""
    entries, at = [], 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 2])
        end = at + 2 + length
        if end > len(content):
            raise InvalidInputError(
                f"byte {at}: an entry of {length} bytes does not fit in the {len(content)} there are"
            )
        entries.append(content[at + 2 : end])
        at = end
    return entries


@dataclass(frozen=True, slots=True)
class Proof:
    """A `.tlog-proof` file: where an entry stands, its siblings up the tree, and the signed checkpoint."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        lines = [_PROOF, f"index {self.index}", *(base64.b64encode(value).decode() for value in self.hashes), "", ""]
        return "\n".join(lines).encode() + self.checkpoint

    @classmethod
    def decode(cls, content: bytes) -> "Proof":
        head, empty, checkpoint = content.partition(b"\n\n")
        try:
            kind, *lines = head.decode("ascii").split("\n")
            if lines and lines[0].startswith("extra "):
                lines = lines[1:]
            word, _, number = lines[0].partition(" ") if lines else ("", "", "")
            hashes = tuple(base64.b64decode(line, validate=True) for line in lines[1:])
        except (UnicodeDecodeError, binascii.Error) as error:
            raise InvalidInputError(f"not a tlog-proof: {error}") from error
        if kind != _PROOF or word != "index" or not number.isdigit() or not empty or any(len(h) != 32 for h in hashes):
            raise InvalidInputError(f"not a tlog-proof: expected {_PROOF!r}, an index, hashes and a checkpoint")
        return cls(int(number), hashes, checkpoint)


def _row(level: int | None, count: int) -> Iterator[Tile]:
    full, rest = divmod(count, WIDTH)
    yield from (Tile(level, index, WIDTH) for index in range(full))
    if rest:
        yield Tile(level, full, rest)
