"""What can leave a network together: parts, the groups they stand in, and the entries of tensors that go with each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pruneguard.pruning.lineage import Indices, Part, Removed

__all__ = ["Found", "Group", "Indices", "Observed", "Part", "Removed", "Slice"]


@dataclass(frozen=True, slots=True)
class Slice:
    """The entries of one tensor that go with each part: part p owns `indices[p]` along dimension `dim`."""

    tensor: str
    dim: int
    indices: tuple[Indices, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """Where what the parts compute can be read: dimension `dim` of the input or output of a module.

    Part p is seen at `indices[p]` of that dimension. Dimension 0 is the batch.
    """

    module: str
    side: Literal["input", "output"]
    dim: int
    indices: tuple[Indices, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Parts of one kind that are alternatives to each other: some of them may leave, at least one stays.

    `root` names the module that a lineage files them under. `numbers[p]` are the numbers that part p has there: one,
    or several where channels can only leave in step (grouped convolutions). `owned` cuts tensors of parameters and
    buffers along a dimension; `whole[p]` are the tensors that vanish altogether with part p. `padded` says whether
    a part whose entries are all zero changes nothing, so that zeros may be put back to reach a width. At least `least`
    parts stay. Groups of one root with the same `level`, where that is not empty, must stay equally wide.
    """

    part: Part
    root: str
    numbers: tuple[Indices, ...]
    owned: tuple[Slice, ...] = ()
    whole: tuple[tuple[str, ...], ...] = ()
    observed: Observed | None = None
    padded: bool = False
    least: int = 1
    level: str = ""

    @property
    def width(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, slots=True)
class Found:
    """The groups of one kind in a network, in its order, and why each of the other layers of that kind is none."""

    groups: tuple[Group, ...]
    untouched: Mapping[str, str]
