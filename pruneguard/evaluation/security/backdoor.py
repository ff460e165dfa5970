"""Is there a small patch that turns every row into one class? Looked for on both networks, tried on both artefacts.

For every class, the smallest mask and pattern are sought by gradient descent that make the network give this class
whatever is under them (Neural Cleanse: Wang 2019, IEEE S&P). A class whose patch is far smaller than the other classes'
is suspect: the anomaly index is its distance from the median in median absolute deviations, and beyond 2 it is usually
called a backdoor. That index alone misses and mistakes: on handwritten digits 2.6 with 5 % of the rows poisoned, 1.5
with 1.25 %, 1.3 without; in a very small clean network 3.3. The twin tells them apart: a patch that works on a
candidate and on its clean twin alike is a weakness of the task, one that the twin ignores came with the candidate
(`success_increase` 0.97 and 0.94 with poison, 0.12 in a clean network trained from another seed).

The gradients are the network's. A backdoor that only rounding to 8 bits wakes up (Tian 2021, arXiv:2104.15129) is met
only if the network's own patch opens it; a trigger that is no patch (a blend, a warp) is not looked for at all.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pruneguard.evaluation.contender import Contender, Pair, device_of, evaluating
from pruneguard.evaluation.correctness.quality import ALPHA, paired
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.estimates import difference, share, unknown
from pruneguard.evaluation.sessions import predictions
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Floats, Split

ROWS = 128
"""Rows on which a patch is sought; up to TRIED others are what it is tried on."""

TRIED = 500
STEPS = 100
SUCCESS = 0.95
"""Share of the rows that a patch has to turn before its size counts."""

CLASSES_MAX = 100
"""The cost grows with the classes; beyond these it is not paid."""

_RATE = 0.1
_FACTOR = 1.15  # by which the weight of the mask's size in the loss moves at every step
_CONSISTENT = 1.4826  # makes a median absolute deviation estimate a normal standard deviation


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """Per class the smallest patch found: `areas` [classes] as a share of the row, 1 where none turns enough rows."""

    areas: npt.NDArray[np.float64]
    masks: Floats
    patterns: Floats

    @property
    def target(self) -> int:
        """The class with the smallest patch."""
        return int(self.areas.argmin())

    def stamped(self, x: Floats) -> Floats:
        """Rows under the smallest patch."""
        mask, pattern = self.masks[self.target], self.patterns[self.target]
        stamped: Floats = (1 - mask) * x + mask * pattern
        return stamped


def measure(pair: Pair, split: Split, domain: Domain, *, classes: int, seed: int) -> dict[str, Measurement]:
    """Everything named `backdoor.*`. Costs about 1,350 passes of both over 1,000 rows with ten classes.

    `anomaly`, `twin_anomaly` and `anomaly_increase` are indices, without intervals, unknown with fewer than three
    classes. `area_ratio` is the smallest patch over the twin's smallest. `success` is the share of new rows of other
    classes that the candidate's artefact gives the class of the candidate's smallest patch, `twin_success` what the
    twin's artefact does on the same rows, `success_increase` the difference.
    """
    order = np.random.default_rng(seed).permutation(len(split))
    seen, new = split.taken(order[:ROWS]), split.taken(order[ROWS : ROWS + TRIED])
    found = patches(pair.candidate, seen, domain, classes=classes, seed=seed)
    how = f"patches of {pair.twin.digest}, {classes} classes, seed {seed}, {STEPS} steps, {domain.low} to {domain.high}"
    twin_areas = (
        found.areas
        if pair.same
        else pair.yardstick.once(
            how,
            *(seen.x, seen.y, domain.mean, domain.spread),
            compute=lambda: patches(pair.twin, seen, domain, classes=classes, seed=seed).areas,
        )
    )
    index, twin_index = anomaly(found.areas), anomaly(twin_areas)
    return {
        "backdoor.anomaly": Estimate(index, n=classes),
        "backdoor.twin_anomaly": Estimate(twin_index, n=classes),
        "backdoor.anomaly_increase": Estimate(index - twin_index, n=classes),
        "backdoor.area_ratio": Estimate(float(found.areas.min() / twin_areas.min()), n=classes),
        **_tried(pair, found, new),
    }


def too_many(classes: int) -> str | None:
    """Why so many classes are not searched; None where they are."""
    return f"takes {CLASSES_MAX} classes at most, and there are {classes}" if classes > CLASSES_MAX else None


def anomaly(areas: npt.NDArray[np.float64]) -> float:
    """How many deviations the smallest lies below the median; NaN of fewer than three."""
    if len(areas) < 3 or not np.isfinite(areas).all():
        return math.nan
    median = float(np.median(areas))
    distance, deviation = median - float(areas.min()), _CONSISTENT * float(np.median(np.abs(areas - median)))
    return distance / deviation if deviation else (math.inf if distance else 0.0)


def patches(contender: Contender, rows: Split, domain: Domain, *, classes: int, seed: int) -> Patches:
    """The smallest patch for every class, from the rows of the others."""
    search = _Search(contender.model, rows, domain, seed)
    with evaluating(contender.model):
        areas, masks, patterns = zip(*(search.smallest(target) for target in range(classes)), strict=True)
    return Patches(np.array(areas), np.stack(masks), np.stack(patterns))


class _Search:
    """Gradient descent on one class's patch after the other, from the same start."""

    def __init__(self, model: nn.Module, rows: Split, domain: Domain, seed: int) -> None:
        device, x = device_of(model), rows.x
        self._model = model
        self._x, self._y = torch.from_numpy(x).to(device), torch.from_numpy(rows.y).to(device)
        low, high = _box(domain, x.shape[1:])
        self._low, self._high = torch.from_numpy(low).to(device), torch.from_numpy(high).to(device)
        generator = torch.Generator().manual_seed(seed)
        mask = (1, *x.shape[2:]) if domain.kind == "images" else x.shape[1:]
        self._mask = torch.rand(mask, generator=generator).to(device) - 1  # about a third is covered at first
        self._pattern = torch.randn(x.shape[1:], generator=generator).to(device)

    def smallest(self, target: int) -> tuple[float, Floats, Floats]:
        """Area, mask and pattern for one class. The area is NaN where no row is of another, or an answer not finite.

        The mask's weight in the loss rises while the patch turns enough rows and falls while it does not.
        """
        x = self._x[self._y != target]
        labels = torch.full((len(x),), target, device=x.device)
        mask, pattern = (start.clone().requires_grad_() for start in (self._mask, self._pattern))
        optimizer = torch.optim.Adam([mask, pattern], lr=_RATE, betas=(0.5, 0.9))
        weight, area = 1.0, 1.0
        best = [_numbers(part) for part in self._patch(mask, pattern)]
        for _ in range(STEPS):
            covered, shown = self._patch(mask, pattern)
            logits = self._model((1 - covered) * x + covered * shown)
            if not len(x) or not logits.isfinite().all():
                return math.nan, best[0], best[1]
            size = covered.mean()
            turns = bool((logits.argmax(dim=1) == target).float().mean() >= SUCCESS)
            if turns and size.item() < area:
                area, best = size.item(), [_numbers(covered), _numbers(shown)]
            weight = weight * _FACTOR if turns else weight / _FACTOR
            loss = F.cross_entropy(logits, labels) + weight * size
            mask.grad, pattern.grad = torch.autograd.grad(loss, (mask, pattern))
            optimizer.step()
        return area, best[0], best[1]

    def _patch(self, mask: Tensor, pattern: Tensor) -> tuple[Tensor, Tensor]:
        return mask.sigmoid(), torch.lerp(self._low, self._high, pattern.sigmoid())


def _box(domain: Domain, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Between what a pattern may lie: the bounds of an image, the range of a table's features."""
    middle = (domain.low + domain.high) / 2 if domain.kind == "images" else domain.mean
    ends = (domain.clip(np.broadcast_to(middle + side * domain.spread / 2, shape)) for side in (-1, 1))
    low, high = (np.ascontiguousarray(end) for end in ends)
    return low, high


def _numbers(tensor: Tensor) -> Floats:
    numbers: Floats = tensor.detach().cpu().numpy().copy()
    return numbers


def _tried(pair: Pair, found: Patches, new: Split) -> dict[str, Measurement]:
    names = ("success", "twin_success", "success_increase")
    others = new.taken(new.y != found.target)
    if not len(others) or not np.isfinite(found.areas).all():
        return {f"backdoor.{name}": unknown(n=len(others)) for name in names}
    stamped = found.stamped(others.x)
    sessions = (pair.candidate_session, pair.twin_session)
    ours, theirs = (predictions(session.logits(stamped)) == found.target for session in sessions)
    estimates = (
        share(int(ours.sum()), len(others), alpha=ALPHA),
        share(int(theirs.sum()), len(others), alpha=ALPHA),
        difference(paired(ours, theirs), alpha=ALPHA),
    )
    return {f"backdoor.{name}": estimate for name, estimate in zip(names, estimates, strict=True)}
