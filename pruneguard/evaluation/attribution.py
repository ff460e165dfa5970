"""Does the candidate give its twin's answers for its twin's reasons? What each feature adds to an answer, compared.

Integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365) from the mean row of train to the row: attributions
add up to how far the label's logit rises on the way. As for attacks, gradients are the torch network's, and which
answers are right the ONNX artefact says.
"""

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import rankdata
from torch import nn

from pruneguard.evaluation.contender import Contender, Pair, device_of, evaluating
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.estimates import unknown
from pruneguard.evaluation.sessions import predictions
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Floats, Integers, Split

ROWS_MAX = 200
"""Rows that are looked at, of those that both get right; fewer than ROWS_MIN say nothing."""

ROWS_MIN = 20
STEPS = 16
"""Points on the way at which the gradient is taken; each costs about three inference passes over these rows."""

_RESAMPLES = 2000
_BATCH = 256

Doubles = npt.NDArray[np.float64]


def measure(
    pair: Pair, logits: tuple[Floats, Floats], split: Split, domain: Domain, *, seed: int
) -> dict[str, Measurement]:
    """`attribution.cosine` and `attribution.rank_correlation` of the two networks' attributions, the mean over rows.

    1 is the same reasons, 0 unrelated ones. The rank correlation (Spearman) asks for the order of the features alone.
    A row on which exactly one of the two rests on nothing counts as 0. Rows are drawn by `seed` among those that both
    answer rightly, given both `logits` on the rows of `split`; intervals are a 95 % percentile bootstrap over them.
    """
    ours, theirs = (predictions(each) for each in logits)
    right = np.flatnonzero((ours == split.y) & (theirs == split.y))
    rows = np.sort(np.random.default_rng(seed).permutation(right)[:ROWS_MAX])
    names = ("attribution.cosine", "attribution.rank_correlation")
    if len(rows) < ROWS_MIN:
        return dict.fromkeys(names, unknown(n=len(rows)))
    x, y = split.x[rows], split.y[rows]

    def attributed(contender: Contender) -> Floats:
        return integrated_gradients(contender.model, x, y, baseline=domain.mean)

    twins = pair.yardstick.once(
        f"attributions of {pair.twin.digest} in {STEPS} steps", x, y, domain.mean, compute=lambda: attributed(pair.twin)
    )
    candidates = twins if pair.same else attributed(pair.candidate)
    flat = [each.reshape(len(rows), -1).astype(np.float64) for each in (candidates, twins)]
    if not all(np.isfinite(each).all() for each in flat):
        return dict.fromkeys(names, unknown(n=len(rows)))
    ranks = [rankdata(each, axis=1) - (each.shape[1] + 1) / 2 for each in flat]
    return {name: _mean(cosines(*each), seed=seed) for name, each in zip(names, (flat, ranks), strict=True)}


def integrated_gradients(model: nn.Module, x: Floats, y: Integers, *, baseline: Floats, steps: int = STEPS) -> Floats:
    """What every feature of the rows `x` adds to the logit of `y`, from the row `baseline`; in the shape of `x`.

    The path is cut into `steps` equal parts, and the gradient taken in the middle of each.
    """
    device = device_of(model)
    start = torch.from_numpy(baseline).to(device)
    attributed = np.empty_like(x)
    with evaluating(model), torch.enable_grad():
        for first in range(0, len(x), _BATCH):
            rows = slice(first, first + _BATCH)
            way = torch.from_numpy(x[rows]).to(device) - start
            labels = torch.from_numpy(y[rows]).to(device)[:, None]
            total = torch.zeros_like(way)
            for step in range(steps):
                here = (start + (step + 0.5) / steps * way).requires_grad_()
                (gradient,) = torch.autograd.grad(model(here).gather(1, labels).sum(), here)
                total += gradient
            attributed[rows] = (way * total / steps).cpu().numpy()
    return attributed


def cosines(one: Doubles, other: Doubles) -> Doubles:
    """Each row's cosine between two arrays [n, features]; 1 where both are zero, 0 where one is."""
    lengths = np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1)
    scale = lengths[0] * lengths[1]
    silent = (lengths[0] == 0) & (lengths[1] == 0)
    return np.where(silent, 1.0, (one * other).sum(axis=1) / np.where(scale > 0, scale, 1.0)).clip(-1.0, 1.0)


def _mean(values: Doubles, *, seed: int) -> Estimate:
    draws = np.random.default_rng(seed).integers(len(values), size=(_RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high), len(values))
