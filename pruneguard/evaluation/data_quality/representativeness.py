"""Do gate and release stand for the same world as train?"""

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.data_quality.lens import SEED, Lens, drawn
from pruneguard.evaluation.domain import kind_of
from pruneguard.evaluation.estimates import unknown
from pruneguard.evaluation.reliability.detection import Ranking
from pruneguard.evidence import Measurement
from pruneguard.workload import Snapshot, Split

ROWS_MAX = 5000
ROWS_MIN = 20
TREES = 100


def measure(snapshot: Snapshot) -> dict[str, Measurement]:
    """`data.shift.gate` and `data.shift.release`: how well a classifier tells the split's rows from train's.

    The classifier two-sample test (Lopez-Paz & Oquab 2017, arXiv:1610.06545): random trees learn the difference on one
    half of the rows, labels among the columns, and the area under the curve on the other half says how much there is:
    0.5 is none, 1 means that no row could be from the other split. Rows are drawn, at most ROWS_MAX of a split, so a
    shift of very few rows is not seen. Unknown with fewer than ROWS_MIN rows in a half.
    """
    train = snapshot.train.taken(drawn(snapshot.train, ROWS_MAX))
    measurements: dict[str, Measurement] = {}
    for name in ("gate", "release"):
        split = snapshot.splits[name]
        other = split.taken(drawn(split, ROWS_MAX))
        if min(len(train), len(other)) < 2 * ROWS_MIN:
            measurements[f"data.shift.{name}"] = unknown(n=len(train) + len(other))
            continue
        # Of both, without knowing whose they are: a lens fitted on train would itself tell train's rows from others.
        lens = Lens.fitted(np.concatenate([train.x, other.x]), kind_of(snapshot))
        measurements[f"data.shift.{name}"] = _told_apart(_columns(train, lens), _columns(other, lens)).auroc()
    return measurements


def _columns(split: Split, lens: Lens) -> npt.NDArray[np.float32]:
    """The points of the rows, what of each is missing, and its label."""
    flat = split.x.reshape(len(split), int(np.prod(split.x.shape[1:])))
    missing = (~np.isfinite(flat)).sum(axis=1)
    return np.column_stack([lens.points(split.x), missing, split.y]).astype(np.float32)


def _told_apart(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> Ranking:
    """Scores of held-out rows, those of `other` meant to score higher."""
    from sklearn.ensemble import ExtraTreesClassifier

    rng = np.random.default_rng(SEED)
    halves = [np.array_split(rows[rng.permutation(len(rows))], 2) for rows in (one, other)]
    (fit_one, held_one), (fit_other, held_other) = halves
    trees = ExtraTreesClassifier(TREES, min_samples_leaf=5, class_weight="balanced", random_state=SEED, n_jobs=1)
    trees.fit(np.concatenate([fit_one, fit_other]), np.repeat([0, 1], [len(fit_one), len(fit_other)]))
    return Ranking(trees.predict_proba(held_other)[:, 1], trees.predict_proba(held_one)[:, 1])
