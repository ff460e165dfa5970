"""Is the candidate as right as its twin, on the same rows, and how often and where do the two disagree?"""

import unicodedata
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.correctness import concentration
from pruneguard.evaluation.correctness.scores import macro_f1, relative_entropy, right_within, surprise
from pruneguard.evaluation.estimates import share, unknown
from pruneguard.evaluation.marking import BY_CLASS, Marks
from pruneguard.evaluation.resampling import compared, mean, resampled
from pruneguard.evaluation.sessions import predictions, probabilities
from pruneguard.evidence import Estimate, Measurement, PairedTable
from pruneguard.statistics import betting_upper
from pruneguard.workload import Floats, Integers, Labels, Split

ALPHA = 0.05
"""Two-sided level of a reported interval."""

ALPHA_CERTIFICATE = 0.001
"""One-sided level of the bounds on disagreement: the monitor takes them for granted, so they are rarely wrong."""


WITHIN = 5
"""Classes that an answer may name where there are more."""


def measure(candidate: Floats, twin: Floats, split: Split, *, seed: int) -> dict[str, Measurement]:
    """Everything named `quality.*`, from the logits [n, classes] of both on the rows of `split`.

    `quality.paired` holds the difference of the accuracies and `quality.top5.paired`, where there are more than five
    classes, that of the top-five accuracies. Scores that are no shares of rows have their paired difference from one
    seeded bootstrap: `quality.macro_f1_drop`, `quality.nll_increase` (nats). `quality.kl` is the mean divergence
    of the candidate's answer from the twin's (nats).
    """
    right, twin_right = (BY_CLASS.right(each, split.y) for each in (candidate, twin))
    apart = divergence(probabilities(candidate), probabilities(twin))
    return {
        **marked(right, twin_right, BY_CLASS.changed(candidate, twin), split),
        **(_top(candidate, twin, split.y) if candidate.shape[1] > WITHIN else {}),
        **_scores(candidate, twin, split.y, seed=seed),
        "quality.divergence": bounded_mean(apart, seed=seed),
    }


def marked(right: Marks, twin_right: Marks, changed: Marks, split: Split) -> dict[str, Measurement]:
    """What follows from who is right on which row of `split`, and on which rows the two answer differently."""
    return {
        "quality.accuracy": _share(right),
        "quality.twin_accuracy": _share(twin_right),
        "quality.paired": paired(right, twin_right),
        "quality.flips": _bounded(changed),
        "quality.flips_to_wrong": _bounded(changed & twin_right & ~right),
        "quality.flips_to_right": _bounded(changed & right & ~twin_right),
        **concentration.measure(changed, slices(split), alpha=ALPHA),
        **{f"quality.paired.slice.{name}": paired(right[rows], twin_right[rows]) for name, rows in slices(split)},
    }


def paired(candidate_right: Marks, twin_right: Marks) -> PairedTable:
    """The 2x2 table of two marks per row."""
    return PairedTable(
        both_right=int((candidate_right & twin_right).sum()),
        candidate_only=int((candidate_right & ~twin_right).sum()),
        twin_only=int((twin_right & ~candidate_right).sum()),
        both_wrong=int((~candidate_right & ~twin_right).sum()),
    )


def slices(split: Split) -> Iterator[tuple[str, Marks]]:
    """`column=value` and the mask of its rows, for the label and every slice column.

    The label's column is `class`, or `target` where labels are numbers: their fifths, from the lowest, which a model
    that answers with what is usual loses at either end.
    """
    columns = {**split.slices, **({"target": _fifths(split.y)} if split.y.dtype.kind == "f" else {"class": split.y})}
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


def _fifths(y: Labels) -> npt.NDArray[np.str_]:
    ends = np.quantile(y, [0.2, 0.4, 0.6, 0.8]) if len(y) else np.empty(0)
    return np.array([f"fifth {number}" for number in range(1, 6)])[np.searchsorted(ends, y)]


def _share(right: Marks) -> Estimate:
    return share(int(right.sum()), len(right), alpha=ALPHA)


def _top(candidate: Floats, twin: Floats, y: Integers) -> dict[str, Measurement]:
    ours, theirs = (right_within(logits, y, k=WITHIN) for logits in (candidate, twin))
    return {
        "quality.top5": _share(ours),
        "quality.twin_top5": _share(theirs),
        "quality.top5.paired": paired(ours, theirs),
    }


def _unseen(y: Integers) -> float:
    """The macro F1, about, that a smallest class of no seen mistake can still be short of (exact, 97.5 %)."""
    rows = np.unique_counts(y).counts
    return float((1 - (ALPHA / 2) ** (1 / rows.min())) / len(rows))


def _scores(candidate: Floats, twin: Floats, y: Integers, *, seed: int) -> dict[str, Measurement]:
    if not len(y):
        return {}
    classes = candidate.shape[1]
    found = resampled(
        {
            "f1": macro_f1(predictions(candidate), y, classes=classes),
            "twin_f1": macro_f1(predictions(twin), y, classes=classes),
            "nll": mean(surprise(candidate, y)),
            "twin_nll": mean(surprise(twin, y)),
            "kl": mean(relative_entropy(candidate, twin)),
        },
        n=len(y),
        seed=seed,
    )
    return {
        **compared("quality.macro_f1", found["f1"], found["twin_f1"], worse="drop", most=1.0, least=_unseen(y)),
        **compared("quality.nll", found["nll"], found["twin_nll"], worse="increase"),
        "quality.kl": found["kl"].estimate(),
    }


def _bounded(events: Marks) -> Estimate:
    # Two-sided at twice the level: each end is a one-sided bound at the level itself.
    return share(int(events.sum()), len(events), alpha=2 * ALPHA_CERTIFICATE)


def bounded_mean(values: npt.NDArray[np.float64], *, seed: int) -> Estimate:
    """The mean of values in [0, 1], one for each row, with bounds at the level of the certificate; NaN in, NaN out."""
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
