"""A network on its example rows: what its modules are given there, and whether two answers are one.

What was read off names and shapes is only believed when the network, or a module of it, answers the same without a
part as with one that is switched off.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import surgery
from pruneguard.pruning.group import Group, Indices
from pruneguard.pruning.parts import probing
from pruneguard.workload import Floats

DEVIATION_MAX = 1e-5
"""Of the answer's largest magnitude, or of one where that is less: more is not rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of a module: what it was given, and what it answered."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    answer: Any

    def repeat(self, module: nn.Module) -> torch.Tensor | None:
        """What `module` answers when it is given the same: its first tensor. Raises InvalidInputError when it fails."""
        try:
            with torch.no_grad():
                return first(module(*copy.deepcopy(self.args), **copy.deepcopy(self.kwargs)))
        except Exception as error:  # the user's forward, on parts that it did not expect to miss
            raise InvalidInputError(f"it does not run: {type(error).__name__}: {error}") from error


def calls(model: nn.Module, example: Floats, names: Iterable[str]) -> dict[str, Call]:
    """The first call of each module named while the network answers `example` in eval mode.

    Modules that are not called are not in it. Raises InvalidInputError when the network cannot be copied or run.
    """
    given: dict[str, tuple[Any, Any]] = {}
    seen: dict[str, Call] = {}

    def before(name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: Any, kwargs: Any) -> None:
            if name not in given:
                given[name] = copy.deepcopy((args, kwargs))  # the module may write into what it is given

        return note

    def after(name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: Any, answer: Any) -> None:
            if name not in seen:
                seen[name] = Call(*given[name], answer)

        return note

    try:
        watched = copy.deepcopy(model).eval()
        without_nesting(watched)
        for name in names:
            module = watched.get_submodule(name)
            module.register_forward_pre_hook(before(name), with_kwargs=True)
            module.register_forward_hook(after(name))
        with torch.no_grad():
            watched(torch.tensor(example))
    except Exception as error:  # the user's forward may raise anything
        raise InvalidInputError(
            f"{type(model).__name__} does not run on its example rows: {type(error).__name__}: {error}; "
            "mend its forward() before pruning"
        ) from error
    return seen


def refuted(
    model: nn.Module,
    example: Floats,
    scopes: Mapping[str, tuple[Group, str]],
    *,
    silence: Callable[[nn.Module, Group], None],
    reshape: Callable[[nn.Module, Mapping[str, Indices]], None],
) -> dict[str, str]:
    """The roots of groups that are not what they seem, and why: without its first part, a module answers differently.

    Differently than with the part in place, but silent: `silence` does that to a copy of the network, and `reshape` is
    what goes with cutting parts of this kind. `scopes` gives each group and the module whose answers are compared.
    Raises InvalidInputError as `calls` does.
    """
    if not scopes:
        return {}
    groups = [group for group, _ in scopes.values()]
    seen = calls(model, example, {scope for _, scope in scopes.values()})
    chosen = dict.fromkeys(range(len(groups)), (0,))
    gone = {group.root: group.numbers[0] for group in groups}
    kept = surgery.consequence(model, groups, chosen)
    fewer = surgery.cut(model, kept=kept, reshape=lambda copied: reshape(copied, gone))[0].eval()
    silent = copy.deepcopy(model).eval()
    for group in groups:
        silence(silent, group)

    def fault(scope: str) -> str:
        if scope not in seen:
            return "forward() never calls it"
        expected = seen[scope].repeat(silent.get_submodule(scope))
        try:
            found = seen[scope].repeat(fewer.get_submodule(scope))
        except InvalidInputError as error:
            return f"without its first one, {error}"
        return (
            "" if same(found, expected) else "without its first one, it answers differently than with that one silent"
        )

    return {root: wrong for root, (_, scope) in scopes.items() if (wrong := fault(scope))}


def without_nesting(model: nn.Module) -> None:
    """Let every nn.TransformerEncoder give its layers plain tensors, as it does when it is exported.

    In eval mode it packs padded rows into nested tensors, which only its own layers take, and only as torch made them.
    """
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False


def same(found: torch.Tensor | None, expected: torch.Tensor | None) -> bool:
    """Whether two answers are the same up to rounding."""
    if found is None or expected is None or found.shape != expected.shape:
        return False
    return bool(((found - expected).abs() <= DEVIATION_MAX * max(1.0, float(expected.abs().max()))).all())


def first(value: Any) -> torch.Tensor | None:
    """The first tensor of floats in what a module is given or answers."""
    return next(probing.tensors(value), None)


def shared(model: nn.Module) -> set[str]:
    """Names of parameters and buffers that are one tensor under several names."""
    tensors = model.state_dict(keep_vars=True)
    times = Counter(id(tensor) for tensor in tensors.values())
    return {name for name, tensor in tensors.items() if times[id(tensor)] > 1}


def under(root: str, name: str) -> str:
    """The name of what module `root` calls `name`."""
    return f"{root}.{name}" if root else name
