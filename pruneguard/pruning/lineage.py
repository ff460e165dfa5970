"""Where every weight of a pruned network came from, exactly enough to make it out of the dense one again.

An auditor reads these without torch or numpy; `recomputing.py` beside it does what they say. All numbers and indices
are those of the dense network, however many rounds the cutting took.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from math import prod
from typing import Any, TypeAlias

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.pruning.tensors import DIMENSIONS_MAX

KIND = "prune-lineage/v1"
DOCUMENT_BYTES_MAX = 64 * 1024**2

Indices: TypeAlias = tuple[int, ...]

Axis: TypeAlias = Indices | None
"""Indices kept along one dimension, in the order they stand in the pruned tensor; None keeps all of them."""

Kept: TypeAlias = Mapping[str, tuple[Axis, ...]]
"""Name of a tensor -> what is kept along each of its dimensions. A tensor that is not named is gone."""

Removed: TypeAlias = Mapping[str, Mapping[str, Indices]]
"""Kind of part -> module that they are filed under -> the numbers that left."""


class Part(StrEnum):
    """What structured pruning takes away whole, from the inside of a network to the outside: a block may hold heads."""

    CHANNELS = "channels"  # of convolutions and linear layers, and whatever hangs on them
    NEURONS = "neurons"  # outputs of linear layers
    HEADS = "heads"  # of attention
    UNITS = "units"  # of recurrent layers
    EXPERTS = "experts"  # of a mixture
    BLOCKS = "blocks"  # residual blocks, transformer layers


@dataclass(frozen=True, slots=True)
class Mask:
    """Which entries of one tensor stay: `digest` is that of its packed bits, `kept` says how many are ones."""

    digest: str
    shape: Indices
    kept: int


@dataclass(frozen=True, slots=True)
class Factors:
    """A layer that became a chain of smaller ones: the widths between them, and what of its weight that lost.

    `error` is the Frobenius norm of what the factors lack of the weight, over the weight's own.
    """

    ranks: Indices
    error: float


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a step's pruning and training: the share asked to go, and the accuracy it cost on the gate split.

    `drop` is the twin's accuracy minus the network's, None where nobody looked. A round that cost too much is `undone`:
    the network is the one of the round before.
    """

    step: str
    ratio: float
    drop: float | None = None
    undone: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """The training rows that candidates learnt from: how many of how many, and the digest of their sorted numbers."""

    kept: int
    of: int
    digest: str


@dataclass(frozen=True, slots=True)
class Lineage(canonical.Document):
    """How a smaller or sparser network came out of its dense twin.

    `recipe` are the steps as they were asked for, `ratio` the number that the search chose for them. `removed` is the
    decision: the parts taken out. `kept` is its consequence for each tensor that is left; `sources` says what a tensor
    was called in the dense network where that changed. `masks` are the weights that became zero beside. `factored` are
    the layers that were replaced by products afterwards, `untouched` those that the recipe could not reach, and why.

    What a recipe asked for, its rounds, the reasons for untouched layers, the rows and epochs are the service's word.

    `dense` is the digest of the twin's weights. `start` is that of the weights that the cut was made in: the twin's, or
    those of an earlier moment of its training, where the recipe rewinds. `weights` is the digest of `start`, cut and
    masked: it proves the places. What training made of the entries is in the final weights.
    """

    dense: str
    start: str
    weights: str
    recipe: tuple[Mapping[str, Any], ...]
    ratio: float
    seed: int
    shapes: Mapping[str, Indices]
    kept: Kept
    removed: Removed = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    stored: str | None = None
    masks: Mapping[str, Mask] = field(default_factory=dict)
    factored: Mapping[str, Factors] = field(default_factory=dict)
    untouched: Mapping[str, str] = field(default_factory=dict)
    rounds: tuple[Round, ...] = ()
    rows: Rows | None = None
    epochs: int = 0
    """That it was trained for after the first cut; none means never."""

    def source(self, name: str) -> str:
        """What a tensor of the pruned network is called in the dense one."""
        return self.sources.get(name, name)

    @property
    def pruned_shapes(self) -> dict[str, Indices]:
        """Shapes after the cut, before layers were factored."""
        return {name: after(axes, self.shapes[self.source(name)]) for name, axes in self.kept.items()}

    @property
    def final_shapes(self) -> dict[str, Indices]:
        """Shapes of the tensors of the network that was trained last, layers factored."""
        shapes = self.pruned_shapes
        for layer, factors in self.factored.items():
            _factor(shapes, layer, factors.ranks)
        return shapes

    @property
    def sparsity(self) -> float:
        """Share of the dense network's entries that are gone or zero."""
        left = {name: prod(shape) for name, shape in self.final_shapes.items()}
        left |= {name: mask.kept for name, mask in self.masks.items()}
        return 1 - sum(left.values()) / max(1, sum(map(prod, self.shapes.values())))

    def to_document(self) -> dict[str, Any]:
        # One list of channels cuts many tensors (a convolution, its norm, its reader), so each list is written once.
        # In the order of the names, as a reader finds them: another order would be another spelling.
        lists = {axis: None for name in sorted(self.kept) for axis in self.kept[name] if axis is not None}
        number = {axis: index for index, axis in enumerate(lists)}
        return {
            "kind": KIND,
            "recipe": [dict(step) for step in self.recipe],
            "ratio": self.ratio,
            "seed": self.seed,
            "dense": self.dense,
            "start": self.start,
            "weights": self.weights,
            "removed": {p: {root: list(gone) for root, gone in roots.items()} for p, roots in self.removed.items()},
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "lists": [list(axis) for axis in lists],
            "kept": {name: [None if a is None else number[a] for a in axes] for name, axes in self.kept.items()},
            "sources": dict(self.sources),
            "stored": self.stored,
            "masks": {n: {"digest": m.digest, "shape": list(m.shape), "kept": m.kept} for n, m in self.masks.items()},
            "factored": {n: {"ranks": list(f.ranks), "error": f.error} for n, f in self.factored.items()},
            "untouched": dict(self.untouched),
            "rounds": [{"step": r.step, "ratio": r.ratio, "drop": r.drop, "undone": r.undone} for r in self.rounds],
            "epochs": self.epochs,
            "rows": None if (r := self.rows) is None else {"kept": r.kept, "of": r.of, "digest": r.digest},
        }


def decode(content: bytes) -> Lineage:
    """A lineage out of its bytes. Raises InvalidInputError for any others than `encode` makes."""
    if len(content) > DOCUMENT_BYTES_MAX:
        raise InvalidInputError(f"a lineage of {len(content)} bytes; at most {DOCUMENT_BYTES_MAX} are read")
    with canonical.opened(content, KIND) as document:
        texts = [document[name] for name in ("dense", "start", "weights")]
        texts += [text for name in ("sources", "untouched") for text in document[name].values()]
        if not all(isinstance(text, str) for text in texts) or not isinstance(document["stored"], str | None):
            raise TypeError("a digest, a name or a reason is no text")
        found = _lineage(document)
        _require_plausible(found)
        _require_asked(found)
        _require_sound(found)
        if found.encode() != content:
            raise InvalidInputError("this lineage is not in the one form it can have; nobody may write it in another")
    return found


def after(axes: Sequence[Axis], shape: Sequence[int]) -> Indices:
    """The shape that is left of a tensor.

    >>> after((None, (0, 2)), (4, 3))
    (4, 2)
    """
    return tuple(size if axis is None else len(axis) for axis, size in zip(axes, shape, strict=True))


def composed(first: Kept, then: Kept, sources: Mapping[str, str]) -> dict[str, tuple[Axis, ...]]:
    """What two cuts, one after the other, keep of the network before the first.

    `then` and `sources` speak of the second: the tensors kept by their names before it, and for each name after it the
    name before. The result goes by the names after both.

    >>> composed({"w": ((1, 3, 5),)}, {"w": ((0, 2),)}, {"w": "w"})
    {'w': ((1, 5),)}
    """
    return {
        name: tuple(_axis(once, again) for once, again in zip(first[source], then[source], strict=True))
        for name, source in sources.items()
    }


def joined(first: Removed, then: Removed) -> dict[str, dict[str, Indices]]:
    """What two cuts removed together, in the numbers that held before the first; `then` counts what was left by it.

    Blocks keep their numbers when others leave; all other parts move up.

    >>> joined({"heads": {"a": (0, 2)}}, {"heads": {"a": (0, 1)}})
    {'heads': {'a': (0, 1, 2, 3)}}
    >>> joined({"blocks": {"a": (0,)}}, {"blocks": {"a": (1,)}})
    {'blocks': {'a': (0, 1)}}
    """
    result = {part: dict(roots) for part, roots in first.items()}
    for part, roots in then.items():
        known = result.setdefault(part, {})
        for root, numbers in roots.items():
            gone = known.get(root, ())
            before = numbers if part == Part.BLOCKS else (_before(number, gone) for number in numbers)
            known[root] = tuple(sorted({*gone, *before}))
    return result


def _factor(shapes: dict[str, Indices], layer: str, ranks: Indices) -> None:
    """Let one layer become a chain: its input, the ranks between, its output; a kernel stays in the middle."""
    outputs, inputs, *kernel = shapes.pop(f"{layer}.weight")
    links = list(pairwise((inputs, *ranks, outputs)))
    for place, (width_in, width_out) in enumerate(links):
        middle = len(links) == 3 and place == 1
        shapes[f"{layer}.{place}.weight"] = (width_out, width_in, *(kernel if middle else [1] * len(kernel)))
    if (bias := shapes.pop(f"{layer}.bias", None)) is not None:
        shapes[f"{layer}.{len(links) - 1}.bias"] = bias


def _require_sound(found: Lineage) -> None:
    """That its parts fit each other: what is read off it afterwards raises nothing, and costs what its bytes cost."""
    if sum(len(axis) for axes in found.kept.values() for axis in axes if axis is not None) > DOCUMENT_BYTES_MAX:
        raise ValueError("lists that are named more often than any network has dimensions")
    if found.sources.keys() - found.kept.keys() or len({*map(found.source, found.kept)}) != len(found.kept):
        raise ValueError("two tensors of one source, or a source of none")
    for name, axes in found.kept.items():
        for axis, size in zip(axes, found.shapes[found.source(name)], strict=True):
            if axis is not None and (any(b <= a for a, b in pairwise(axis)) or (axis and axis[-1] >= size)):
                raise ValueError(f"what {name} keeps are no increasing indices below {size}")
    shapes = found.pruned_shapes
    for layer, factors in found.factored.items():
        outputs, inputs, *kernel = shapes[f"{layer}.weight"]
        wanted = 1 if prod(kernel) == 1 else 2
        if len(factors.ranks) != wanted or not all(0 < rank <= max(outputs, inputs) for rank in factors.ranks):
            raise ValueError(f"{layer} cannot be a chain of ranks {factors.ranks}")
    if {f"{layer}.weight" for layer in found.factored} & found.masks.keys() or found.masks.keys() - found.kept.keys():
        raise ValueError("masks of what is gone or factored")


def _before(number: int, gone: Indices) -> int:
    """What the part that is now called `number` was called before those in `gone` left."""
    for left in sorted(gone):
        number += left <= number
    return number


def _axis(once: Axis, again: Axis) -> Axis:
    if once is None or again is None:
        return again if once is None else once
    return tuple(once[index] for index in again)


def _lineage(document: Mapping[str, Any]) -> Lineage:
    lists = [_whole(axis) for axis in document["lists"]]
    return Lineage(
        dense=document["dense"],
        start=document["start"],
        weights=document["weights"],
        recipe=tuple(dict(step) for step in document["recipe"]),
        ratio=document["ratio"],
        seed=document["seed"],
        shapes={name: _shape(shape) for name, shape in document["shapes"].items()},
        kept={name: tuple(None if a is None else lists[a] for a in axes) for name, axes in document["kept"].items()},
        removed={
            part: {root: _whole(gone) for root, gone in roots.items()} for part, roots in document["removed"].items()
        },
        sources=dict(document["sources"]),
        stored=document["stored"],
        masks={
            name: Mask(str(m["digest"]), _shape(m["shape"]), *_whole([m["kept"]]))
            for name, m in document["masks"].items()
        },
        factored={name: Factors(_whole(f["ranks"]), f["error"]) for name, f in document["factored"].items()},
        untouched=dict(document["untouched"]),
        rounds=tuple(Round(str(r["step"]), r["ratio"], r["drop"], r["undone"]) for r in document["rounds"]),
        rows=_rows(document["rows"]),
        epochs=_whole([document["epochs"]])[0],
    )


def _require_plausible(found: Lineage) -> None:
    """What is told beside the tensors are numbers that can be, and nothing is told twice."""
    measured = [found.ratio, *(one.ratio for one in found.rounds), *(one.error for one in found.factored.values())]
    drops = [one.drop for one in found.rounds if one.drop is not None]
    if not all(type(value) in (int, float) and 0 <= value <= 1 for value in measured):
        raise ValueError("a ratio or an error is no share")
    if not all(type(drop) in (int, float) and -1 <= drop <= 1 for drop in drops) or type(found.seed) is not int:
        raise TypeError("the accuracy that a round cost or the seed is no such number")
    if not all(type(one.undone) is bool for one in found.rounds):
        raise TypeError("a round is neither undone nor not")
    if found.rows is not None and not found.rows.kept <= found.rows.of:
        raise ValueError("more rows are kept than there were")
    if any(name not in found.kept or name == source for name, source in found.sources.items()):
        raise ValueError("a source is named of a tensor that is not there, or is no other name")


def _require_asked(found: Lineage) -> None:
    """Nothing was done that the recipe does not ask for."""
    verbs = ("prune", "factor", "transfer", "select")
    asked = {f"{verb} {step[verb]}" for step in found.recipe for verb in verbs if verb in step}
    rewound = any(step.get("schedule") == "rewind" for step in found.recipe)
    done = {f"prune {part}" for part in found.removed}
    done |= {"factor layers"} if found.factored else set()
    done |= {"select rows"} if found.rows is not None else set()
    if not done <= asked or not all(found.removed.values()):
        told = sorted(done - asked) or "a part of which nothing left"
        raise ValueError(f"{told} is told as done; the recipe asks for {sorted(asked)}")
    if found.masks and not {"prune weights", "transfer weights"} & asked:
        raise ValueError("masks, and no step of the recipe makes any")
    if found.start != found.dense and not (rewound or "transfer weights" in asked):
        raise ValueError("another start than the dense network, and no step of the recipe asks for one")


def _rows(document: Mapping[str, Any] | None) -> Rows | None:
    if document is None:
        return None
    kept, total = _whole([document["kept"], document["of"]])
    return Rows(kept, total, str(document["digest"]))


def _whole(values: Sequence[Any]) -> Indices:
    if not all(type(value) is int and value >= 0 for value in values):
        raise TypeError(f"numbers and sizes are whole numbers; found {values!r:.80}")
    return tuple(values)


def _shape(sizes: Sequence[Any]) -> Indices:
    if len(sizes) > DIMENSIONS_MAX:
        raise ValueError(f"a tensor of {len(sizes)} dimensions")
    return _whole(sizes)
