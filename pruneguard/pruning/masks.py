"""Unstructured pruning: single weights become zero and stay zero, and the network keeps its shape.

Masks are our own `name -> bool` tensors. `torch.nn.utils.prune` would rename the parameters, double the file, and break
`deepcopy`. Weights are the entries of parameters of two dimensions or more, those of recurrent layers and of attention
included; biases and norms stay whole.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import tensors, weights
from pruneguard.pruning.recipe import TooMildError

Masks: TypeAlias = Mapping[str, torch.Tensor]
"""Name of a parameter -> bool tensor of its shape: what stays."""

Scores: TypeAlias = Mapping[str, torch.Tensor]
"""Name of a parameter -> float64 tensor of its shape: the lowest leave first. Minus infinity has left already."""

GONE = -torch.inf

CRITERIA: Mapping[str, str] = MappingProxyType(
    {
        "magnitude": "the smallest weights leave; Han et al. 2015 (arXiv 1506.02626)",
        "random": "any weights leave, as the seed says: the control that the others have to beat",
    }
)


@dataclass(frozen=True, slots=True)
class Budget:
    """How a ratio is shared among the layers: scores and ratio in, masks out."""

    doc: str
    paper: str
    share: Callable[[Scores, float], Masks]


def make(
    model: nn.Module,
    *,
    ratio: float | None,
    budget: str = "global",
    criterion: str = "magnitude",
    seed: int = 0,
    scores: Scores | None = None,
    within: Masks | None = None,
) -> Masks:
    """Masks that leave a share of `1 - ratio` of the weights of `model`, which is not changed.

    `budget` is one of `BUDGETS` or a pattern `N:M`: of every M weights in a row along a layer's input, N stay, so
    `ratio` is 1 - N/M or None; layers whose input size is no multiple of M get no mask. `seed` is used by the criterion
    `random`. `scores` of one's own replace the criterion. What is masked in `within` is part of the share that leaves.

    Raises InvalidInputError for a ratio, budget or criterion that cannot be, scores that do not fit, weights that are
    not finite or too few, and a network that `weights.refuse_unprunable` refuses.
    """
    refuse(ratio, budget)
    weights.refuse_unprunable(model)
    if scores is None:
        scores = _scores(model, criterion=criterion, seed=seed)
    masks = share(model, scores, ratio=ratio, budget=budget, within=within or {})
    if all(mask.all() for mask in masks.values()):
        raise TooMildError(f"nothing leaves {type(model).__name__} at ratio {ratio}, budget {budget}; raise it")
    return masks


def share(
    model: nn.Module, scores: Scores, *, ratio: float | None, budget: str, within: Masks = MappingProxyType({})
) -> Masks:
    """As `make`, with scores at hand; a ratio at which nothing leaves is none to be refused."""
    _fit(scores, model)
    if budget == "lamp" and any((score < 0).any() for score in scores.values()):
        raise InvalidInputError("lamp compares magnitudes, and some of these scores are negative; take global or layer")
    scores = {
        name: score.masked_fill(~within[name], GONE) if name in within else score for name, score in scores.items()
    }
    if found := pattern(budget):
        masks = _patterned(scores, found, _transposed(model))
    else:
        assert ratio is not None  # `refuse` saw to it
        masks = BUDGETS[budget].share(scores, ratio)
    return {name: mask & (scores[name] > GONE) for name, mask in masks.items()}


def apply(model: nn.Module, masks: Masks) -> None:
    """Make masked weights of `model` zero, in place. Raises InvalidInputError when the masks are another network's."""
    found = dict(model.named_parameters())
    if unfit := [name for name, mask in masks.items() if name not in found or found[name].shape != mask.shape]:
        raise InvalidInputError(f"masks of {unfit} fit no parameter of {type(model).__name__}; make masks for it")
    with torch.no_grad():
        for name, mask in masks.items():
            # Not a product: that would leave -0.0 where a negative weight was.
            found[name].masked_fill_(~mask, 0)


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that hold weights. Raises InvalidInputError when there is none."""
    found = {name: parameter for name, parameter in model.named_parameters() if parameter.dim() > 1}
    if not found:
        raise InvalidInputError(f"{type(model).__name__} has no weights to prune, only biases and norms")
    return found


def magnitudes(model: nn.Module) -> Scores:
    """Raises InvalidInputError for weights that are not finite."""
    found = prunable(model)
    if sick := [name for name, parameter in found.items() if not torch.isfinite(parameter).all()]:
        raise InvalidInputError(f"{sick} hold weights that are not finite; train the network again")
    return {name: parameter.detach().abs().double() for name, parameter in found.items()}


def untouched(model: nn.Module, masks: Masks) -> dict[str, str]:
    """The weights of `model` that `masks` leave whole, and why; biases and the scales of norms are never masked."""
    reasons = {}
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            continue
        if name not in masks:
            reasons[name] = f"shape {tuple(parameter.shape)}: its input size is no multiple of the pattern"
        elif masks[name].all():
            reasons[name] = "its weights score higher than all that leave"
    return reasons


def sparsity(masks: Masks) -> float:
    """Share of the entries of masked tensors that are zero."""
    return 1 - sum(int(mask.sum()) for mask in masks.values()) / max(1, sum(mask.numel() for mask in masks.values()))


def pack(masks: Masks) -> bytes:
    """The masks' file: safetensors with, under each name, the `bits` of its mask as one tensor of type U8."""
    packed = {name: bits(masks[name]) for name in sorted(masks)}
    return tensors.write({name: tensors.Tensor("U8", (len(data),), data) for name, data in packed.items()})


def unpack(packed: Mapping[str, bytes], shapes: Mapping[str, tuple[int, ...]]) -> Masks:
    """Masks out of their bits, which `recomputing.read_masks` has checked, and their shapes."""
    return {
        name: torch.from_numpy(np.unpackbits(np.frombuffer(content, np.uint8), count=math.prod(shapes[name])))
        .bool()
        .reshape(shapes[name])
        for name, content in packed.items()
    }


def bits(mask: torch.Tensor) -> bytes:
    """Entries row by row, the highest bit of a byte first. A one is kept; spare bits at the end are zero."""
    return np.packbits(mask.numpy()).tobytes()


def refuse(ratio: float | None, budget: str) -> None:
    """Raise InvalidInputError for a budget that there is not, or a ratio that it cannot have."""
    if found := pattern(budget):
        expected = 1 - found[0] / found[1]
        if ratio is not None and not math.isclose(ratio, expected, abs_tol=0.005):
            raise InvalidInputError(f"ratio={ratio} with {budget}, which is {expected:.3g}; leave the ratio out")
    elif budget not in BUDGETS:
        raise InvalidInputError(f"budget={budget!r}; expected one of {(*BUDGETS,)} or a pattern such as 2:4")
    elif ratio is None or not 0 < ratio < 1:
        raise InvalidInputError(f"ratio={ratio}; expected a share between 0 and 1")


def _scores(model: nn.Module, *, criterion: str, seed: int) -> Scores:
    if criterion not in CRITERIA:
        raise InvalidInputError(f"criterion={criterion!r}; expected one of {(*CRITERIA,)}")
    if criterion == "magnitude":
        return magnitudes(model)
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
        for name, parameter in prunable(model).items()
    }


def _fit(scores: Scores, model: nn.Module) -> None:
    expected = {name: parameter.shape for name, parameter in prunable(model).items()}
    if {name: score.shape for name, score in scores.items()} != expected:
        raise InvalidInputError(f"scores of {sorted(scores)}; expected one of each weight of {sorted(expected)}")
    if unclear := [name for name, score in scores.items() if score.isnan().any()]:
        raise InvalidInputError(f"scores of {unclear} are no numbers; compute them on finite losses")


def _over_all(scores: Scores, ratio: float) -> Masks:
    flat = torch.cat([score.flatten() for score in scores.values()])
    parts = torch.split(_without_lowest(flat, int(len(flat) * ratio)), [score.numel() for score in scores.values()])
    return {name: part.reshape(score.shape) for part, (name, score) in zip(parts, scores.items(), strict=True)}


def _in_each(scores: Scores, ratio: float) -> Masks:
    return {name: _without_lowest(score, int(score.numel() * ratio)) for name, score in scores.items()}


def _lamp(scores: Scores, ratio: float) -> Masks:
    return _over_all({name: _relative(score) for name, score in scores.items()}, ratio)


def _relative(score: torch.Tensor) -> torch.Tensor:
    """Each squared weight over the sum of the squares of those in its layer that are not smaller."""
    square = score.flatten().clamp(min=0) ** 2
    order = torch.argsort(square, stable=True)
    rest = square[order].flip(0).cumsum(0).flip(0)
    relative = torch.empty_like(square)
    relative[order] = square[order] / rest.clamp(min=torch.finfo(square.dtype).tiny)
    return relative.reshape(score.shape).masked_fill(score == GONE, GONE)


def _erk(scores: Scores, ratio: float) -> Masks:
    """Densities proportional to (sum of sizes) / (product of sizes); what a full layer cannot take, the others get."""
    raw = {name: sum(score.shape) / score.numel() for name, score in scores.items()}
    free, left = dict(scores), (1 - ratio) * sum(score.numel() for score in scores.values())
    while True:
        scale = left / sum(raw[name] * score.numel() for name, score in free.items())
        if not (full := [name for name in free if scale * raw[name] > 1]):
            break
        left -= sum(free.pop(name).numel() for name in full)
    return {
        name: _without_lowest(score, round(score.numel() * (1 - scale * raw[name])) if name in free else 0)
        for name, score in scores.items()
    }


def _patterned(scores: Scores, kept_of: tuple[int, int], transposed: set[str]) -> Masks:
    kept, length = kept_of
    masks = {}
    for name, score in scores.items():
        rows = score.movedim(0 if name in transposed else 1, -1)
        if rows.shape[-1] % length == 0:
            blocks = rows.reshape(*rows.shape[:-1], -1, length)
            lowest = torch.argsort(blocks, dim=-1, stable=True)[..., : length - kept]
            stays = torch.ones(blocks.shape, dtype=torch.bool).scatter_(-1, lowest, False).reshape(rows.shape)
            masks[name] = stays.movedim(-1, 0 if name in transposed else 1).contiguous()
    if not masks:
        raise InvalidInputError(f"no layer's input size is a multiple of {length}; take another pattern or a ratio")
    return masks


def _transposed(model: nn.Module) -> set[str]:
    """Names of the weights whose input is their first dimension, not their second."""
    kinds = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    return {f"{name}.weight".lstrip(".") for name, module in model.named_modules() if isinstance(module, kinds)}


def _without_lowest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """False for the `count` lowest; of equal ones the first."""
    stays = torch.ones(scores.numel(), dtype=torch.bool)
    stays[torch.argsort(scores.flatten(), stable=True)[:count]] = False
    return stays.reshape(scores.shape)


def pattern(budget: str) -> tuple[int, int] | None:
    """(N, M) of a budget `N:M`. Raises InvalidInputError unless 0 < N < M."""
    if not (found := re.fullmatch(r"(\d{1,4}):(\d{1,4})", budget)):
        return None
    kept, length = int(found[1]), int(found[2])
    if not 0 < kept < length:
        raise InvalidInputError(f"budget={budget}: of {length} weights in a row 1 to {length - 1} can stay")
    return kept, length


BUDGETS: Mapping[str, Budget] = MappingProxyType(
    {
        "global": Budget("all weights are ranked together", "arXiv 1506.02626", _over_all),
        "layer": Budget("each layer loses the same share", "arXiv 1506.02626", _in_each),
        "lamp": Budget("ranked together, each weight beside the larger ones of its layer", "arXiv 2010.07611", _lamp),
        "erk": Budget("small layers keep a larger share, by their sizes", "arXiv 1707.04780, 1911.11134", _erk),
    }
)
PATTERN = "N:M: of every M weights in a row N stay, such as 2:4; Mishra et al. 2021 (arXiv 2104.08378)"
