"""Can a class's training rows be read out of the network? Gradient ascent towards each class, held against its mean.

From the mean of all training rows, a row is changed until the network is as sure of the class as it can be
(Fredrikson 2015, CCS, MI-Face), and smoothed where rows are images. Similarity is the correlation between what was
changed and what makes the class's mean differ from the mean of all: 0 says nothing about the class, 1 draws its
typical member. That is a leak where a class is a person, and none where it is a digit: so the twin stands beside it.

Costs about 20 inference passes of both models over 1,000 rows with ten classes, however many rows there are.
"""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from pruneguard.evaluation.contender import Contender, Pair, device_of, evaluating
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.estimates import unknown
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Floats, Split

STEPS = 60

RESAMPLES = 10_000

_RATE = 0.02  # of the spread at the first step, falling to nothing
_SMOOTHING = 0.05  # weight of squared differences between neighbouring pixels, in units of the spread

Similarities: TypeAlias = npt.NDArray[np.float64]


def measure(pair: Pair, train: Split, domain: Domain, *, classes: int, seed: int) -> dict[str, Measurement]:
    """`inversion.similarity`, `twin_similarity` and `similarity_increase`: means over classes, bootstrapped over them.

    Classes without training rows are left out; unknown with fewer than two, or where an answer is not finite.
    """
    present = np.array([label for label in range(classes) if (train.y == label).any()])
    names = ("similarity", "twin_similarity", "similarity_increase")
    if len(present) < 2:
        return {f"inversion.{name}": unknown(n=len(present)) for name in names}
    means = np.stack([train.x[train.y == label].mean(axis=0, dtype=np.float64) for label in present])
    theirs = pair.yardstick.once(
        f"inversion of {pair.twin.digest}, {STEPS} steps, {domain.low} to {domain.high}",
        *(present, means, domain.mean, domain.spread),
        compute=lambda: similarities(pair.twin, present, means, domain),
    )
    ours = theirs if pair.same else similarities(pair.candidate, present, means, domain)
    return {
        f"inversion.{name}": _mean(values, seed=seed, floor=floor)
        for name, values, floor in zip(names, (ours, theirs, ours - theirs), (-1, -1, -2), strict=True)
    }


def similarities(
    contender: Contender, labels: npt.NDArray[np.int64], means: npt.NDArray[np.float64], domain: Domain
) -> Similarities:
    """How like each class's mean the row is that the network shows for it; NaN where it cannot be told."""
    shown = inverted(contender, labels, domain).astype(np.float64)
    unit = np.where(domain.spread > 0, domain.spread, 1)
    drawn, wanted = ((each - domain.mean) / unit for each in (shown, means))
    return np.array([_correlation(*pair) for pair in zip(drawn, wanted, strict=True)])


def inverted(contender: Contender, labels: npt.NDArray[np.int64], domain: Domain) -> Floats:
    """One row per label, inside the bounds, that the network takes for it: ascent by the gradient's sign.

    NaN where the network's answers on the way are not finite.
    """
    model = contender.model
    device = device_of(model)
    spread = torch.from_numpy(domain.spread).to(device)
    targets = torch.from_numpy(labels).to(device)
    here = torch.from_numpy(np.repeat(domain.clip(domain.mean[None]), len(labels), axis=0)).to(device)
    with evaluating(model):
        for step in range(STEPS):
            here = here.detach().requires_grad_()
            logits = model(here)
            if not logits.isfinite().all():
                return np.full(here.shape, np.nan, dtype=np.float32)
            loss = F.cross_entropy(logits, targets, reduction="sum")
            if domain.kind == "images":
                loss = loss + _SMOOTHING * _roughness(here / spread)
            (gradient,) = torch.autograd.grad(loss, here)
            size = _RATE * (1 - step / STEPS)
            here = (here - size * spread * gradient.sign()).clamp(domain.low, domain.high)
    shown: Floats = here.detach().cpu().numpy()
    return shown


def _roughness(images: Tensor) -> Tensor:
    """Squared differences of neighbours, summed."""
    down, right = images.diff(dim=2), images.diff(dim=3)
    return down.square().sum() + right.square().sum()


def _correlation(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    first, second = first.ravel() - first.mean(), second.ravel() - second.mean()
    size = float(np.linalg.norm(first) * np.linalg.norm(second))
    if not math.isfinite(size):
        return math.nan
    return float(first @ second) / size if size else 0.0


def _mean(values: Similarities, *, seed: int, floor: float) -> Estimate:
    if not np.isfinite(values).all():
        return unknown(n=len(values))
    drawn = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return Estimate(float(values.mean()), max(float(low), floor), min(float(high), -floor), len(values))
