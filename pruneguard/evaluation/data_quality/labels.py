"""Are the labels right? What no model is needed for, and what a cheap model doubts."""

import warnings
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.data_quality.lens import SEED, Lens, drawn
from pruneguard.evaluation.estimates import exact, share, unknown
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Floats, Integers, Labels, Snapshot, Split

FOLDS = 3
ROWS_MIN = 50
"""Fewer rows say nothing about labels."""

SHOWN = 50
"""Rows that are named, the most doubtful first."""


@dataclass(frozen=True, slots=True)
class Doubts:
    """What is measured about labels; `rows` are numbers of rows of train, those most surely mislabelled first.

    `accuracy` is that of the model that doubts, on rows that it was not fitted to: the doubts of a weak one are weak.
    """

    measurements: dict[str, Measurement]
    rows: tuple[int, ...] = ()
    accuracy: float | None = None


def imbalance(snapshot: Snapshot) -> Estimate:
    """Largest class over smallest, over all splits; NaN where a class has no rows."""
    labels, classes = np.concatenate([split.y for split in snapshot.splits.values()]), snapshot.classes or 0
    counts = np.bincount(labels[(labels >= 0) & (labels < classes)], minlength=classes)
    return exact(counts.max() / counts.min() if counts.min() else np.nan, n=len(labels))


def counted(k: int, *, of: int) -> Estimate:
    """A share that was counted; unknown of nothing."""
    return exact(k / of, n=of) if of else unknown(n=0)


def conflicts(names: list[bytes], y: Labels) -> Estimate:
    """Share of the rows, by fingerprint, that stand there with another label too."""
    labels = defaultdict(set)
    for name, label in zip(names, y.tolist(), strict=True):
        labels[name].add(label)
    return counted(sum(len(labels[name]) > 1 for name in names), of=len(names))


def doubts(snapshot: Snapshot, lens: Lens) -> Doubts:
    """`data.label_noise`: the share of drawn train rows that confident learning takes for mislabelled.

    Northcutt, Jiang & Chuang 2021 (JAIR 70, arXiv:1911.00068), as cleanlab has it, on the probabilities that a logistic
    regression on the rows' points gives to rows of folds it was not fitted to. It counts rows of overlapping classes
    too: on correct labels it finds as much as the classes overlap for so simple a model, so a limit belongs above
    that. Classes with fewer than FOLDS rows are left out; where there is too little to fit, it is unknown.
    """
    numbers = _testable(snapshot.train)
    kept = snapshot.train.taken(numbers)
    classes, y = np.unique(kept.y, return_inverse=True)
    points = lens.points(kept.x)
    if len(kept) < ROWS_MIN or len(classes) < 2 or not np.ptp(points):
        return Doubts({"data.label_noise": unknown(n=len(kept))})
    probabilities = _held_out(points, y)
    from cleanlab.filter import find_label_issues  # takes a while to import, and nobody else needs it

    found = find_label_issues(y, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    return Doubts(
        {"data.label_noise": share(len(found), len(kept), alpha=0.05)},
        tuple(numbers[found[:SHOWN]].tolist()),
        float((probabilities.argmax(axis=1) == y).mean()),
    )


def _testable(train: Split) -> Integers:
    """Numbers of drawn rows of train, of the classes that each fold can hold."""
    numbers = drawn(train)
    _, place, counts = np.unique(train.y[numbers], return_inverse=True, return_counts=True)
    return numbers[counts[place] >= FOLDS]


def _held_out(points: Floats, y: Integers) -> npt.NDArray[np.float64]:
    """What a logistic regression that never saw a row says of it: probabilities [n, classes]."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    size = np.sqrt((points.astype(np.float64) ** 2).mean())
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # steps are bounded; a fit cut short doubts a little less well
        probabilities: npt.NDArray[np.float64] = cross_val_predict(
            LogisticRegression(max_iter=200), points / max(size, 1e-12), y, cv=folds, method="predict_proba"
        )
    return probabilities
