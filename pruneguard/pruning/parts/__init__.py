"""What can leave a network, kind by kind: each file finds one kind's groups, and does what resizing tensors cannot.

`find(model, example)` gives the groups; `reshaping(part)` is the change of modules that goes with a removal: heads
that an attention no longer counts, a block that only passes on what it gets, an expert less. It keeps the very
parameters that stay.
"""

from collections.abc import Callable, Mapping

from torch import nn

from pruneguard.pruning.parts import attention, blocks, experts, recurrent, traced
from pruneguard.pruning.parts.group import Found, Indices, Part
from pruneguard.workload import Floats

_FIND: Mapping[Part, Callable[[nn.Module, Floats], Found]] = {
    Part.CHANNELS: traced.channels,
    Part.NEURONS: traced.neurons,
    Part.HEADS: attention.find,
    Part.UNITS: recurrent.find,
    Part.BLOCKS: blocks.find,
    Part.EXPERTS: experts.find,
}
_RESHAPE: Mapping[Part, Callable[[nn.Module, Mapping[str, Indices]], None]] = {
    Part.HEADS: attention.reshape,
    Part.BLOCKS: blocks.reshape,
    Part.EXPERTS: experts.reshape,
}


def find(part: Part, model: nn.Module, example: Floats) -> Found:
    """The groups of one kind. `model` is left as it was; `example` is a few rows of its input.

    Raises InvalidInputError for a network that cannot be looked into.
    """
    return _FIND[part](model, example)


def reshaping(part: str) -> Callable[[nn.Module, Mapping[str, Indices]], None]:
    """What removing parts of this kind changes in a network beside the sizes of its tensors, in place."""
    return _RESHAPE.get(Part(part), lambda model, removed: None)
