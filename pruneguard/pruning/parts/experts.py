"""Experts of a mixture (Chen et al. 2022, arXiv 2206.00277; Lu et al. 2024, arXiv 2402.14800).

A module is a mixture when it has an nn.ModuleList `experts` and, under one of the names in `ROUTERS`, a linear layer
with one output for each of them (or a module that has such a layer in it). Attributes of the two named in `COUNTS`
follow the number of experts; those named in `CHOICES` say how many experts answer each row, and no fewer stay.

The router's row goes with its expert. What is left is renormalised by the softmax over fewer rows, and experts that
stood behind one that left move up. Whether that is all that has to change is tried: a mixture counts only if it
answers without an expert as when the router gives it minus infinity.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from pruneguard.pruning.group import Found, Group, Indices, Observed, Part, Slice
from pruneguard.pruning.parts import trying
from pruneguard.pruning.parts.trying import under
from pruneguard.workload import Floats

EXPERTS = "experts"
ROUTERS = ("router", "gate", "gating", "w_gate")
COUNTS = ("num_experts", "n_experts", "num_local_experts", "n_routed_experts", "experts_count")
CHOICES = ("top_k", "k", "topk", "num_experts_per_tok", "n_active")
EXPECTED = (
    "forward() must take the number of experts from their list, and weights from a softmax of what the router says"
)


def find(model: nn.Module, example: Floats) -> Found:
    """One group for each mixture; the router's output is where experts are observed, its logits before any softmax.

    Raises InvalidInputError when the network does not run.
    """
    groups: list[Group] = []
    untouched: dict[str, str] = {}
    tied = trying.shared(model)
    for root, module in model.named_modules():
        if not hasattr(module, EXPERTS):
            continue
        group = _group(root, module)
        if isinstance(group, str):
            untouched[root] = group
        elif common := tied & {*(owned.tensor for owned in group.owned), *(n for names in group.whole for n in names)}:
            untouched[root] = f"other layers use {', '.join(sorted(common))} as well"
        else:
            groups.append(group)
    scopes = {group.root: (group, group.root) for group in groups}
    for root, fault in trying.refuted(model, example, scopes, silence=_silence, reshape=reshape).items():
        untouched[root] = f"{fault}; {EXPECTED}"
    return Found(tuple(group for group in groups if group.root not in untouched), untouched)


def reshape(model: nn.Module, removed: Mapping[str, Indices]) -> None:
    """Take experts out of their lists; those behind them move up."""
    for root, gone in removed.items():
        mixture = model.get_submodule(root)
        experts = getattr(mixture, EXPERTS)
        whole = len(experts)
        for number in sorted(gone, reverse=True):
            del experts[number]
        for module, name in _attributes(mixture, COUNTS):
            if getattr(module, name) == whole:
                setattr(module, name, len(experts))


def _group(root: str, module: nn.Module) -> Group | str:
    """The experts of a module that has some, or why they cannot leave."""
    experts = getattr(module, EXPERTS)
    if not isinstance(experts, nn.ModuleList):
        return f"its experts are a {type(experts).__name__}; make them an nn.ModuleList"
    routers = _routers(module, len(experts))
    if not routers:
        return (
            f"it has {len(experts)} experts and no nn.Linear with {len(experts)} outputs to choose among them under "
            f"any of the names {', '.join(ROUTERS)}"
        )
    least = max([1, *(getattr(holder, name) for holder, name in _attributes(module, CHOICES))])
    if len(experts) <= least:
        return f"all of its {len(experts)} experts answer every row"
    numbers = tuple((number,) for number in range(len(experts)))
    names = list(module.state_dict())
    return Group(
        part=Part.EXPERTS,
        root=root,
        numbers=numbers,
        owned=tuple(Slice(under(root, name), dim, numbers) for name, dim in _rows(module, routers, len(experts))),
        whole=tuple(
            tuple(under(root, name) for name in names if name.startswith(f"{EXPERTS}.{number}."))
            for number in range(len(experts))
        ),
        observed=Observed(under(root, routers[0]), "output", -1, numbers),
        least=least,
    )


def _routers(module: nn.Module, experts: int) -> list[str]:
    """Linear layers with an output for each expert: first the one that chooses, then those that add noise to it."""
    names = [
        name
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear)
        and layer.out_features == experts
        and (name.partition(".")[0] in ROUTERS or "noise" in name)
        and not name.startswith(f"{EXPERTS}.")
    ]
    names.sort(key=lambda name: "noise" in name)
    return names if names and "noise" not in names[0] else []


def _rows(module: nn.Module, routers: list[str], experts: int) -> Iterator[tuple[str, int]]:
    """Tensors with an entry for each expert, and the dimension: of routers, and the mixture's own."""
    for name, tensor in module.state_dict().items():
        layer = name.rpartition(".")[0]
        if layer in routers:
            yield name, 0
        elif not layer and list(tensor.shape).count(experts) == 1:
            yield name, list(tensor.shape).index(experts)


def _attributes(mixture: nn.Module, names: tuple[str, ...]) -> list[tuple[nn.Module, str]]:
    """Whole numbers that a mixture, or what routes in it, has under some of these names."""
    holders = [mixture]
    for name, child in mixture.named_children():
        if name in ROUTERS:
            holders.extend(child.modules())
    return [(holder, name) for holder in holders for name in names if type(vars(holder).get(name)) is int]


def _silence(model: nn.Module, group: Group) -> None:
    assert group.observed is not None
    model.get_submodule(group.observed.module).register_forward_hook(_first_never)


def _first_never(module: nn.Module, args: Any, logits: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.full_like(logits[..., :1], -torch.inf), logits[..., 1:]], -1)
