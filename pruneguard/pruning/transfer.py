"""A network for a new task that starts as a pruned one for another: its weights, and what was pruned stays pruned.

Sparse features transfer: Chen et al. 2020 (arXiv 2007.12223), Iofinova et al. 2022 (arXiv 2111.13445).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import masks
from pruneguard.pruning.masks import Masks
from pruneguard.pruning.weights import State


@dataclass(frozen=True, slots=True, eq=False)
class Transferred:
    """What came along, by the names in the new network. Train it with `regimes.Held(masks)`.

    `fresh` are the tensors that did not come, such as the last layer's, and why.
    """

    taken: tuple[str, ...]
    fresh: Mapping[str, str]
    masks: Masks


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A pruned network for another task: its tensors by name, and the masks that made some of their entries zero."""

    tensors: State
    masks: Masks


def transfer(source: Source, target: nn.Module, *, anew: Collection[str] = ()) -> Transferred:
    """Put the tensors of `source` into `target`, in place, where name, shape and type agree.

    The source's masks of tensors that came along hold in `target` too. A source that was made narrower wants a target
    cut to its widths. Modules in `anew` start afresh although they would fit: a last layer for other classes of the
    same number.
    Raises InvalidInputError, and leaves `target` as it was, when none of the source's weights fits.
    """
    given, expected = source.tensors, target.state_dict()
    fresh = {
        name: reason
        for name in expected
        if (reason := _asked(name, anew) or _mismatch(given.get(name), expected[name])) is not None
    }
    taken = tuple(name for name in expected if name not in fresh)
    if not any(expected[name].dim() > 1 for name in taken):
        raise InvalidInputError(
            f"no weight of the source fits {type(target).__name__} ({_told(fresh)}); the two must share names and "
            "shapes up to the last layers"
        )
    with torch.no_grad():
        for name in taken:
            expected[name].copy_(given[name])
    held = {name: mask for name, mask in source.masks.items() if name in taken}
    masks.apply(target, held)
    return Transferred(taken, fresh, held)


def _asked(name: str, anew: Collection[str]) -> str | None:
    return "asked to start anew" if any(name.startswith(f"{module}.") for module in anew) else None


def _mismatch(given: torch.Tensor | None, expected: torch.Tensor) -> str | None:
    if given is None:
        return "not in the source"
    if given.shape != expected.shape:
        return f"{tuple(given.shape)} in the source, {tuple(expected.shape)} here"
    return None if given.dtype == expected.dtype else f"{given.dtype} in the source, {expected.dtype} here"


def _told(fresh: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in list(fresh.items())[:3])
