"""Widths that the hardware likes: zeros put back into a pruned network when it is exported.

onnxruntime computes fast on numbers of channels that are multiples of 4 only: 63 channels are slower than 64, and 47
than 48. A padded network is the dense one cut less: some parts that had left come back, with zeros for weights. That
changes no answer where the group says so (`Group.padded`), and no part comes back that the dense network did not have.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import parts
from pruneguard.pruning.group import Group, Indices, Removed
from pruneguard.pruning.lineage import Axis, Kept

MULTIPLE = 4
"""What pays: from 61 to 64 recovers the fast path, and from 24 to 32 gains nothing (on AVX-512, blocks of 16)."""


def pad(
    twin: nn.Module,
    pruned: nn.Module,
    *,
    groups: Sequence[Group],
    removed: Removed,
    kept: Kept,
    multiple: int = MULTIPLE,
) -> nn.Module:
    """A network in eval mode that answers as `pruned` does, its widths multiples of `multiple` or the twin's own.

    `groups` are the twin's, `removed` and `kept` what `pruned` lacks and has of it, in the twin's numbers and names.
    Raises InvalidInputError when `multiple` is below 1 or `pruned` is not the twin cut like that: factored, say.
    """
    if multiple < 1:
        raise InvalidInputError(f"widths are padded to a multiple of {multiple}; give 4, 8 or 16, or 1 for none")
    less, more = widened(groups, removed=removed, kept=kept, multiple=multiple)
    padded, sources = parts.cut(twin, removed=less, kept=more)
    entries = pruned.state_dict()
    with torch.no_grad():
        for name, tensor in padded.state_dict().items():
            places = [_places(few, many) for few, many in zip(kept[sources[name]], more[sources[name]], strict=True)]
            shape = tuple(size if at is None else len(at) for at, size in zip(places, tensor.shape, strict=True))
            if name not in entries or entries[name].shape != shape:
                raise InvalidInputError(
                    f"{name} of the pruned network is {tuple(entries[name].shape) if name in entries else 'absent'}; "
                    f"what it kept of the dense one says {shape}. Pad what was cut, before layers are replaced"
                )
            tensor.copy_(_scattered(entries[name], tensor, places))
    return padded.eval()


def widened(
    groups: Sequence[Group], *, removed: Removed, kept: Kept, multiple: int
) -> tuple[dict[str, dict[str, Indices]], dict[str, tuple[Axis, ...]]]:
    """What is removed and kept when as many parts come back as the next multiple asks for, the first ones first.

    A group comes back to its full width where no multiple lies below that; one that may not be padded stays.
    """
    less = {part: {root: set(gone) for root, gone in roots.items()} for part, roots in removed.items()}
    more = {name: list(axes) for name, axes in kept.items()}
    for group in groups:
        gone = less.get(group.part.value, {}).get(group.root, set())
        absent = [part for part, numbers in enumerate(group.numbers) if gone.issuperset(numbers)]
        for part in absent[: _missing(group, absent, multiple) if group.padded else 0]:
            gone.difference_update(group.numbers[part])
            for owned in group.owned:
                axis = more[owned.tensor][owned.dim] if owned.tensor in more else None
                if axis is not None:
                    more[owned.tensor][owned.dim] = tuple(sorted({*axis, *owned.indices[part]}))
    return (
        {part: {root: tuple(sorted(gone)) for root, gone in roots.items() if gone} for part, roots in less.items()},
        {name: tuple(axes) for name, axes in more.items()},
    )


def _missing(group: Group, absent: Sequence[int], multiple: int) -> int:
    """How many parts have to come back; a part may be several channels, which only come together."""
    if not absent:
        return 0
    step = math.lcm(multiple, len(group.numbers[0])) // len(group.numbers[0])
    left = group.width - len(absent)
    return min(-left % step, len(absent))


def _places(few: Axis, many: Axis) -> list[int] | None:
    """Where the indices of the smaller cut stand in the larger; None where nothing was put between them."""
    if few is None or few == many:
        return None
    if many is None:
        return list(few)
    where = {index: place for place, index in enumerate(many)}
    return [where[index] for index in few]


def _scattered(entries: torch.Tensor, like: torch.Tensor, places: Sequence[Sequence[int] | None]) -> torch.Tensor:
    """Zeros of the larger tensor's shape, with the smaller one's entries in their places."""
    for dim, at in enumerate(places):
        if at is not None:
            shape = (*entries.shape[:dim], like.shape[dim], *entries.shape[dim + 1 :])
            entries = torch.zeros(shape, dtype=entries.dtype).index_copy(
                dim, torch.tensor(at, dtype=torch.long), entries
            )
    return entries
