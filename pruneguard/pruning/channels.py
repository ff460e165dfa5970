"""Structured pruning: whole channels leave a network, and with them everything that made or read them.

torch-pruning (DepGraph, Fang et al., CVPR 2023, arXiv 2301.12900) knows which tensors hang together; what to remove is
decided here, so that widths are the ones asked for and a lineage can be read off.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch_pruning as tp
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import weights
from pruneguard.pruning.lineage import Axis, Lineage
from pruneguard.pruning.recomputing import kept_axes
from pruneguard.workload import Floats

Removed = Mapping[str, tuple[int, ...]]

CRITERIA = ("l2", "random")
"""`l2`: the group's squared weights, every group scaled to mean one. `random`: the control that l2 has to beat."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Channels that can only leave together: the deciding layer's name, and one score for each channel."""

    root: str
    scores: torch.Tensor


def prune(
    model: nn.Module, example: Floats, *, ratio: float, round_to: int = 8, criterion: str = "l2", seed: int = 0
) -> tuple[nn.Module, Lineage]:
    """A narrower copy of `model`, not yet fine-tuned, and its lineage. `model` itself is never changed.

    `ratio` is the share of channels to remove (not of parameters: a convolution loses on both sides); each width is
    then rounded to a multiple of `round_to` and never below it, because onnxruntime is fast on such widths only.
    `example` is a few rows of the model's input, to trace it. `seed` is used by the criterion `random`.

    Raises InvalidInputError for a ratio outside (0, 1), tied weights, a network that cannot be traced, or one of which
    nothing can be removed. Layers that no rule reaches stay whole: see `Lineage.untouched`.
    """
    if not 0 < ratio < 1:
        raise InvalidInputError(f"the pruning ratio is {ratio}; give the share of channels to remove, between 0 and 1")
    if round_to < 1 or criterion not in CRITERIA:
        raise InvalidInputError(f"round_to={round_to}, criterion={criterion!r}; expected >= 1 and one of {CRITERIA}")
    weights.refuse_tied(model)
    removed = _decide(model, example, ratio=ratio, round_to=round_to, criterion=criterion, seed=seed)
    if not _survives(model, example, removed):  # so somewhere the graph was wrong: keep to the layers where it is right
        removed = {name: gone for name, gone in removed.items() if _survives(model, example, {name: gone})}
    if not removed:
        raise InvalidInputError(
            f"nothing can be removed from {type(model).__name__} at ratio {ratio} and round_to {round_to}; "
            "raise the ratio, lower round_to, or give it wider convolution or linear layers"
        )
    pruned = cut(model, example, removed)
    lineage = Lineage(
        dense=weights.digest(model),
        weights=weights.digest(pruned),
        criterion=criterion,
        ratio=ratio,
        round_to=round_to,
        seed=seed,
        removed=removed,
        shapes={name: tuple(tensor.shape) for name, tensor in model.state_dict().items()},
        kept=_kept(model, example, removed),
    )
    return pruned, lineage


def cut(model: nn.Module, example: Floats, removed: Removed) -> nn.Module:
    """A copy of `model` without the output channels `removed` names, layer by layer.

    With `Lineage.removed` it gives a fresh network the widths of a pruned one, for its weights to be loaded into.
    Raises InvalidInputError when the network cannot be traced, or does not run or answers in another shape afterwards.
    """
    pruned = copy.deepcopy(model)
    graph = _graph(pruned, example)
    try:
        _remove(graph, removed)
        after = _output_shape(pruned, example)
    except (
        Exception
    ) as error:  # torch-pruning on a layer it misread, or the user's forward on a width it did not expect
        raise InvalidInputError(
            f"{type(model).__name__} fails without channels of {sorted(removed)}: {type(error).__name__}: {error}; "
            "keep numbers of channels out of forward(), and recurrent layers out of what is pruned"
        ) from error
    pruned.train(model.training)
    for ours, theirs in zip(pruned.parameters(), model.parameters(), strict=True):
        ours.requires_grad_(theirs.requires_grad)
    before = _output_shape(model, example)
    if before != after:
        raise InvalidInputError(
            f"pruning {sorted(removed)} would change the output of {type(model).__name__} from {before} to {after}; "
            "end the network in a convolution or linear layer of its own"
        )
    return pruned


def _survives(model: nn.Module, example: Floats, removed: Removed) -> bool:
    try:
        cut(model, example, removed)
    except InvalidInputError:
        return False
    return True


def _decide(
    model: nn.Module, example: Floats, *, ratio: float, round_to: int, criterion: str, seed: int
) -> dict[str, tuple[int, ...]]:
    """Per group the weakest channels, so many that the width left is the multiple of `round_to` nearest to the ask."""
    removed = {}
    for group in _groups(copy.deepcopy(model), example, criterion=criterion, seed=seed):
        width = len(group.scores)
        left = max(round_to, round_to * math.floor(width * (1 - ratio) / round_to + 0.5))
        if left < width:
            weakest = torch.argsort(group.scores, stable=True)[: width - left]
            removed[group.root] = tuple(sorted(weakest.tolist()))
    return removed


def _groups(model: nn.Module, example: Floats, *, criterion: str, seed: int) -> list[_Group]:
    """Everything that may lose channels, in the order of the network, scored."""
    graph = _graph(model, example)
    names = {module: name for name, module in model.named_modules()}
    generator = torch.Generator().manual_seed(seed)
    magnitude = tp.importance.GroupMagnitudeImportance(p=2)
    found = []
    try:
        groups = list(graph.get_all_groups(ignored_layers=[]))
    except Exception as error:  # as in _graph
        raise _untraceable(model, error) from error
    for group in groups:
        if _reaches_output(graph, group) or any(_is_grouped(dep.target.module) for dep, _ in group):
            continue
        try:
            scores = magnitude(group)
        except IndexError:  # the graph misread a layer it has no rule for (a GRU), and mixed up two widths
            continue
        if criterion == "random":
            scores = torch.rand(len(scores), generator=generator)
        found.append(_Group(names[group[0].dep.target.module], scores))
    return found


def _kept(model: nn.Module, example: Floats, removed: Removed) -> dict[str, tuple[Axis, ...]]:
    """Which entries of each tensor survive `removed`, read off a ruler.

    The ruler is a copy of the network whose every entry holds its own flat index (float64 counts exactly to 2^53). It
    goes through the very same removal, and what is left in it says where each surviving entry came from: nothing has
    to be assumed about how a layer lays out its weights.
    """
    ruler = copy.deepcopy(model)
    graph = _graph(ruler, example)  # traced while the numbers still make sense
    for tensor in (*ruler.parameters(), *ruler.buffers()):
        tensor.data = torch.arange(tensor.numel(), dtype=torch.float64).reshape(tensor.shape)
    _remove(graph, removed)
    dense = model.state_dict()
    return {
        name: kept_axes(tensor.flatten().long().tolist(), pruned=tensor.shape, dense=dense[name].shape)
        for name, tensor in ruler.state_dict().items()
    }


def _remove(graph: tp.DependencyGraph, removed: Removed) -> None:
    modules = dict(graph.model.named_modules())
    for name, channels in removed.items():
        layer = modules[name]
        remover = graph.get_pruner_of_module(layer).prune_out_channels
        graph.get_pruning_group(layer, remover, list(channels)).prune(record_history=False)


def _graph(model: nn.Module, example: Floats) -> tp.DependencyGraph:
    """Trace `model` (which is left in eval mode, and whose parameters all require gradients afterwards)."""
    model.eval().requires_grad_(requires_grad=True)  # the trace follows gradients: a frozen layer would go unseen
    try:
        with torch.enable_grad():
            return tp.DependencyGraph().build_dependency(model, torch.from_numpy(example), verbose=False)
    except Exception as error:  # torch-pruning raises whatever its walk trips over, from IndexError to AssertionError
        raise _untraceable(model, error) from error


def _untraceable(model: nn.Module, error: Exception) -> InvalidInputError:
    return InvalidInputError(
        f"{type(model).__name__} cannot be traced for pruning: {type(error).__name__}: {error}; channel pruning knows "
        "convolutions, linear layers and their norms, and stumbles over some recurrent layers"
    )


def _reaches_output(graph: tp.DependencyGraph, group: tp.Group) -> bool:
    """Whether removing this group's channels would remove columns of the network's answer."""
    return any(not dep.target.outputs and graph.is_out_channel_pruning_fn(dep.handler) for dep, _ in group)


def _is_grouped(module: nn.Module) -> bool:
    """Grouped convolutions stay whole: their channels can only leave evenly from all groups. Depthwise ones can go."""
    return isinstance(module, nn.modules.conv._ConvNd) and 1 < module.groups < module.out_channels


def _output_shape(model: nn.Module, example: Floats) -> tuple[int, ...]:
    training = model.training
    try:
        with torch.no_grad():
            return tuple(model.eval()(torch.from_numpy(example)).shape)
    finally:
        model.train(training)
