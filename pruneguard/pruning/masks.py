"""Unstructured pruning: single weights become zero and stay zero, and the network keeps its shape.

Masks are our own `name -> bool` tensors. `torch.nn.utils.prune` would rename the parameters, double the file, and break
`deepcopy`. Magnitude as the criterion: Han et al. 2015 (arXiv 1506.02626); ranked over all layers or within each.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.pruning import tensors, weights
from pruneguard.pruning.lineage import Mask, MaskLineage

Masks = Mapping[str, torch.Tensor]
"""Name of a parameter -> bool tensor of its shape: what stays."""

CRITERIA = ("magnitude", "random")
"""`magnitude`: the smallest weights go. `random`: the control that it has to beat."""

SCOPES = ("global", "layer")


def prune(
    model: nn.Module, *, ratio: float, scope: str = "global", criterion: str = "magnitude", seed: int = 0
) -> tuple[nn.Module, MaskLineage, dict[str, torch.Tensor]]:
    """A copy of `model` with a share of its weights zero, not yet fine-tuned; its lineage; and the masks.

    Weights are the entries of parameters of two dimensions or more: biases and norms stay whole. `ratio` is the share
    of them that goes, over all (`scope` global) or of each tensor (layer). `seed` is used by the criterion `random`.

    Raises InvalidInputError for a ratio outside (0, 1), tied weights, weights that are not finite, or too few of them.
    """
    if not 0 < ratio < 1 or scope not in SCOPES or criterion not in CRITERIA:
        raise InvalidInputError(
            f"ratio={ratio}, scope={scope!r}, criterion={criterion!r}; expected a share between 0 and 1, "
            f"one of {SCOPES} and one of {CRITERIA}"
        )
    weights.refuse_tied(model)
    scores = _scores(model, criterion=criterion, seed=seed)
    masks = _ranked(scores, ratio) if scope == "global" else {n: _ranked({n: s}, ratio)[n] for n, s in scores.items()}
    if all(mask.all() for mask in masks.values()):
        raise InvalidInputError(f"nothing goes at ratio {ratio} from {type(model).__name__}; raise it")
    pruned = copy.deepcopy(model)
    with torch.no_grad():
        for name, mask in masks.items():
            # Not a product: that would leave -0.0 where a negative weight was.
            pruned.get_parameter(name).masked_fill_(~mask, 0)
    lineage = MaskLineage(
        dense=weights.digest(model),
        weights=weights.digest(pruned),
        criterion=criterion,
        scope=scope,
        ratio=ratio,
        seed=seed,
        stored=canonical.digest(pack(masks)),
        masks={name: Mask(canonical.digest(_bits(m)), tuple(m.shape), int(m.sum())) for name, m in masks.items()},
    )
    return pruned, lineage, masks


def pack(masks: Masks) -> bytes:
    """The masks' file, in the form that `MaskLineage` describes."""
    packed = {name: _bits(masks[name]) for name in sorted(masks)}
    return tensors.write({name: tensors.Tensor("U8", (len(bits),), bits) for name, bits in packed.items()})


@contextmanager
def held(model: nn.Module, masks: Masks) -> Iterator[None]:
    """While this lasts, masked weights get no gradient; zero weights without one stay zero under AdamW and SGD.

    Raises InvalidInputError at the end when one has come alive all the same.
    """
    hooks = [
        parameter.register_hook(lambda gradient, gone=~mask: gradient.masked_fill(gone, 0))  # type: ignore[no-untyped-call]
        for parameter, mask in ((model.get_parameter(name), mask) for name, mask in masks.items())
        if parameter.requires_grad
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    if alive := [name for name, mask in masks.items() if model.get_parameter(name)[~mask].count_nonzero()]:
        raise InvalidInputError(f"training brought masked weights of {alive} back to life; keep to gradient descent")


def _scores(model: nn.Module, *, criterion: str, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = {}
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            continue
        if not torch.isfinite(parameter).all():
            raise InvalidInputError(f"{name} holds weights that are not finite; train the network again")
        random = criterion == "random"
        scores[name] = torch.rand(parameter.shape, generator=generator) if random else parameter.detach().abs().double()
    if not scores:
        raise InvalidInputError(f"{type(model).__name__} has no weights to prune, only biases and norms")
    return scores


def _ranked(scores: Mapping[str, torch.Tensor], ratio: float) -> dict[str, torch.Tensor]:
    """False for the share of entries with the lowest scores; of equal ones the first go."""
    flat = torch.cat([score.flatten() for score in scores.values()])
    keep = torch.ones(len(flat), dtype=torch.bool)
    keep[torch.argsort(flat, stable=True)[: int(len(flat) * ratio)]] = False
    parts = torch.split(keep, [score.numel() for score in scores.values()])
    return {name: part.reshape(score.shape) for part, (name, score) in zip(parts, scores.items(), strict=True)}


def _bits(mask: torch.Tensor) -> bytes:
    return np.packbits(mask.numpy()).tobytes()
