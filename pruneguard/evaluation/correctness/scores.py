"""What answers are worth beyond right and wrong: numbers of each row, and statistics of many."""

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from pruneguard.evaluation.resampling import Doubles, Statistic
from pruneguard.workload import Floats, Integers


def log_probabilities(logits: Floats) -> Doubles:
    """Logarithm of the softmax [n, classes], in double precision; never minus infinity. NaN in, NaN out."""
    wide = logits.astype(np.float64)
    wide = np.where(np.isfinite(wide).all(axis=1, keepdims=True), wide, np.nan)
    wide -= wide.max(axis=1, keepdims=True)
    logs: Doubles = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    return logs


def surprise(logits: Floats, y: Integers) -> Doubles:
    """Each row's negative log-likelihood of its label, in nats; NaN where a logit is not finite."""
    return -log_probabilities(logits)[np.arange(len(y)), y]


def relative_entropy(logits: Floats, reference: Floats) -> Doubles:
    """Each row's Kullback-Leibler divergence from the reference's answer, in nats: KL(reference || logits).

    What Dutta 2024 (arXiv:2407.09141) asks of compressed models beside their flips.
    """
    known = log_probabilities(reference)
    summed: Doubles = (np.exp(known) * (known - log_probabilities(logits))).sum(axis=1)
    return np.maximum(summed, 0.0)  # rounding may leave it below nothing; NaN stays


def right_within(logits: Floats, y: Integers, *, k: int) -> npt.NDArray[np.bool_]:
    """Whether the label is among the `k` most likely classes, the lowest first on a tie; never without an answer."""
    own = logits[np.arange(len(y)), y][:, None]
    ahead = (logits > own) | ((logits == own) & (np.arange(logits.shape[1]) < y[:, None]))
    within: npt.NDArray[np.bool_] = np.isfinite(logits).all(axis=1) & (ahead.sum(axis=1) < k)
    return within


def macro_f1(predicted: Integers, y: Integers, *, classes: int) -> Statistic:
    """The mean over the classes that have rows of the harmonic mean of precision and recall.

    A prediction that is no class (`NO_ANSWER`) costs recall alone. A class that a resample leaves without a row and
    without a prediction is left out of its mean.
    """
    hits, said, true = (_counting(marks, classes) for marks in (np.where(predicted == y, y, -1), predicted, y))
    present = np.bincount(y, minlength=classes) > 0

    def statistic(weights: Doubles) -> Doubles:
        spoken = ((said @ weights) + (true @ weights))[present]
        scores = np.divide(2 * (hits @ weights)[present], spoken, out=np.zeros_like(spoken), where=spoken > 0)
        averaged: Doubles = scores.sum(axis=0) / (spoken > 0).sum(axis=0)
        return averaged

    return statistic


def _counting(marks: Integers, classes: int) -> csr_array:
    """A matrix that sums what rows weigh by their mark; a mark below 0 counts nowhere."""
    rows = np.flatnonzero(marks >= 0)
    return csr_array((np.ones(len(rows)), (marks[rows], rows)), shape=(classes, len(marks)))
