"""Where every weight of a pruned network came from, exactly enough to cut it out of the dense one again.

This file is what an auditor runs: it needs neither torch nor numpy.
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pruneguard import canonical
from pruneguard.errors import IntegrityError, InvalidInputError

KIND = "prune-lineage/v1"

Axis: TypeAlias = tuple[int, ...] | None
"""Indices kept along one dimension, in the order they stand in the pruned tensor; None keeps all of them."""


@dataclass(frozen=True, slots=True)
class Lineage(canonical.Document):
    """How a pruned network was cut from its dense twin, before any fine-tuning.

    `removed` is the decision: the output channels taken from each deciding layer. `kept` is its consequence: for each
    tensor of the network, the indices kept along each dimension. `dense` and `weights` are the digests of the
    safetensors bytes before and after the cut.
    """

    dense: str
    weights: str
    criterion: str
    ratio: float
    round_to: int
    seed: int
    removed: Mapping[str, tuple[int, ...]]
    kept: Mapping[str, tuple[Axis, ...]]
    method: str = "channels"

    @property
    def untouched(self) -> tuple[str, ...]:
        """Layers of which nothing was removed: no rule reaches them, or they are too narrow for `round_to`."""
        layers: dict[str, bool] = {}
        for name, axes in self.kept.items():
            layer = name.rpartition(".")[0]
            layers[layer] = layers.get(layer, True) and all(axis is None for axis in axes)
        return tuple(layer for layer, whole in layers.items() if whole)

    def to_document(self) -> dict[str, Any]:
        # One list of channels cuts many tensors (a convolution, its norm, its reader), so each list is written once.
        lists = {axis: None for axes in self.kept.values() for axis in axes if axis is not None}
        number = {axis: index for index, axis in enumerate(lists)}
        return {
            "kind": KIND,
            "method": self.method,
            "criterion": self.criterion,
            "ratio": self.ratio,
            "round_to": self.round_to,
            "seed": self.seed,
            "dense": self.dense,
            "weights": self.weights,
            "removed": {layer: list(channels) for layer, channels in self.removed.items()},
            "lists": [list(axis) for axis in lists],
            "kept": {name: [None if a is None else number[a] for a in axes] for name, axes in self.kept.items()},
        }

    @classmethod
    def decode(cls, content: bytes) -> "Lineage":
        with canonical.opened(content, KIND) as document:
            lists = [_indices(axis) for axis in document["lists"]]
            return cls(
                document["dense"],
                document["weights"],
                document["criterion"],
                document["ratio"],
                document["round_to"],
                document["seed"],
                {layer: _indices(channels) for layer, channels in document["removed"].items()},
                {name: tuple(None if a is None else lists[a] for a in axes) for name, axes in document["kept"].items()},
                document["method"],
            )


def recompute(dense_weights: bytes, lineage: Lineage) -> bytes:
    """The pruned network's weights before fine-tuning, cut out of the dense ones: safetensors in and out.

    Raises IntegrityError when the dense weights are not the ones the lineage names, do not have its tensors, or do not
    give the bytes it names.
    """
    if (found := canonical.digest(dense_weights)) != lineage.dense:
        raise IntegrityError(f"the dense weights are {found}; the lineage was made from {lineage.dense}")
    try:
        pruned = _cut(dense_weights, lineage.kept)
    except (InvalidInputError, KeyError, TypeError, ValueError, IndexError, struct.error) as error:
        raise IntegrityError(f"the lineage does not fit its dense weights: {type(error).__name__} {error}") from error
    if (found := canonical.digest(pruned)) != lineage.weights:
        raise IntegrityError(
            f"cutting the dense weights by this lineage gives {found}; it claims {lineage.weights}. "
            "Trust neither; find out which of the two was changed"
        )
    return pruned


def kept_axes(indices: Sequence[int], *, pruned: Sequence[int], dense: Sequence[int]) -> tuple[Axis, ...]:
    """Which indices of each dimension survived, read off the flat indices that did.

    `indices` are the flat positions in a tensor of shape `dense` that a tensor of shape `pruned` now holds, row by row.
    Raises IntegrityError unless they are exactly the grid of some indices per dimension.

    >>> kept_axes([1, 2, 7, 8], pruned=(2, 2), dense=(3, 3))
    ((0, 2), (1, 2))
    """
    steps = [math.prod(pruned[k + 1 :]) for k in range(len(pruned))]
    strides = [math.prod(dense[k + 1 :]) for k in range(len(dense))]
    axes = [
        [indices[i * step] // stride % size for i in range(width)]
        for width, step, stride, size in zip(pruned, steps, strides, dense, strict=True)
    ]
    if list(indices) != _grid(axes, dense):
        raise IntegrityError(
            f"the pruned tensor of shape {tuple(pruned)} is no grid of indices of its dense one, {tuple(dense)}"
        )
    return tuple(None if axis == list(range(size)) else tuple(axis) for axis, size in zip(axes, dense, strict=True))


def _grid(axes: Sequence[Sequence[int]], shape: Sequence[int]) -> list[int]:
    """Flat indices, row by row, of the outer product of one index list per dimension."""
    flat = [0]
    for axis, size in zip(axes, shape, strict=True):
        flat = [base * size + index for base in flat for index in axis]
    return flat


def _cut(dense: bytes, kept: Mapping[str, tuple[Axis, ...]]) -> bytes:
    """Safetensors: eight bytes of header length, a JSON header padded by spaces to eight bytes, then the tensors."""
    (length,) = struct.unpack_from("<Q", dense)
    header, body = canonical.decode(dense[8 : 8 + length]), memoryview(dense)[8 + length :]
    if header.keys() != kept.keys():
        raise ValueError(f"tensors {sorted(header.keys() ^ kept.keys())} stand in one of the two only")
    chunks, position = [], 0
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        chunk, entry["shape"] = _gather(body[start:end], entry["shape"], kept[name])
        entry["data_offsets"] = [position, position + len(chunk)]
        position += len(chunk)
        chunks.append(chunk)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *chunks])


def _gather(data: memoryview, shape: Sequence[int], kept: Sequence[Axis]) -> tuple[bytes, list[int]]:
    """The entries of one tensor that are kept, and the shape they have; an item's size follows from `shape`."""
    if math.prod(shape) > len(data):
        raise ValueError(f"{len(data)} bytes are too few for a tensor of shape {shape}")
    for axis, size in zip(kept, shape, strict=True):
        if axis is not None and (len(set(axis)) < len(axis) or not all(0 <= index < size for index in axis)):
            raise IndexError(f"{list(axis)} are no distinct indices into a dimension of {size}")
    whole = len(shape)  # trailing dimensions that are kept whole move as one block
    while whole and kept[whole - 1] is None:
        whole -= 1
    axes = [range(size) if axis is None else axis for axis, size in zip(kept, shape, strict=True)]
    step = len(data) // max(1, math.prod(shape[:whole]))
    blocks = [data[flat * step : (flat + 1) * step] for flat in _grid(axes[:whole], shape[:whole])]
    return b"".join(blocks), [len(axis) for axis in axes]


def _indices(values: Sequence[Any]) -> tuple[int, ...]:
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        raise TypeError(f"channels are whole numbers; found {values!r}")
    return tuple(values)
