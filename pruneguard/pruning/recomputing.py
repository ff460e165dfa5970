"""Make pruned weights again out of the dense ones and a lineage, bit for bit, and see that fine-tuning kept to it.

This is what an auditor runs: it needs neither torch nor numpy, and nothing that the files ask for is larger than they.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod

from pruneguard import canonical
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.pruning import tensors
from pruneguard.pruning.lineage import Axis, Lineage, MaskLineage
from pruneguard.pruning.tensors import Tensor


def recompute(dense_weights: bytes, lineage: Lineage | MaskLineage, masks: bytes | None = None) -> bytes:
    """The pruned network's weights before fine-tuning, made out of the dense ones: safetensors in and out.

    `masks` is the file that a MaskLineage names. Raises IntegrityError when the dense weights or the masks are not the
    ones that the lineage names, do not fit it, or do not give the bytes that it names. Which of two equal entries was
    kept cannot be told from bytes: that a lineage is the one on record, its own digest tells.
    """
    if (found := canonical.digest(dense_weights)) != lineage.dense:
        raise IntegrityError(f"the dense weights are {found}; the lineage was made from {lineage.dense}")
    try:
        dense = tensors.read(dense_weights)
        made = _cut(dense, lineage) if isinstance(lineage, Lineage) else _masked(dense, lineage, masks)
        pruned = tensors.write(made)
    except (InvalidInputError, KeyError, TypeError, ValueError, IndexError) as error:
        raise IntegrityError(f"the lineage does not fit its dense weights: {type(error).__name__} {error}") from error
    if (found := canonical.digest(pruned)) != lineage.weights:
        raise IntegrityError(
            f"cutting the dense weights by this lineage gives {found}; it claims {lineage.weights}. "
            "Trust neither; find out which of the two was changed"
        )
    return pruned


def departures(final_weights: bytes, pruned: bytes, masks: Mapping[str, bytes] | None = None) -> Iterator[str]:
    """In what fine-tuned weights left the cut that they started from: other tensors, or life where a mask said zero.

    `pruned` is what `recompute` gave, `masks` what `read_masks` gave after it. Raises InvalidInputError where one of
    them is no safetensors file.
    """
    final, start = tensors.read(final_weights), tensors.read(pruned)
    for name in sorted(final.keys() ^ start.keys()):
        yield f"{name} stands in only one of the weights before and after fine-tuning"
    for name in sorted(final.keys() & start.keys()):
        ours, theirs = final[name], start[name]
        if (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape):
            yield f"{name} is {ours.dtype} {ours.shape} after fine-tuning; the cut left {theirs.dtype} {theirs.shape}"
        elif masks is not None and name in masks:
            alive = _alive(masks[name], ours)
            if alive:
                yield f"{name}: {alive} of {ours.size} weights are not zero where the mask says so"


def read_masks(lineage: MaskLineage, content: bytes | None) -> dict[str, bytes]:
    """The packed bits by tensor. Raises InvalidInputError, naming the tensor, unless they are the lineage's own."""
    if content is None:
        raise InvalidInputError(f"this lineage needs its masks, the file {lineage.stored}; give it too")
    found = tensors.read(content)
    if found.keys() != lineage.masks.keys():
        raise InvalidInputError(f"masks of {sorted(found.keys() ^ lineage.masks.keys())} stand in one of the two only")
    for name, mask in lineage.masks.items():
        bits, size = bytes(found[name].data), prod(mask.shape)
        if canonical.digest(bits) != mask.digest:
            raise InvalidInputError(f"the mask of {name} is {canonical.digest(bits)}; the lineage says {mask.digest}")
        if len(bits) != -(-size // 8) or int.from_bytes(bits).bit_count() != mask.kept or _spare(bits, size):
            raise InvalidInputError(f"the mask of {name} does not keep {mask.kept} of {size} entries")
    if canonical.digest(content) != lineage.stored:
        raise InvalidInputError(f"the masks' file is {canonical.digest(content)}; the lineage says {lineage.stored}")
    return {name: bytes(tensor.data) for name, tensor in found.items()}


def kept_axes(indices: Sequence[int], *, pruned: Sequence[int], dense: Sequence[int]) -> tuple[Axis, ...]:
    """Which indices of each dimension survived, read off the flat indices that did.

    `indices` are the flat positions in a tensor of shape `dense` that a tensor of shape `pruned` now holds, row by row.
    Raises IntegrityError unless they are exactly the grid of some indices per dimension.

    >>> kept_axes([1, 2, 7, 8], pruned=(2, 2), dense=(3, 3))
    ((0, 2), (1, 2))
    """
    steps = [prod(pruned[k + 1 :]) for k in range(len(pruned))]
    strides = [prod(dense[k + 1 :]) for k in range(len(dense))]
    axes = [
        [indices[i * step] // stride % size for i in range(width)]
        for width, step, stride, size in zip(pruned, steps, strides, dense, strict=True)
    ]
    if list(indices) != list(_grid(axes, dense)):
        raise IntegrityError(
            f"the pruned tensor of shape {tuple(pruned)} is no grid of indices of its dense one, {tuple(dense)}"
        )
    return tuple(None if axis == list(range(size)) else tuple(axis) for axis, size in zip(axes, dense, strict=True))


def _grid(axes: Sequence[Sequence[int]], shape: Sequence[int]) -> Iterator[int]:
    """Flat indices, row by row, of the outer product of one index list per dimension."""
    strides = [prod(shape[k + 1 :]) for k in range(len(shape))]
    return map(sum, product(*([index * stride for index in axis] for axis, stride in zip(axes, strides, strict=True))))


def _cut(dense: Mapping[str, Tensor], lineage: Lineage) -> dict[str, Tensor]:
    if dense.keys() != lineage.kept.keys() or {n: t.shape for n, t in dense.items()} != lineage.shapes:
        different = sorted(name for name in dense.keys() | lineage.kept.keys() if not _fits(dense, lineage, name))
        raise ValueError(f"tensors {different} are not in both with one shape")
    for layer, channels in lineage.removed.items():
        if not any(_lacks(axis, channels, size) for axis, size in _axes_of(layer, lineage)):
            raise ValueError(f"no dimension of {layer} lacks just the channels {list(channels)[:20]} named as removed")
    return {name: _gather(tensor, lineage.kept[name]) for name, tensor in dense.items()}


def _fits(dense: Mapping[str, Tensor], lineage: Lineage, name: str) -> bool:
    return name in dense and name in lineage.kept and dense[name].shape == lineage.shapes.get(name)


def _axes_of(layer: str, lineage: Lineage) -> Iterator[tuple[Axis, int]]:
    for name, axes in lineage.kept.items():
        if name.rpartition(".")[0] == layer:
            yield from zip(axes, lineage.shapes[name], strict=True)


def _lacks(axis: Axis, channels: tuple[int, ...], size: int) -> bool:
    return axis is not None and len(axis) + len(channels) == size and sorted(axis + channels) == list(range(size))


def _gather(tensor: Tensor, kept: Sequence[Axis]) -> Tensor:
    """The entries of one tensor that are kept. What is made is never larger than what is there."""
    shape = tensor.shape
    for axis, size in zip(kept, shape, strict=True):
        if axis is not None and (
            len(axis) > size or len(set(axis)) < len(axis) or not all(0 <= index < size for index in axis)
        ):
            raise IndexError(f"{list(axis[:20])} are no distinct indices into a dimension of {size}")
    after = tuple(size if axis is None else len(axis) for axis, size in zip(kept, shape, strict=True))
    whole = len(shape)  # trailing dimensions that are kept whole move as one block
    while whole and kept[whole - 1] is None:
        whole -= 1
    step = tensor.item_bytes * prod(shape[whole:])
    made = bytearray()
    if prod(after):
        axes = [range(size) if axis is None else axis for axis, size in zip(kept, shape, strict=True)]
        for flat in _grid(axes[:whole], shape[:whole]):
            made += tensor.data[flat * step : (flat + 1) * step]
    return Tensor(tensor.dtype, after, bytes(made))


def _masked(dense: Mapping[str, Tensor], lineage: MaskLineage, content: bytes | None) -> dict[str, Tensor]:
    bits = read_masks(lineage, content)
    if different := sorted(n for n, m in lineage.masks.items() if n not in dense or dense[n].shape != m.shape):
        raise ValueError(f"tensors {different} are not in both with one shape")
    return {
        name: Tensor(tensor.dtype, tensor.shape, _under(bits[name], tensor)) if name in bits else tensor
        for name, tensor in dense.items()
    }


def _under(bits: bytes, tensor: Tensor) -> bytes:
    """A tensor's bytes with zero (+0.0, all bits 0) wherever its mask has none."""
    item = tensor.item_bytes
    ones, zeros = b"\xff" * item, bytes(item)
    table = [b"".join(ones if byte & 128 >> bit else zeros for bit in range(8)) for byte in range(256)]
    wide = b"".join(map(table.__getitem__, bits))[: len(tensor.data)]
    return (int.from_bytes(tensor.data) & int.from_bytes(wide)).to_bytes(len(wide))


def _alive(bits: bytes, tensor: Tensor) -> int:
    """How many entries are not zero though their mask says so."""
    kept, item = _under(bits, tensor), tensor.item_bytes
    if kept == tensor.data:
        return 0
    return sum(kept[at : at + item] != tensor.data[at : at + item] for at in range(0, len(kept), item))


def _spare(bits: bytes, size: int) -> bool:
    """Whether a bit beyond the last entry is set."""
    return bool(bits) and bool(bits[-1] & (1 << -size % 8) - 1)
