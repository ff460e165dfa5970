"""Weight sharing: the weights of a layer take few values, so that little is left to store (Han 2016, 1510.00149)."""

import copy

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pruneguard.errors import InvalidInputError

BITS_MAX = 12
ROUNDS_MAX = 100
WORTH = 8
"""A tensor is shared when it holds at least this many weights for each value of its codebook."""


def share(model: nn.Module, *, bits: int) -> nn.Module:
    """A copy of `model` in which the non-zero weights of each tensor take at most 2^`bits` values.

    k-means in one dimension, from values spaced evenly between the smallest and the largest weight, as the paper found
    best: large weights matter and are few. Zeros stay zero. Biases, norms, buffers and tensors too small for a codebook
    to pay stay as they are. What is judged is what is stored: the copy computes with the codebook's values.

    Raises InvalidInputError for bits outside 1 to 12 and for weights that are not finite.
    """
    if not 1 <= bits <= BITS_MAX:
        raise InvalidInputError(f"bits={bits}; expected 1 to {BITS_MAX}, 5 for linear layers and 8 for convolutions")
    shared = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in shared.named_parameters():
            if parameter.dim() < 2:
                continue
            if not torch.isfinite(parameter).all():
                raise InvalidInputError(f"{name} holds weights that are not finite; train the network again")
            alive = parameter != 0
            weights = parameter[alive].double().cpu().numpy()
            if len(weights) >= WORTH << bits:
                parameter[alive] = torch.from_numpy(_nearest(weights, _means(weights, 1 << bits))).to(parameter)
    return shared


def _means(weights: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Lloyd's k-means, on sorted weights and their running sum; an empty cluster keeps its value."""
    ordered = np.sort(weights)
    sums = np.append(0.0, np.cumsum(ordered))
    means = np.linspace(ordered[0], ordered[-1], count)
    for _ in range(ROUNDS_MAX):
        bounds = np.searchsorted(ordered, (means[1:] + means[:-1]) / 2)
        edges = np.concatenate([[0], bounds, [len(ordered)]])
        sizes = np.diff(edges)
        moved = np.where(sizes > 0, np.diff(sums[edges]) / np.maximum(sizes, 1), means)
        if np.array_equal(moved, means):
            break
        means = moved
    return means


def _nearest(weights: npt.NDArray[np.float64], means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    nearest: npt.NDArray[np.float64] = means[np.searchsorted((means[1:] + means[:-1]) / 2, weights)]
    return nearest
