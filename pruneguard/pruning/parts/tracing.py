"""What hangs together in a network: which entries of which layers can only leave at once, read off one traced run.

torch-pruning (DepGraph, Fang et al., CVPR 2023, arXiv 2301.12900) says which channel of one layer is which of the next.
Here every such correspondence is an edge between two channels, and what is connected leaves together.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch_pruning as tp
from torch import nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.hooks import RemovableHandle

from pruneguard.errors import InvalidInputError
from pruneguard.pruning.parts.multihead import PrunedAttention
from pruneguard.workload import Floats

ATTENTION = "attention: prune heads"
RECURRENT = "recurrent: prune units"
ANSWER = "it gives the answer of the network"
NORMS_ACROSS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
"""Norms that compute one number from many channels: a channel less, or one of zeros more, changes the others."""

_OPAQUE: Mapping[type[nn.Module], str] = {
    nn.RNNBase: RECURRENT,
    nn.RNNCellBase: RECURRENT,
    nn.MultiheadAttention: ATTENTION,
    PrunedAttention: ATTENTION,
}
_MIXING = ("bmm", "scaleddotproduct")


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """Channel `index` of what goes into a layer or comes out of it; norms and the like have one side, "out"."""

    name: str
    module: Any  # a module, or a parameter that stands alone
    side: str
    index: int
    dim: int  # of a parameter that stands alone: where its channels are


@dataclass(frozen=True, slots=True, eq=False)
class Bond:
    """Channels of all layers that leave together, and, where they cannot, why."""

    units: tuple[Unit, ...]
    obstacle: str = ""
    attention: bool = False
    """Whether something mixes them as attention does."""


def opaque(module: nn.Module) -> str:
    """Which method is for a layer that the trace does not look into; empty for all others."""
    return next((method for kind, method in _OPAQUE.items() if isinstance(module, kind)), "")


def bonds(model: nn.Module, example: Floats) -> list[Bond]:
    """What hangs together on the outputs of convolutions and linear layers.

    `model` is traced in eval mode and changed in passing: give a copy. Raises InvalidInputError when it cannot be run
    or traced.
    """
    model.eval().requires_grad_(requires_grad=True)  # the trace follows gradients: a frozen layer would go unseen
    inlets: list[tuple[str, torch.Tensor]] = []
    hooks = [hook for name, module in model.named_modules() if opaque(module) for hook in _close(name, module, inlets)]
    try:
        graph, ends = _graph(model, example, inlets)
    finally:
        for hook in hooks:
            hook.remove()
    found: defaultdict[_Key, list[_Key]] = defaultdict(list)
    leaders = _spread(graph)
    for key in leaders:
        found[_leader(leaders, key)].append(key)
    names = {module: name for name, module in model.named_modules()} | {p: n for n, p in model.named_parameters()}
    return [_bond(keys, names, ends) for keys in found.values()]


class _Place(NamedTuple):
    """One side of one node of the graph; `handler` is torch-pruning's function that cuts there."""

    node: tp.dependency.Node
    handler: Any


_Key = tuple[_Place, int]


class _Index(NamedTuple):
    """The pair that torch-pruning's mappings of indices take and give: here, and where it came from."""

    idx: int
    root_idx: int


def _close(name: str, module: nn.Module, inlets: list[tuple[str, torch.Tensor]]) -> Iterator[RemovableHandle]:
    """Hide what is inside a layer: what goes in counts as an answer, what comes out as given."""

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for value in (*args, *kwargs.values()):
            tensor = value.data if isinstance(value, PackedSequence) else value
            if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
                inlets.append((name, tensor.movedim(-1, min(1, tensor.dim() - 1)).clone()))

    def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return _detached(output)

    yield module.register_forward_pre_hook(enter, with_kwargs=True)
    yield module.register_forward_hook(leave)


def _detached(value: Any) -> Any:
    if isinstance(value, PackedSequence):
        return value._replace(data=value.data.detach())
    if isinstance(value, tuple):
        return tuple(map(_detached, value))
    return value.detach() if isinstance(value, torch.Tensor) else value


def _graph(
    model: nn.Module, example: Floats, inlets: list[tuple[str, torch.Tensor]]
) -> tuple[tp.DependencyGraph, dict[Any, str]]:
    """The graph, and for each place where it ends why nothing that reaches it may leave."""
    ends: dict[Any, str] = {}

    def run(model: nn.Module, rows: torch.Tensor) -> list[torch.Tensor]:
        answer = model(rows)
        if not isinstance(answer, torch.Tensor) or not answer.requires_grad:
            raise TypeError("forward() gives no tensor that its weights have a part in")
        outputs = [answer.clone(), *(tensor for _, tensor in inlets)]
        reasons = [ANSWER, *(f"{name} reads it, and what goes into that stays" for name, _ in inlets)]
        ends.update(zip((output.grad_fn for output in outputs), reasons, strict=True))
        return outputs

    try:
        with torch.enable_grad():
            # torch.tensor: a copy, as forward() may work in place
            graph = tp.DependencyGraph().build_dependency(model, torch.tensor(example), forward_fn=run, verbose=False)
    except Exception as error:  # the user's forward, or torch-pruning, raises whatever it trips over
        raise InvalidInputError(
            f"{type(model).__name__} cannot be traced for pruning: {type(error).__name__}: {error}; give rows that its "
            "forward() takes, and let it answer with one tensor of logits"
        ) from error
    return graph, ends


def _spread(graph: tp.DependencyGraph) -> dict[_Key, _Key]:
    """Every channel reached from an output of a convolution or linear layer, on its way to the leader of its bond."""
    pending: list[tuple[_Place, Sequence[int]]] = []
    for module, node in graph.module2node.items():
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
            pruner = graph.get_pruner_of_module(module)
            pending.append((_Place(node, pruner.prune_out_channels), range(pruner.get_out_channels(module))))
    leaders: dict[_Key, _Key] = {}
    reached: set[_Key] = set()

    def join(one: _Key, other: _Key) -> None:
        leaders[_leader(leaders, one)] = _leader(leaders, other)

    while pending:
        place, indices = pending.pop()
        fresh = [index for index in dict.fromkeys(indices) if (place, index) not in reached]
        reached.update((place, index) for index in fresh)
        span = _span(place)
        for index in fresh:  # evenly from all groups: -1 - p stands for position p in each of them
            join((place, index), (place, -1 - index % span if span else index))
        for dependency in place.node.dependencies if fresh else ():
            if dependency.is_triggered_by(place.handler):
                mapped: Sequence[Any] = [_Index(index, index) for index in fresh]
                for mapping in dependency.index_mapping:
                    mapped = mapped if mapping is None else mapping(mapped)
                other = _Place(dependency.target, dependency.handler)
                for pair in mapped:
                    join((place, pair.root_idx), (other, pair.idx))
                pending.append((other, [pair.idx for pair in mapped]))
    return leaders


def _leader(leaders: dict[_Key, _Key], key: _Key) -> _Key:
    """The one that stands for all that `key` is connected to (union-find, paths halved on the way)."""
    while (above := leaders.setdefault(key, key)) != key:
        leaders[key] = leaders[above]
        key = above
    return key


def _span(place: _Place) -> int:
    """How many channels one group of a grouped convolution or norm has on this side; 0 where there are no groups."""
    match module := place.node.module:
        case nn.modules.conv._ConvNd() if module.groups > 1 and not _is_depthwise(module):
            return int(module.out_channels if _side(place) == "out" else module.in_channels) // int(module.groups)
        case nn.GroupNorm() if module.num_groups > 1:
            return int(module.num_channels) // int(module.num_groups)
    return 0


def _is_depthwise(module: nn.modules.conv._ConvNd) -> bool:
    return 1 < module.groups == module.in_channels == module.out_channels


def _side(place: _Place) -> str:
    return "in" if place.handler.__name__ == "prune_in_channels" else "out"


def _bond(keys: Sequence[_Key], names: dict[Any, str], ends: dict[Any, str]) -> Bond:
    units = tuple(
        Unit(names[place.node.module], place.node.module, _side(place), index, place.node.pruning_dim)
        for place, index in keys
        if index >= 0 and place.node.module in names
    )
    nodes = {place.node: None for place, _ in keys}
    obstacles = [ends.get(node.grad_fn, ANSWER) for node in nodes if node.type == tp.ops.OPTYPE.OUTPUT]
    obstacles += _uneven(keys, names)
    kinds = [str(node.module).lower() for node in nodes if node.type == tp.ops.OPTYPE.ELEMENTWISE]
    return Bond(units, next(iter(obstacles), ""), any(mixing in kind for kind in kinds for mixing in _MIXING))


def _uneven(keys: Sequence[_Key], names: dict[Any, str]) -> Iterator[str]:
    """Layers that would not lose the same from each of their groups."""
    held: defaultdict[_Place, list[int]] = defaultdict(list)
    for place, index in keys:
        held[place].append(index)
    for place, indices in held.items():
        module, span = place.node.module, _span(place)
        if place.node.type == tp.ops.OPTYPE.DEPTHWISE_CONV and not _is_depthwise(module):
            yield f"each group of {names[module]} makes one channel out of several"
        elif span:
            groups = module.num_groups if isinstance(module, nn.GroupNorm) else module.groups
            if sum(index >= 0 for index in indices) != groups * sum(index < 0 for index in indices):
                yield f"not all groups of {names[module]} read it"
