"""The entries of one tensor as few bytes, without loss: what `storage` writes down for each tensor of a file.

The smallest of four forms is taken:

    raw      the bytes
    planes   the first bytes of all entries, then the second ones, ...: Huffman codes of each plane
    shared   a codebook of the values that occur, Huffman codes of their indices
    sparse   the number of zeros before each other entry in Huffman codes; these entries in one of the forms above

Entries are unsigned integers of their width, equal only where every bit is: NaNs keep their payload, -0.0 its sign.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import huffman

Words: TypeAlias = "npt.NDArray[np.unsignedinteger]"
Width: TypeAlias = "np.dtype[np.unsignedinteger]"

GAP_MAX = 255
"""So many zeros, and no entry after them: a gap of 600 is coded as 255, 255, 90."""


def encode(words: Words) -> bytes:
    """One byte that names the form, then the entries in it."""
    return min((coded for form in _FORMS if (coded := _encode(words, form)) is not None), key=len)


def decode(content: memoryview, count: int, width: Width) -> Words:
    """The `count` entries in `content`. Memory is taken only for what its bytes can stand for.

    Raises InvalidInputError where they do not give exactly so many.
    """
    if not len(content) or content[0] not in _FORMS:
        raise _damaged(f"a tensor's form is {bytes(content[:1])!r}; expected one of {sorted(_FORMS)}")
    words = _FORMS[content[0]][1](content[1:], count, width)
    if len(words) != count:
        raise _damaged(f"a tensor has {len(words)} entries; its header says {count}")
    return words


def _encode(words: Words, form: int) -> bytes | None:
    coded = _FORMS[form][0](words)
    return None if coded is None else bytes([form]) + coded


def _damaged(what: str) -> InvalidInputError:
    return InvalidInputError(f"{what}. The file is damaged; take another copy")


def _write_raw(words: Words) -> bytes:
    return words.tobytes()


def _read_raw(content: memoryview, count: int, width: Width) -> Words:
    if len(content) != count * width.itemsize:
        raise _damaged(f"{len(content)} bytes stand for {count} entries of {width.itemsize}")
    return np.frombuffer(content, width)


def _write_planes(words: Words) -> bytes | None:
    if not len(words):
        return None
    planes = words.view(np.uint8).reshape(len(words), -1).T
    return b"".join(huffman.encode(plane) for plane in planes)


def _read_planes(content: memoryview, count: int, width: Width) -> Words:
    planes = []
    for _ in range(width.itemsize):
        symbols, content = _read_symbols(content, below=256)
        if len(symbols) != count:
            raise _damaged(f"a plane of {len(symbols)} bytes stands for {count} entries")
        planes.append(symbols.astype(np.uint8))
    _require_end(content)
    return np.stack(planes, axis=1).view(width).ravel()


def _write_shared(words: Words) -> bytes | None:
    book, indices = np.unique(words, return_inverse=True)
    if not 0 < len(book) <= huffman.ALPHABET_MAX:
        return None
    return len(book).to_bytes(2, "little") + book.tobytes() + huffman.encode(indices)


def _read_shared(content: memoryview, count: int, width: Width) -> Words:
    length = int.from_bytes(content[:2], "little")
    end = 2 + length * width.itemsize
    if end > len(content):
        raise _damaged(f"a codebook of {length} values is announced in {len(content)} bytes")
    symbols, rest = _read_symbols(content[end:], below=length)
    _require_end(rest)
    words: Words = np.frombuffer(content[2:end], width)[symbols]
    return words


def _write_sparse(words: Words) -> bytes | None:
    places = np.flatnonzero(words)
    if len(places) == len(words):
        return None
    gaps = np.diff(places, prepend=-1, append=len(words)) - 1  # the last one is of the zeros after the last entry
    ends = np.cumsum(gaps // GAP_MAX + 1)
    steps = np.full(ends[-1], GAP_MAX)
    steps[ends - 1] = gaps % GAP_MAX
    values = [_encode(words[places], form) for form in _DENSE]
    return huffman.encode(steps) + min((coded for coded in values if coded is not None), key=len)


def _read_sparse(content: memoryview, count: int, width: Width) -> Words:
    steps, rest = _read_symbols(content, below=GAP_MAX + 1)
    zeros = np.cumsum(steps, dtype=np.int64)[steps < GAP_MAX]  # before each entry, and in all
    places = zeros[:-1] + np.arange(len(zeros) - 1)
    if not len(zeros) or steps[-1] == GAP_MAX or zeros[-1] + len(places) != count:
        raise _damaged(f"the gaps of a tensor do not lead to its {count} entries")
    if not len(rest) or rest[0] not in _DENSE:
        raise _damaged("the entries between gaps have gaps themselves, or no form")
    words = np.zeros(count, width)
    words[places] = decode(rest, len(places), width)
    return words


def _read_symbols(content: memoryview, *, below: int) -> tuple[huffman.Symbols, memoryview]:
    symbols, taken = huffman.decode(content)
    if len(symbols) and int(symbols.max()) >= below:
        raise _damaged(f"a symbol is {symbols.max()}; expected less than {below}")
    return symbols, content[taken:]


def _require_end(rest: memoryview) -> None:
    if len(rest):
        raise _damaged(f"{len(rest)} bytes follow the last code of a tensor")


_Form: TypeAlias = tuple[Callable[[Words], bytes | None], Callable[[memoryview, int, Width], Words]]
_FORMS: Mapping[int, _Form] = MappingProxyType(
    {
        0: (_write_raw, _read_raw),
        1: (_write_planes, _read_planes),
        2: (_write_shared, _read_shared),
        3: (_write_sparse, _read_sparse),
    }
)
_DENSE = (0, 1, 2)
