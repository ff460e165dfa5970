"""Does the model know what it does not know: are rows of no class less familiar to it than rows of one?"""

from collections.abc import Callable

import numpy as np

from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.reliability.detection import Ranking, false_positives
from pruneguard.evaluation.reliability.distances import mahalanobis, nearest_neighbour
from pruneguard.evaluation.reliability.features import Features
from pruneguard.evaluation.resampling import Doubles
from pruneguard.evaluation.sessions import probabilities
from pruneguard.evidence import Measurement
from pruneguard.workload import Floats, Split

KNOWN_ROWS_MAX = 2000
"""Training rows at most, drawn by the seed, that say what is familiar."""


def measure(
    pair: Pair, inside: tuple[Floats, Floats], x: Floats, outliers: Floats | None, train: Split, *, seed: int
) -> dict[str, Measurement]:
    """Everything named `ood.*`: `inside` are both models' logits (candidate first) on the rows `x` of a class each.

    Without outliers nothing is measured, and what is not measured never passes. By each of four scores the area under
    the curve and the share of outliers that pass at the threshold that keeps 95 % of the rows (FPR95), of the
    candidate, of the twin, and what the candidate loses:

    `ood.auroc`, `ood.fpr95`: the largest probability (Hendrycks & Gimpel 2017, arXiv:1610.02136);
    `ood.energy_*`: log-sum-exp of the logits (Liu 2020, arXiv:2010.03759);
    `ood.mahalanobis_*`, `ood.knn_*`: distance of the features that each file's last matrix product reads to those of
    training rows, if there are any; of the logits where a file does not end so.

    Costs, for either model, two passes over the outliers, one over `x` and one over the training rows; the twin's once
    a search. On 5,000 rows and 1,000 outliers of 28x28 pixels, all of it is 6 passes over those rows, and then 4.
    """
    if outliers is None or not len(outliers):
        return {}
    outside = pair.logits(outliers)
    read = Features.of(pair) or pair.logits
    seen = train.taken(np.random.default_rng(seed).permutation(len(train))[:KNOWN_ROWS_MAX])

    def ranked(score: Callable[[int, int], Doubles]) -> tuple[Ranking, Ranking]:
        """`score` is of a model, 0 or 1, and of rows inside, 0, or outside, 1."""
        ours = Ranking(score(0, 0), score(0, 1))
        return ours, ours if pair.same else Ranking(score(1, 0), score(1, 1))

    logits = (inside, outside)
    rankings = {
        "": ranked(lambda model, rows: confidence(logits[rows][model])),
        "energy_": ranked(lambda model, rows: energy(logits[rows][model])),
    }
    if len(seen):
        known, features = read(seen.x), (read(x), read(outliers))
        rankings |= {
            "mahalanobis_": ranked(lambda model, rows: mahalanobis(known[model], seen.y, features[rows][model])),
            "knn_": ranked(lambda model, rows: nearest_neighbour(known[model], features[rows][model])),
        }
    rates = false_positives(list(rankings.values()), seed=seed)
    measurements: dict[str, Measurement] = {}
    for (prefix, (ours, theirs)), (rate, twin_rate, increase) in zip(rankings.items(), rates, strict=True):
        measurements |= {
            f"ood.{prefix}auroc": ours.auroc(),
            f"ood.twin_{prefix}auroc": theirs.auroc(),
            f"ood.{prefix}auroc_drop": theirs.auroc_minus(ours),
            f"ood.{prefix}fpr95": rate,
            f"ood.twin_{prefix}fpr95": twin_rate,
            f"ood.{prefix}fpr95_increase": increase,
        }
    return measurements


def confidence(logits: Floats) -> Doubles:
    """Probability of the most likely class."""
    best: Doubles = probabilities(logits).max(axis=1)
    return best


def energy(logits: Floats) -> Doubles:
    """log(sum(exp(logits))): high where some class fits; NaN where a logit is not finite."""
    wide = logits.astype(np.float64)
    finite = np.asarray(np.isfinite(wide).all(axis=1))
    wide = np.where(finite[:, None], wide, 0.0)
    top = wide.max(axis=1)
    return np.where(finite, top + np.log(np.exp(wide - top[:, None]).sum(axis=1)), np.nan)
