"""Where every weight of a pruned network came from, exactly enough to make it out of the dense one again.

An auditor reads these without torch or numpy; `recomputing.py` beside it does what they say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import Any, TypeAlias

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.pruning.tensors import DIMENSIONS_MAX

KIND = "prune-lineage/v1"
DOCUMENT_BYTES_MAX = 64 * 1024**2

Axis: TypeAlias = tuple[int, ...] | None
"""Indices kept along one dimension, in the order they stand in the pruned tensor; None keeps all of them."""


class Method(StrEnum):
    """What pruning takes away."""

    CHANNELS = "channels"  # whole channels: the network becomes narrower
    MAGNITUDE = "magnitude"  # single weights become zero: the network keeps its shape

    @property
    def parts(self) -> str:
        """What a ratio counts."""
        return "channels" if self is Method.CHANNELS else "weights"


@dataclass(frozen=True, slots=True)
class Lineage(canonical.Document):
    """How a narrower network was cut from its dense twin, before any fine-tuning.

    `removed` is the decision: the output channels taken from each deciding layer. `kept` is its consequence: for each
    tensor of the network, whose dense shape is in `shapes`, the indices kept along each dimension. `dense` and
    `weights` are the digests of the safetensors bytes before and after the cut.
    """

    dense: str
    weights: str
    criterion: str
    ratio: float
    round_to: int
    seed: int
    removed: Mapping[str, tuple[int, ...]]
    shapes: Mapping[str, tuple[int, ...]]
    kept: Mapping[str, tuple[Axis, ...]]

    method = Method.CHANNELS

    @property
    def pruned_shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            name: tuple(size if axis is None else len(axis) for axis, size in zip(axes, self.shapes[name], strict=True))
            for name, axes in self.kept.items()
        }

    @property
    def sparsity(self) -> float:
        """Share of the dense network's entries that are gone."""
        return 1 - sum(map(prod, self.pruned_shapes.values())) / max(1, sum(map(prod, self.shapes.values())))

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
        # In the order of the names, as a reader finds them: another order would be another spelling.
        lists = {axis: None for name in sorted(self.kept) for axis in self.kept[name] if axis is not None}
        number = {axis: index for index, axis in enumerate(lists)}
        return {
            "kind": KIND,
            "method": self.method.value,
            "criterion": self.criterion,
            "ratio": self.ratio,
            "round_to": self.round_to,
            "seed": self.seed,
            "dense": self.dense,
            "weights": self.weights,
            "removed": {layer: list(channels) for layer, channels in self.removed.items()},
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "lists": [list(axis) for axis in lists],
            "kept": {name: [None if a is None else number[a] for a in axes] for name, axes in self.kept.items()},
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Lineage":
        lists = [_whole(axis) for axis in document["lists"]]
        return cls(
            document["dense"],
            document["weights"],
            document["criterion"],
            document["ratio"],
            document["round_to"],
            document["seed"],
            {layer: _whole(channels) for layer, channels in document["removed"].items()},
            {name: _shape(shape) for name, shape in document["shapes"].items()},
            {name: tuple(None if a is None else lists[a] for a in axes) for name, axes in document["kept"].items()},
        )


@dataclass(frozen=True, slots=True)
class Mask:
    """Which entries of one tensor stay: `digest` is that of its packed bits, `kept` says how many are ones."""

    digest: str
    shape: tuple[int, ...]
    kept: int


@dataclass(frozen=True, slots=True)
class MaskLineage(canonical.Document):
    """Which single weights of a dense network became zero, before any fine-tuning.

    `stored` is the digest of the masks' file: safetensors, for each masked tensor one of type U8 under its name, whose
    bits, the highest of a byte first, stand for the entries row by row. A one is kept; spare bits at the end are zero.
    `scope` is `global` when all weights were ranked together, `layer` when each tensor lost the same share.
    """

    dense: str
    weights: str
    criterion: str
    scope: str
    ratio: float
    seed: int
    stored: str
    masks: Mapping[str, Mask]

    method = Method.MAGNITUDE

    @property
    def sparsity(self) -> float:
        """Share of the entries of masked tensors that are zero."""
        return 1 - sum(mask.kept for mask in self.masks.values()) / max(
            1, sum(prod(m.shape) for m in self.masks.values())
        )

    def to_document(self) -> dict[str, Any]:
        return {
            "kind": KIND,
            "method": self.method.value,
            "criterion": self.criterion,
            "scope": self.scope,
            "ratio": self.ratio,
            "seed": self.seed,
            "dense": self.dense,
            "weights": self.weights,
            "stored": self.stored,
            "masks": {
                name: {"digest": mask.digest, "shape": list(mask.shape), "kept": mask.kept}
                for name, mask in self.masks.items()
            },
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "MaskLineage":
        return cls(
            document["dense"],
            document["weights"],
            document["criterion"],
            str(document["scope"]),
            document["ratio"],
            document["seed"],
            str(document["stored"]),
            {
                name: Mask(str(m["digest"]), _shape(m["shape"]), *_whole([m["kept"]]))
                for name, m in document["masks"].items()
            },
        )


def decode(content: bytes) -> Lineage | MaskLineage:
    """A lineage out of its bytes. Raises InvalidInputError for any others than `encode` makes."""
    if len(content) > DOCUMENT_BYTES_MAX:
        raise InvalidInputError(f"a lineage of {len(content)} bytes; at most {DOCUMENT_BYTES_MAX} are read")
    with canonical.opened(content, KIND) as document:
        if not all(isinstance(document[name], str) for name in ("dense", "weights", "criterion")):
            raise TypeError("a digest or the criterion is no text")
        found = (Lineage if Method(document["method"]) is Method.CHANNELS else MaskLineage).of(document)
        if found.encode() != content:
            raise InvalidInputError("this lineage is not in the one form it can have; nobody may write it in another")
    return found


def _whole(values: Sequence[Any]) -> tuple[int, ...]:
    if not all(type(value) is int and value >= 0 for value in values):
        raise TypeError(f"channels and sizes are whole numbers; found {values!r:.80}")
    return tuple(values)


def _shape(sizes: Sequence[Any]) -> tuple[int, ...]:
    if len(sizes) > DIMENSIONS_MAX:
        raise ValueError(f"a tensor of {len(sizes)} dimensions")
    return _whole(sizes)
