"""Cross-validation for small data: every train and gate row is held out once, and answered by models made without it.

A gate of 170 rows cannot show a margin of two points, and the train rows say nothing while the model has seen them. So
the rows are dealt into folds; for each, a twin and a candidate are made again by the same recipe without it, and answer
it. The answers of all folds are one paired table, several times the size of the release split.

What it judges is the recipe, not the one file that will answer: the models of the folds are others, made of a fifth
fewer rows. It is asked for beside the release rows and never instead of them. The folds share training rows, so their
answers are not independent: no estimator of the variance is right for all data (Bengio & Grandvalet 2004, JMLR 5,
1089-1105), and intervals that count every row once can be too narrow (Bates, Hastie & Tibshirani 2023,
doi:10.1080/01621459.2023.2197686). Simulated on 200 and 400 rows (4,000 times, linear classifiers), a recipe that truly
loses the margin passes a rule with an alpha of 0.05 in 6.2 to 7.0 % of the cases, one with 0.03 in 3.9 to 4.3 %: take
0.03 where 5 % must hold. A search that tries many recipes looks at the same folds each time, as at the gate rows.

Release rows are never touched. Rows that belong together (one patient's, say) may come into different folds, and what
the workload's data() learnt of its train rows, a mean say, it has learnt of rows that are held out here: where that
matters, ask for the release rows alone.
"""

from dataclasses import replace

import numpy as np

from pruneguard.evaluation.correctness.quality import ALPHA, paired, slices
from pruneguard.evaluation.estimates import share
from pruneguard.evaluation.family import Family
from pruneguard.evaluation.marking import Marks
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Integers, Labels, Snapshot, Split

NAME = "quality.cross_validated"

FOLDS = 5
"""Models of the folds are made of four fifths of the rows; the price is five trainings of twin and candidate."""

METHOD = (
    f"train and gate rows in {FOLDS} folds, each answered by a twin and a candidate made again without it; judges the "
    "recipe and not this file; the folds share training rows, so that intervals may be too narrow"
)

ABSENT = Family(
    NAME,
    dict,
    lacks=lambda: "makes twin and candidate again, which takes the workload and the recipe; `pruneguard run` has them",
    on_demand=True,
)


def lacks(snapshot: Snapshot) -> str | None:
    """Why these rows cannot take turns; None where they can."""
    if not len(snapshot.train) or not len(snapshot.gate):
        return "takes train and gate rows"
    enough, y = 2 * FOLDS, pooled(snapshot).y
    what, rows = "the data have", len(y)
    if snapshot.classes is not None:
        counts = np.bincount(y, minlength=snapshot.classes)
        what, rows = f"class {counts.argmin()} has", int(counts.min())
    return f"{what} {rows} train and gate rows, and {FOLDS} folds take {enough}" if rows < enough else None


def pooled(snapshot: Snapshot) -> Split:
    """The rows that take turns: train, then gate."""
    train, gate = snapshot.train, snapshot.gate
    columns = {name: np.concatenate([train.slices[name], gate.slices[name]]) for name in train.slices}
    return Split(np.concatenate([train.x, gate.x]), np.concatenate([train.y, gate.y]), columns)


def turns(y: Labels, *, seed: int) -> Integers:
    """In which fold, from 0, each row is held out: every class dealt as evenly as it goes, and numbers in their order.

    >>> turns(np.repeat([0, 1], [5, 10]), seed=0)
    array([1, 4, 2, 3, 0, 1, 4, 2, 4, 2, 3, 1, 3, 0, 0])
    """
    dealt = np.empty(len(y), dtype=np.int64)
    dealt[_by_class(y, seed=seed)] = np.arange(len(y)) % FOLDS
    return dealt


def without(snapshot: Snapshot, held: Marks, *, seed: int) -> Snapshot:
    """A snapshot to make models on: the held-out rows stand as `release`, the others as train and gate, as many of
    each as before but for the held-out share.
    """
    rows = pooled(snapshot)
    others = np.flatnonzero(~held)
    share_of_gate = len(snapshot.gate) / len(rows)
    counted = np.floor(np.arange(len(others) + 1) * share_of_gate)  # goes up where a row is the gate's
    for_gate = np.empty(len(others), dtype=np.bool_)
    for_gate[_by_class(rows.y[others], seed=seed)] = np.diff(counted) > 0
    train, gate = (rows.taken(np.sort(others[chosen])) for chosen in (~for_gate, for_gate))
    return replace(snapshot, train=train, gate=gate, release=rows.taken(held))


def measure(rows: Split, fold: Integers, right: Marks, twin_right: Marks) -> dict[str, Measurement]:
    """Everything named `quality.cross_validated.*`, from which of the pooled rows each of the two got right.

    `spread` is the standard deviation, over the folds, of the candidate's accuracy minus the twin's; it has no
    interval, as the folds share their training rows.
    """
    table = paired(right, twin_right)
    gained = right.astype(np.float64) - twin_right
    by_fold = [float(gained[fold == each].mean()) for each in range(FOLDS)]
    return {
        f"{NAME}.accuracy": share(int(right.sum()), len(right), alpha=ALPHA),
        f"{NAME}.twin_accuracy": share(int(twin_right.sum()), len(right), alpha=ALPHA),
        f"{NAME}.spread": Estimate(float(np.std(by_fold, ddof=1)), n=FOLDS),
        f"{NAME}.paired": table,
        **{f"{NAME}.paired.slice.{name}": paired(right[mask], twin_right[mask]) for name, mask in slices(rows)},
    }


def _by_class(y: Labels, *, seed: int) -> Integers:
    """The rows' places, class after class or from the lowest number, in a drawn order among equals."""
    drawn = np.random.default_rng(seed).permutation(len(y))
    return np.lexsort((drawn, y))
