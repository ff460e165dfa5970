"""The knife: a smaller network out of a larger one, given what leaves. Which parts leave is decided elsewhere.

What leaves is named twice. `Removed` says it as people do: these heads of that layer. `Kept` says it of every tensor:
these indices along each dimension; it follows from the former, and is what an auditor cuts with.
"""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning.group import Group, Indices
from pruneguard.pruning.lineage import Axis, Kept, after
from pruneguard.workload import Floats

Chosen = Mapping[int, Iterable[int]]
"""Number of a group in a sequence -> positions of the parts in it that leave."""


def removal(groups: Sequence[Group], chosen: Chosen) -> dict[str, dict[str, Indices]]:
    """What leaves, as a lineage says it."""
    removed: dict[str, dict[str, Indices]] = {}
    for number, parts in chosen.items():
        group = groups[number]
        if gone := [n for part in parts for n in group.numbers[part]]:
            roots = removed.setdefault(group.part.value, {})
            roots[group.root] = tuple(sorted((*roots.get(group.root, ()), *gone)))
    return removed


def consequence(model: nn.Module, groups: Sequence[Group], chosen: Chosen) -> Kept:
    """Which entries of every tensor of `model` stay; tensors that vanish are not in it.

    Groups may own entries of one tensor along different dimensions: each cuts its own.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    gone: dict[tuple[str, int], set[int]] = {}
    vanished: set[str] = set()
    for number, parts in chosen.items():
        group = groups[number]
        for part in parts:
            for owned in group.owned:
                gone.setdefault((owned.tensor, owned.dim), set()).update(owned.indices[part])
            if group.whole:
                vanished.update(group.whole[part])

    def axis(name: str, dim: int, size: int) -> Axis:
        missing = gone.get((name, dim))
        return tuple(i for i in range(size) if i not in missing) if missing else None

    return {
        name: tuple(axis(name, dim, size) for dim, size in enumerate(shape))
        for name, shape in shapes.items()
        if name not in vanished
    }


def cut(
    model: nn.Module, *, kept: Kept, reshape: Callable[[nn.Module], None] = lambda model: None
) -> tuple[nn.Module, dict[str, str]]:
    """A copy of `model` with only these entries, and the name that each of its tensors had in `model`.

    `kept` goes by the names in `model`. `reshape` does to the copy what resizing tensors cannot, and keeps the very
    parameters that stay; `parts.cut` knows it for each kind of part. Modes and `requires_grad` stay as in `model`.
    """
    pruned = copy.deepcopy(model)
    names = {id(tensor): name for name, tensor in pruned.state_dict(keep_vars=True).items()}
    reshape(pruned)
    sources = {name: names[id(tensor)] for name, tensor in pruned.state_dict(keep_vars=True).items()}
    resize(pruned, {name: kept[source] for name, source in sources.items()})
    return pruned, sources


def resize(model: nn.Module, kept: Kept) -> None:
    """Cut every tensor of `model` in place, and let the modules that hold them know their new sizes."""
    for place, module in model.named_modules():
        held = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
        was = {name: tensor.shape for name, tensor in held.items()}
        changed = False
        for name, tensor in held.items():
            axes = kept.get(f"{place}.{name}" if place else name)
            if axes is not None and any(axis is not None for axis in axes):
                tensor.data = gather(tensor.detach(), axes)
                tensor.grad = None
                changed = True
        if changed:
            _refit(module, was)


def share_left(model: nn.Module, kept: Kept) -> float:
    """The share of the weights of `model` that is left when these entries stay."""
    weights = dict(model.named_parameters())
    entries = sum(math.prod(after(axes, weights[name].shape)) for name, axes in kept.items() if name in weights)
    return entries / sum(weight.numel() for weight in weights.values())


def silenced(model: nn.Module, groups: Sequence[Group], chosen: Chosen) -> nn.Module:
    """A copy of `model` with zeros in every entry that the chosen parts own; its shape stays."""
    silent = copy.deepcopy(model)
    tensors = silent.state_dict()
    for number, parts in chosen.items():
        for part in parts:
            for owned in groups[number].owned:
                tensors[owned.tensor].index_fill_(owned.dim, torch.tensor(owned.indices[part], dtype=torch.long), 0)
    return silent


def gather(tensor: torch.Tensor, axes: Sequence[Axis]) -> torch.Tensor:
    """The entries of a tensor that stay, a copy of its own."""
    for dim, axis in enumerate(axes):
        if axis is not None:
            tensor = tensor.index_select(dim, torch.tensor(axis, dtype=torch.long, device=tensor.device))
    return tensor.clone(memory_format=torch.contiguous_format)


def require_alive(model: nn.Module, pruned: nn.Module, example: Floats) -> None:
    """Raises InvalidInputError when the cut network does not run, or answers in another shape than before."""
    before = output_shape(model, example)
    try:
        after = output_shape(pruned, example)
    except Exception as error:  # the user's forward, on a width that it did not expect
        raise InvalidInputError(
            f"{type(model).__name__} does not run any more: {type(error).__name__}: {error}; keep numbers of channels, "
            "heads and units out of forward(), and call layers instead of reading their weights"
        ) from error
    if before != after:
        raise InvalidInputError(
            f"the output of {type(model).__name__} would change from {before} to {after}; "
            "end the network in a convolution or linear layer of its own"
        )


def output_shape(model: nn.Module, example: Floats) -> tuple[int, ...]:
    training = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            return tuple(model.eval()(torch.tensor(example)).shape)  # a copy: forward() may write into it
    finally:
        for module, mode in training:
            module.training = mode


def _refit(module: nn.Module, was: Mapping[str, torch.Size]) -> None:
    """Sizes that a module of torch keeps beside its tensors; `was` are the shapes before."""
    shape = {name: tuple(tensor.shape) for name, tensor in module.named_parameters(recurse=False)}
    weight = shape.get("weight", ())
    match module:
        case nn.Linear():
            module.out_features, module.in_features = weight
        case nn.modules.conv._ConvTransposeNd() if module.groups == 1 or module.groups != was["weight"][0]:
            module.in_channels, module.out_channels = weight[0], weight[1] * module.groups
        case nn.modules.conv._ConvNd():
            if module.groups == was["weight"][0]:  # depthwise: each channel is a group of its own
                module.groups = weight[0]
            module.out_channels, module.in_channels = weight[0], weight[1] * module.groups
        case nn.modules.batchnorm._NormBase():
            module.num_features = (weight or tuple(module.running_mean.shape))[0]  # type: ignore[union-attr]
        case nn.LayerNorm() | nn.RMSNorm():
            module.normalized_shape = weight
        case nn.GroupNorm():
            module.num_channels = weight[0]
        case nn.Embedding():
            module.num_embeddings, module.embedding_dim = weight
        case nn.PReLU():
            module.num_parameters = weight[0]
        case nn.RNNBase():
            module.hidden_size, module.input_size = shape["weight_hh_l0"][1], shape["weight_ih_l0"][1]
        case _:
            pass  # a module of the user's own: it reads sizes from its tensors, or `require_alive` finds out
