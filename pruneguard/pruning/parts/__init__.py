"""What can leave a network, kind by kind: each file finds one kind's groups, and does what resizing tensors cannot.

`find` gives the groups, `cut` is the knife that also changes modules where a removal asks for it: heads that an
attention no longer counts, a block that only passes on what it gets, an expert less.
"""

from collections.abc import Callable, Mapping

from torch import nn

from pruneguard.pruning import surgery
from pruneguard.pruning.group import Found, Indices, Part, Removed
from pruneguard.pruning.lineage import Kept
from pruneguard.pruning.parts import attention, blocks, experts, recurrent, traced
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


def cut(model: nn.Module, *, removed: Removed, kept: Kept) -> tuple[nn.Module, dict[str, str]]:
    """`surgery.cut` for parts of any kind: a copy of `model` without what is removed, and what its tensors were called.

    `kept` is the consequence of `removed`, by the names in `model`.
    """

    def reshape(copied: nn.Module) -> None:
        for part in Part:  # heads before the block that holds them
            if part in _RESHAPE and (roots := removed.get(part.value)):
                _RESHAPE[part](copied, roots)

    return surgery.cut(model, kept=kept, reshape=reshape)
