"""When an answer is right, and when two answers differ: all that must be known to count rows."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.resampling import Doubles
from pruneguard.evaluation.sessions import NO_ANSWER, predictions, probabilities
from pruneguard.workload import Floats, Labels

Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Marking:
    """How rows are marked.

    A class is right where it is the label. A number, one of a regression, is right where it lies within `tolerance` of
    its target; None marks classes. Answers are [n, width]; one that is not finite is never right.
    """

    tolerance: float | None = None

    def right(self, answers: Floats, y: Labels) -> Marks:
        """Which rows [n] are answered rightly."""
        if self.tolerance is None:
            return np.asarray(predictions(answers) == y)
        return np.asarray(np.abs(numbers(answers) - y) <= self.tolerance)

    def changed(self, ours: Floats, theirs: Floats) -> Marks:
        """Rows on which the two say different classes, or numbers more than the tolerance apart.

        Two that cannot answer do not agree.
        """
        if self.tolerance is None:
            said = predictions(ours)
            return np.asarray((said != predictions(theirs)) | (said == NO_ANSWER))
        return np.asarray(~(np.abs(numbers(ours) - numbers(theirs)) <= self.tolerance))

    def distance(self, ours: Floats, theirs: Floats) -> Doubles:
        """How far the two answers to each row lie apart, from 0 to 1; NaN where one is not finite.

        The largest difference of a probability; of numbers d apart it is d / (d + tolerance), a half at the tolerance.
        """
        if self.tolerance is None:
            widest: Doubles = np.abs(probabilities(ours) - probabilities(theirs)).max(axis=1, initial=0.0)
            return widest
        apart = np.abs(numbers(ours) - numbers(theirs))
        return apart / (apart + self.tolerance)


BY_CLASS = Marking()


def numbers(answers: Floats) -> Doubles:
    """A regression's answers [n, 1] as numbers [n], in double precision; NaN where one is not finite."""
    said = answers[:, 0].astype(np.float64)
    return np.where(np.isfinite(said), said, np.nan)
