"""Channels of convolutions and neurons of linear layers, and everything that made or read them.

A trace says what hangs together (`tracing.py`), and no word of it is believed: each group is cut alone, and what is
left has to answer as the network does with zeros in the place of what left.
"""

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import surgery
from pruneguard.pruning.group import Found, Group, Indices, Observed, Part, Slice
from pruneguard.pruning.parts import tracing
from pruneguard.pruning.parts.tracing import Bond, Unit
from pruneguard.workload import Floats

DEVIATION_MAX = 1e-5
"""Between the cut network and the one with zeros, as a share of its largest logit (of one, where that is less)."""

_CONVOLUTION = nn.modules.conv._ConvNd
_ROWS = 2  # enough to see a difference
_SEED = 0
_COUNTED = (
    "without some of its channels the network answers otherwise than with zeros in them: forward() takes a mean over "
    "them, or counts on their places"
)


def channels(model: nn.Module, example: Floats) -> Found:
    """Outputs of convolutions and linear layers. `model` is left as it was; `example` is a few rows of its input.

    Where convolutions are grouped, a part is one position in all of the groups: they can only lose channels evenly.
    Raises InvalidInputError when the model cannot be run on the example or traced.
    """
    return _find(model, example, part=Part.CHANNELS)


def neurons(model: nn.Module, example: Floats) -> Found:
    """Outputs of linear layers that no convolution has a part in: those of perceptrons, of feed-forward layers.

    Otherwise as `channels`.
    """
    return _find(model, example, part=Part.NEURONS)


def _find(model: nn.Module, example: Floats, *, part: Part) -> Found:
    quiet = copy.deepcopy(model).eval()
    kinds = (nn.Linear,) if part is Part.NEURONS else (_CONVOLUTION, nn.Linear)
    bonds: defaultdict[str, list[Bond]] = defaultdict(list)  # by the first layer that makes them
    order = {name: place for place, (name, _) in enumerate(quiet.named_modules())}
    made_by: defaultdict[str, dict[str, None]] = defaultdict(dict)  # layer -> roots, in their order
    for bond in tracing.bonds(copy.deepcopy(quiet), example):
        makers = {unit.name: None for unit in bond.units if _makes(unit)}
        root = min(makers, key=order.__getitem__)
        bonds[root].append(bond)
        for maker in makers:
            made_by[maker][root] = None
    groups, reasons = [], {}
    for root in sorted(bonds, key=order.__getitem__):
        found = _group(quiet, example, root=root, bonds=bonds[root], part=part)
        if isinstance(found, Group):
            groups.append(found)
        else:
            reasons[root] = found
    return Found(tuple(groups), _untouched(quiet, kinds, made_by, reasons))


def _untouched(
    model: nn.Module,
    kinds: tuple[type[nn.Module], ...],
    made_by: Mapping[str, Mapping[str, None]],
    reasons: Mapping[str, str],
) -> dict[str, str]:
    """Every layer of these kinds, and every one that is not looked into, of which nothing can leave, and why."""
    untouched = {}
    inside = ""
    for name, module in model.named_modules():
        if inside and name.startswith(inside):
            continue
        if method := tracing.opaque(module):
            untouched[name], inside = method, f"{name}."
        elif isinstance(module, kinds) and (roots := made_by.get(name, {})).keys() <= reasons.keys():
            untouched[name] = next((reasons[root] for root in roots), "what it computes has no part in the answer")
    return untouched


def _group(model: nn.Module, example: Floats, *, root: str, bonds: Sequence[Bond], part: Part) -> Group | str:
    """The group of these bonds, or why it is none."""
    if obstacle := next((bond.obstacle for bond in bonds if bond.obstacle), ""):
        return obstacle
    if len(bonds) == 1:
        return "its channels can only leave all together"
    units = [unit for bond in bonds for unit in bond.units]
    convolutions = (u.name for u in units if _makes(u) and isinstance(u.module, _CONVOLUTION))
    if part is Part.NEURONS and (convolution := next(convolutions, "")):
        return f"{convolution} is a convolution: prune channels"
    bonds = sorted(bonds, key=lambda bond: _numbers(bond, root))
    numbers = tuple(_numbers(bond, root) for bond in bonds)
    norms = {owner for unit in units if isinstance(model.get_submodule(owner := _owner(unit)), tracing.NORMS_ACROSS)}
    group = Group(
        part,
        root,
        numbers,
        owned=tuple(_owned(bonds)),
        observed=Observed(root, "output", 1 if isinstance(model.get_submodule(root), _CONVOLUTION) else -1, numbers),
        padded=not norms,
    )
    if fault := _fault(model, group, example, norms):
        return tracing.ATTENTION if any(bond.attention for bond in bonds) else fault
    return group


def _makes(unit: Unit) -> bool:
    return unit.side == "out" and isinstance(unit.module, _CONVOLUTION | nn.Linear)


def _numbers(bond: Bond, root: str) -> Indices:
    return tuple(sorted(unit.index for unit in bond.units if unit.name == root and _makes(unit)))


def _owner(unit: Unit) -> str:
    """The module that a unit is in: of a parameter that stands alone, the one that holds it."""
    return unit.name.rpartition(".")[0] if isinstance(unit.module, nn.Parameter) else unit.name


def _owned(bonds: Sequence[Bond]) -> Iterator[Slice]:
    entries: defaultdict[tuple[str, int], list[set[int]]] = defaultdict(lambda: [set() for _ in bonds])
    for position, bond in enumerate(bonds):
        for unit in bond.units:
            for tensor, dim, index in _entries(unit):
                entries[tensor, dim][position].add(index)
    for (tensor, dim), indices in entries.items():
        yield Slice(tensor, dim, tuple(tuple(sorted(found)) for found in indices))


def _entries(unit: Unit) -> Iterator[tuple[str, int, int]]:
    """Name of a tensor, dimension, index: what goes with a channel."""
    name, module, side, index = unit.name, unit.module, unit.side, unit.index
    along: dict[str, tuple[int, int]] = {}
    match module:
        case nn.Parameter():
            yield name, unit.dim, index
        case _CONVOLUTION():
            # Weights are [out, in per group, ...], transposed [in, out per group, ...].
            makes, per_group = side == "out", (module.out_channels if side == "out" else module.in_channels)
            if makes is not module.transposed or module.groups == module.in_channels == module.out_channels:
                along["weight"] = 0, index
            else:
                along["weight"] = 1, index % (per_group // module.groups)
            if makes:
                along["bias"] = 0, index
        case nn.Linear() if side == "in":
            along["weight"] = 1, index
        case nn.Embedding():
            along["weight"] = 1, index
        case nn.PReLU() if module.num_parameters == 1:
            pass  # one slope for all
        case _:
            along = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (0, index))
    for tensor, place in along.items():
        if getattr(module, tensor, None) is not None:
            yield f"{name}.{tensor}" if name else tensor, *place


def _fault(model: nn.Module, group: Group, example: Floats, norms: set[str]) -> str:
    """What goes wrong when parts of a group leave; empty where nothing does.

    A single part, which must not need company, and about half of them, whose places a misread layer would mix up.
    """
    rows = example[:_ROWS]
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    for owned in group.owned:
        if max(index for indices in owned.indices for index in indices) >= shapes[owned.tensor][owned.dim]:
            return f"the trace counts further than {owned.tensor} goes"
    generator = torch.Generator().manual_seed(_SEED)
    half = torch.randperm(group.width, generator=generator)[: group.width // 2].tolist()
    for parts in ([0], half):
        chosen = {0: parts}
        kept = surgery.consequence(model, [group], chosen)
        try:
            pruned, _ = surgery.cut(model, kept=kept)
            surgery.require_alive(model, pruned, rows.copy())  # forward() may work in place
        except InvalidInputError as error:
            return str(error)
        silent = surgery.silenced(model, [group], chosen)
        expected, found = (_answer(network, norms, rows) for network in (silent, pruned))
        if not (found - expected).abs().max() <= DEVIATION_MAX * max(1.0, float(expected.abs().max())):
            return _COUNTED
    return ""


def _answer(model: nn.Module, norms: set[str], example: Floats) -> torch.Tensor:
    """Logits of a network that may be changed. It passes its norms by: they count channels of zeros too."""
    for name in norms:
        model.get_submodule(name).forward = nn.Identity().forward
    with torch.no_grad():
        answer: torch.Tensor = model(torch.tensor(example))
        return answer
