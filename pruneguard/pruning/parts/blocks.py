"""Blocks: residual blocks and transformer layers (ShortGPT, Men et al. 2024, arXiv 2403.03853; LayerDrop, Fan et al.
2020, arXiv 1909.11556).

A block is an element of an nn.ModuleList or nn.Sequential that has layers inside and answers one tensor, in the shape
of its first argument. Neither the experts of a mixture are blocks nor what stands inside a block; an nn.Sequential in
a list is none, but its elements may be. Where a block was, a `Skip` passes on what it is given.
"""

import copy
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning.group import Found, Group, Indices, Part
from pruneguard.pruning.parts import trying
from pruneguard.pruning.parts.experts import EXPERTS
from pruneguard.pruning.parts.trying import under
from pruneguard.workload import Floats


class Skip(nn.Module):
    """Stands where a block was, and answers its first argument."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.training = block.training
        attention: Any = getattr(block, "self_attn", None)
        if hasattr(attention, "batch_first"):  # nn.TransformerEncoder and -Decoder ask their first layer
            self.self_attn = SimpleNamespace(batch_first=attention.batch_first)

    def forward(self, x: torch.Tensor, *beside: Any, **named: Any) -> torch.Tensor:
        return x


def find(model: nn.Module, example: Floats) -> Found:
    """One group for each container; a block's number is its position there, and stays so when others leave.

    One stays where a container has nothing but blocks. `observed` is None, as a block is no entry of a tensor: what
    block n is given and what it answers are the first argument and the answer of `get_submodule(root)[n]`.

    Raises InvalidInputError when the network does not run.
    """
    places = {root: _elements(root, module) for root, module in model.named_modules() if _lists_blocks(root, module)}
    names = [name for elements in places.values() for name in elements.values()]
    if not names:
        return Found((), {})
    faults = _faults(model, example, names)
    groups: list[Group] = []
    untouched: dict[str, str] = {}
    taken: tuple[str, ...] = ()
    for root, elements in places.items():
        blocks = {place: name for place, name in elements.items() if name not in faults}
        inside = tuple(f"{name}." for name in blocks.values())
        stage = len(blocks) == 1 and any(name.startswith(inside) for name in names if name not in faults)
        if root.startswith(taken) or stage:  # of a stage, the blocks are what is in it
            continue
        untouched |= {name: faults[name] for name in elements.values() if name in faults}
        least = 0 if len(blocks) < len(elements) else 1
        if len(blocks) <= least:
            untouched |= dict.fromkeys(blocks.values(), "it is the only block of its list, and one stays")
            continue
        taken += inside
        tensors = model.state_dict()
        groups.append(
            Group(
                part=Part.BLOCKS,
                root=root,
                numbers=tuple((int(place),) for place in blocks),
                whole=tuple(tuple(name for name in tensors if name.startswith(place)) for place in inside),
                least=least,
            )
        )
    return Found(tuple(groups), untouched)


def reshape(model: nn.Module, removed: Mapping[str, Indices]) -> None:
    """Put a `Skip` where each removed block was: the others keep their names."""
    for root, numbers in removed.items():
        container = model.get_submodule(root)
        for number in numbers:
            setattr(container, str(number), Skip(container.get_submodule(str(number))))
    trying.without_nesting(model)


def _lists_blocks(root: str, module: nn.Module) -> bool:
    return _is_plain_list(module) and root.rpartition(".")[2] != EXPERTS


def _is_plain_list(module: nn.Module) -> bool:
    """Not a subclass with a forward() of its own: that is a block itself."""
    return isinstance(module, nn.ModuleList | nn.Sequential) and type(module).forward in (
        nn.ModuleList.forward,
        nn.Sequential.forward,
    )


def _elements(root: str, container: nn.Module) -> dict[str, str]:
    """Places and names of what could be a block."""
    return {
        place: under(root, place)
        for place, child in container.named_children()
        if child._modules and any(True for _ in child.parameters()) and not _is_plain_list(child)
    }


def _faults(model: nn.Module, example: Floats, names: list[str]) -> dict[str, str]:
    """The modules that are no blocks, and why."""
    seen = trying.calls(model, example, {"", *names})
    tied = trying.shared(model)
    return {
        name: fault
        for name in names
        if (fault := _unnumbered(name) or _misfit(seen.get(name)) or _tie(name, tied) or _need(model, seen[""], name))
    }


def _unnumbered(name: str) -> str:
    numbered = name.rpartition(".")[2].isdigit()
    return "" if numbered else "its place has a name instead of a number; give nn.Sequential its blocks one by one"


def _misfit(call: trying.Call | None) -> str:
    if call is None:
        return "forward() never calls it"
    if not isinstance(call.answer, torch.Tensor):
        return f"it answers a {type(call.answer).__name__}; a block answers one tensor"
    if not call.args or not isinstance(call.args[0], torch.Tensor):
        return "its first argument is no tensor; a block is given what it changes first, by position"
    given, answered = tuple(call.args[0].shape), tuple(call.answer.shape)
    return "" if given == answered else f"it answers {answered} where it is given {given}"


def _tie(name: str, tied: set[str]) -> str:
    common = sorted(tensor for tensor in tied if tensor.startswith(f"{name}."))
    return f"other layers use {', '.join(common)} as well" if common else ""


def _need(model: nn.Module, call: trying.Call, name: str) -> str:
    """Why the network does not run without a block, if it does not."""
    shorter = copy.deepcopy(model).eval()
    place, _, last = name.rpartition(".")
    setattr(shorter.get_submodule(place), last, Skip(model.get_submodule(name)))
    trying.without_nesting(shorter)
    try:
        answer = call.repeat(shorter)
    except InvalidInputError as error:
        return f"the network needs it; without, {error}"
    before = trying.first(call.answer)
    if answer is None or before is None or answer.shape != before.shape:
        return "the network answers in another shape without it"
    return ""
