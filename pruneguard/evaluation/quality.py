"""Is the candidate as right as its twin, on the same rows, and how often do the two disagree?"""

import unicodedata
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.estimates import share, unknown
from pruneguard.evaluation.sessions import NO_ANSWER, predictions, probabilities
from pruneguard.evidence import Estimate, Measurement, PairedTable
from pruneguard.statistics import betting_upper
from pruneguard.workload import Floats, Integers, Split

ALPHA = 0.05
"""Two-sided level of a reported interval."""

ALPHA_CERTIFICATE = 0.001
"""One-sided level of the bounds on disagreement: the monitor takes them for granted, so they are rarely wrong."""


def measure(candidate: Floats, twin: Floats, split: Split, *, seed: int) -> dict[str, Measurement]:
    """Everything named `quality.*`, from the logits [n, classes] of both on the rows of `split`."""
    ours, theirs = predictions(candidate), predictions(twin)
    right, twin_right = ours == split.y, theirs == split.y
    changed = (ours != theirs) | (ours == NO_ANSWER)  # two that cannot answer do not agree
    return {
        "quality.accuracy": share(int(right.sum()), len(split), alpha=ALPHA),
        "quality.twin_accuracy": share(int(twin_right.sum()), len(split), alpha=ALPHA),
        "quality.paired": paired(right, twin_right),
        "quality.flips": _bounded(changed),
        "quality.flips_to_wrong": _bounded(changed & twin_right & ~right),
        "quality.flips_to_right": _bounded(changed & right & ~twin_right),
        "quality.divergence": _mean_divergence(candidate, twin, seed=seed),
        **{f"quality.paired.slice.{name}": paired(right[rows], twin_right[rows]) for name, rows in slices(split)},
    }


def paired(candidate_right: npt.NDArray[np.bool_], twin_right: npt.NDArray[np.bool_]) -> PairedTable:
    """The 2x2 table of two marks per row."""
    return PairedTable(
        both_right=int((candidate_right & twin_right).sum()),
        candidate_only=int((candidate_right & ~twin_right).sum()),
        twin_only=int((twin_right & ~candidate_right).sum()),
        both_wrong=int((~candidate_right & ~twin_right).sum()),
    )


def paired_answers(logits: tuple[Floats, Floats], y: Integers) -> PairedTable:
    """The 2x2 table of two models' logits (candidate first) on rows with the labels `y`."""
    candidate, twin = logits
    return paired(predictions(candidate) == y, predictions(twin) == y)


def slices(split: Split) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """`column=value` and the mask of its rows, for the label (column `class`) and every slice column."""
    columns = {**split.slices, "class": split.y}
    for column in sorted(columns):
        values = np.asarray(columns[column])
        for value in np.unique(values):
            yield unicodedata.normalize("NFC", f"{column}={value}"), values == value


def divergence(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Jensen-Shannon divergence of each row's two distributions, base 2, so in [0, 1] (Lin 1991, IEEE T-IT 37).

    NaN where a distribution holds NaN.
    """
    middle = (p + q) / 2
    return np.clip((_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2, 0.0, 1.0)


def _bounded(events: npt.NDArray[np.bool_]) -> Estimate:
    # Two-sided at twice the level: each end is a one-sided bound at the level itself.
    return share(int(events.sum()), len(events), alpha=2 * ALPHA_CERTIFICATE)


def _mean_divergence(candidate: Floats, twin: Floats, *, seed: int) -> Estimate:
    values = divergence(probabilities(candidate), probabilities(twin))
    if not len(values) or not np.isfinite(values).all():
        return unknown(n=len(values))
    # The bound needs an order that knows nothing of the values; data often come sorted by class.
    shuffled = np.random.default_rng(seed).permutation(values).tolist()
    high = betting_upper(shuffled, alpha=ALPHA_CERTIFICATE)
    low = 1 - betting_upper([1 - value for value in shuffled], alpha=ALPHA_CERTIFICATE)
    return Estimate(float(values.mean()), low, high, len(values))


def _relative_entropy(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p == 0, 0.0, p * np.log2(p / q))
    summed: npt.NDArray[np.float64] = terms.sum(axis=1)
    return summed
