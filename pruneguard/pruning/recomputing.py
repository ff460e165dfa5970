"""Make pruned weights again out of the dense ones and a lineage, bit for bit, and see that fine-tuning kept to it.

This is what an auditor runs: it needs neither torch nor numpy, and nothing that the files ask for is larger than they.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod

from pruneguard import canonical
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.pruning import tensors
from pruneguard.pruning.lineage import Axis, Indices, Lineage, Part, after
from pruneguard.pruning.tensors import Tensor


def recompute(start_weights: bytes, lineage: Lineage, masks: bytes | None = None) -> bytes:
    """The pruned network's weights before training made anything of them: safetensors in and out.

    `start_weights` are those that the lineage calls its start: the dense twin's, unless the recipe rewinds. `masks` is
    the file that the lineage calls `stored`, where it has one. Raises IntegrityError when they are not the ones that
    the lineage names, do not fit it, or do not give the bytes that it names. Which of two equal entries was kept
    cannot be told from bytes: that a lineage is the one on record, its own digest tells.
    """
    if (found := canonical.digest(start_weights)) != lineage.start:
        raise IntegrityError(f"the weights to cut are {found}; the lineage was made from {lineage.start}")
    try:
        made = _cut(tensors.read(start_weights), lineage)
        for name, bits in read_masks(lineage, masks).items():
            if made[name].shape != lineage.masks[name].shape:
                raise ValueError(f"the mask of {name} is {lineage.masks[name].shape}, the tensor {made[name].shape}")
            made[name] = Tensor(made[name].dtype, made[name].shape, _masked(bits, made[name]))
        pruned = tensors.write(made)
    except (InvalidInputError, KeyError, TypeError, ValueError, IndexError) as error:
        raise IntegrityError(f"the lineage does not fit these weights: {type(error).__name__} {error}") from error
    if (found := canonical.digest(pruned)) != lineage.weights:
        raise IntegrityError(
            f"cutting the weights by this lineage gives {found}; it claims {lineage.weights}. "
            "Trust neither; find out which of the two was changed"
        )
    return pruned


def departures(final_weights: bytes, lineage: Lineage, masks: bytes | None = None) -> Iterator[str]:
    """In what the final weights left the cut: other tensors, other sizes, or life where a mask said zero.

    Says nothing of a lineage that `recompute` did not agree with. Raises InvalidInputError where a file is none.
    """
    final, start = tensors.read(final_weights), _final_shapes(lineage)
    for name in sorted(final.keys() ^ start.keys()):
        yield f"{name} stands in only one of the weights before and after fine-tuning"
    for name in sorted(final.keys() & start.keys()):
        if final[name].shape != start[name]:
            yield f"{name} is {final[name].shape} after fine-tuning; the lineage left {start[name]}"
    for name, bits in read_masks(lineage, masks).items():
        if name in final and final[name].shape == start[name] and (alive := _alive(bits, final[name])):
            yield f"{name}: {alive} of {final[name].size} weights are not zero where the mask says so"


def _final_shapes(lineage: Lineage) -> dict[str, Indices]:
    try:
        return lineage.final_shapes
    except (KeyError, ValueError) as error:
        raise InvalidInputError(f"the lineage does not fit itself: {type(error).__name__} {error}") from error


def read_masks(lineage: Lineage, content: bytes | None) -> dict[str, bytes]:
    """The packed bits by tensor. Raises InvalidInputError, naming the tensor, unless they are the lineage's own."""
    if lineage.stored is None:
        if lineage.masks or content is not None:
            raise InvalidInputError("this lineage names no masks' file; give it without masks")
        return {}
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


def _grid(axes: Sequence[Sequence[int]], shape: Sequence[int]) -> Iterator[int]:
    """Flat indices, row by row, of the outer product of one index list per dimension."""
    strides = [prod(shape[k + 1 :]) for k in range(len(shape))]
    return map(sum, product(*([index * stride for index in axis] for axis, stride in zip(axes, strides, strict=True))))


def _cut(start: Mapping[str, Tensor], lineage: Lineage) -> dict[str, Tensor]:
    if {name: tensor.shape for name, tensor in start.items()} != lineage.shapes:
        names = start.keys() | lineage.shapes.keys()
        different = sorted(n for n in names if n not in start or start[n].shape != lineage.shapes.get(n))
        raise ValueError(f"tensors {different} are not in both with one shape")
    sources = [lineage.source(name) for name in lineage.kept]
    if len(set(sources)) != len(sources):
        raise ValueError("two tensors of the pruned network come from one of the dense")
    if not lineage.removed and any(axis is not None for axes in lineage.kept.values() for axis in axes):
        raise ValueError("tensors were cut, and nothing is said to have been removed")
    for part, roots in lineage.removed.items():
        for root, numbers in roots.items():
            once = bool(numbers) and list(numbers) == sorted(set(numbers))
            if not once or not _agrees(Part(part), root, numbers, lineage):
                raise ValueError(f"the tensors kept do not lack just the {part} {list(numbers)[:20]} of {root}")
    inside = tuple(_inside(lineage))
    if lost := sorted(name for name in start.keys() - set(sources) if not name.startswith(inside)):
        raise ValueError(f"tensors {lost[:20]} are gone, and no block or expert is said to have taken them along")
    return {name: _gather(start[lineage.source(name)], lineage.kept[name]) for name in _ordered(start, lineage)}


def _ordered(start: Mapping[str, Tensor], lineage: Lineage) -> list[str]:
    """Names as safetensors orders tensors: by type, in an order that the start's file shows, then by name."""
    types = list(dict.fromkeys(tensor.dtype for tensor in start.values()))
    return sorted(lineage.kept, key=lambda name: (types.index(start[lineage.source(name)].dtype), name.encode()))


def _inside(lineage: Lineage) -> Iterator[str]:
    """What the names of tensors begin with that left with a block or an expert."""
    for part, within in ((Part.BLOCKS, ""), (Part.EXPERTS, "experts.")):
        for root, numbers in lineage.removed.get(part.value, {}).items():
            yield from (f"{_under(root)}{within}{number}." for number in numbers)


def _agrees(part: Part, root: str, numbers: Indices, lineage: Lineage) -> bool:
    """Whether the tensors that are kept bear out that these parts have left.

    One tensor at least must lack just these. That every cut of every tensor follows from what was removed is not
    checked: that would take the network.
    """
    if part in (Part.BLOCKS, Part.EXPERTS):
        here = {lineage.source(name) for name in lineage.kept}
        starts = [f"{_under(root)}{'' if part is Part.BLOCKS else 'experts.'}{number}." for number in numbers]
        return all(
            any(name.startswith(start) for name in lineage.shapes) and not any(name.startswith(start) for name in here)
            for start in starts
        )
    if part is Part.UNITS:
        return _lacks_units(root, numbers, lineage)
    return any(_lacks(axis, numbers, size) for axis, size in _axes_under(root, lineage))


def _lacks_units(root: str, numbers: Indices, lineage: Lineage) -> bool:
    """Units are counted through layers and directions; each has a weight_hh whose columns are its units."""
    ends = [f"l{layer}{way}" for layer in range(len(lineage.shapes)) for way in ("", "_reverse")]
    recurrent = [name for end in ends if (name := f"{_under(root)}weight_hh_{end}") in lineage.shapes]
    hidden = lineage.shapes[recurrent[0]][1] if recurrent else 0
    gone = [
        place * hidden + unit
        for place, name in enumerate(recurrent)
        for axis in [lineage.kept[name][1]]
        for unit in range(hidden)
        if axis is not None and unit not in axis
    ]
    return tuple(gone) == numbers


def _under(root: str) -> str:
    """What the names of everything in a module begin with; the network itself has no name."""
    return f"{root}." if root else ""


def _axes_under(root: str, lineage: Lineage) -> Iterator[tuple[Axis, int]]:
    for name, axes in lineage.kept.items():
        source = lineage.source(name)
        if source.startswith(_under(root)) or source == root:
            yield from zip(axes, lineage.shapes[source], strict=True)


def _lacks(axis: Axis, numbers: Indices, size: int) -> bool:
    """Whether just these are missing, each a run of equally many entries: a channel is one, a head its width."""
    if axis is None or len(axis) >= size or (size - len(axis)) % max(1, len(numbers)):
        return False
    run = (size - len(axis)) // max(1, len(numbers))
    gone = {number * run + place for number in numbers for place in range(run)}
    return sorted((*axis, *gone)) == list(range(size))


def _gather(tensor: Tensor, kept: Sequence[Axis]) -> Tensor:
    """The entries of one tensor that are kept. What is made is never larger than what is there."""
    shape = tensor.shape
    for axis, size in zip(kept, shape, strict=True):
        if axis is not None and (
            len(axis) >= size or len(set(axis)) < len(axis) or not all(0 <= index < size for index in axis)
        ):
            raise IndexError(f"{list(axis[:20])} are no distinct indices, fewer than all, into a dimension of {size}")
    whole = len(shape)  # trailing dimensions that are kept whole move as one block
    while whole and kept[whole - 1] is None:
        whole -= 1
    step = tensor.item_bytes * prod(shape[whole:])
    made = bytearray()
    if prod(left := after(kept, shape)):
        axes = [range(size) if axis is None else axis for axis, size in zip(kept, shape, strict=True)]
        for flat in _grid(axes[:whole], shape[:whole]):
            made += tensor.data[flat * step : (flat + 1) * step]
    return Tensor(tensor.dtype, left, bytes(made))


def _masked(bits: bytes, tensor: Tensor) -> bytes:
    """A tensor's bytes with zero (+0.0, all bits 0) wherever its mask has none."""
    item = tensor.item_bytes
    ones, zeros = b"\xff" * item, bytes(item)
    table = [b"".join(ones if byte & 128 >> bit else zeros for bit in range(8)) for byte in range(256)]
    wide = b"".join(map(table.__getitem__, bits))[: len(tensor.data)]
    return (int.from_bytes(tensor.data) & int.from_bytes(wide)).to_bytes(len(wide))


def _alive(bits: bytes, tensor: Tensor) -> int:
    """How many entries are not zero though their mask says so."""
    kept, item = _masked(bits, tensor), tensor.item_bytes
    if kept == tensor.data:
        return 0
    return sum(kept[at : at + item] != tensor.data[at : at + item] for at in range(0, len(kept), item))


def _spare(bits: bytes, size: int) -> bool:
    """Whether a bit beyond the last entry is set."""
    return bool(bits) and bool(bits[-1] & (1 << -size % 8) - 1)
