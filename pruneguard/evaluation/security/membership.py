"""Does an answer give away who was in the training data? A loss threshold, on equally many rows in and out.

A row whose loss is below a threshold is called a member (Yeom 2018, arXiv:1709.01604). The threshold is the best of one
half of the rows and judged on the other half, both ways round: no shadow models, and no luck of having been chosen on
the rows that it is judged by. Where only labels are answered, whoever is right is called a member, and the advantage is
the accuracy gap: that is `generalisation.gap`.

Both are averages over rows. LiRA (Carlini 2022, arXiv:2112.03570) is stronger, above all on the few rows that stick
out, and takes many shadow trainings: it is not done, so a small number here is no proof of privacy.

Costs one inference pass over as many training rows as the split has, for each model.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.correctness.quality import ALPHA, paired
from pruneguard.evaluation.estimates import difference, minus, share, unknown
from pruneguard.evaluation.marking import numbers
from pruneguard.evaluation.sessions import probabilities
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Floats, Labels, Split

NAMES = ("advantage", "twin_advantage", "advantage_increase")

Losses: TypeAlias = npt.NDArray[np.float64]
Marks: TypeAlias = npt.NDArray[np.bool_]


def measure(
    pair: Pair, logits: tuple[Floats, Floats], split: Split, train: Split, *, seed: int
) -> dict[str, Measurement]:
    """Everything named `membership.*`; `logits` are both models' on the rows of `split`, the candidate's first.

    An advantage is the share of training rows called members minus the share of other rows called so: 0 is chance.
    Unknown where a logit is not finite, or with fewer than two rows on a side.
    """
    n = min(len(train), len(split))
    rng = np.random.default_rng(seed)
    members, others = (np.sort(rng.permutation(len(rows))[:n]) for rows in (train, split))
    half = rng.permutation(np.arange(n) % 2 == 0)
    inside, outside = pair.logits(train.x[members]), tuple(each[others] for each in logits)
    if n < 2 or not all(np.isfinite(each).all() for each in (*inside, *outside)):
        return {f"membership.{name}": unknown(n=2 * n) for name in NAMES}
    ours, theirs = (
        _called(_losses(seen, train.y[members]), _losses(new, split.y[others]), half)
        for seen, new in zip(inside, outside, strict=True)
    )
    measured = (ours.advantage(), theirs.advantage(), ours.minus(theirs))
    return {f"membership.{name}": each for name, each in zip(NAMES, measured, strict=True)}


@dataclass(frozen=True, slots=True, eq=False)
class Called:
    """Which rows an attack called members, of those that are and of those that are not."""

    members: Marks
    others: Marks

    def advantage(self) -> Estimate:
        return minus(*(share(int(marks.sum()), len(marks), alpha=ALPHA) for marks in (self.members, self.others)))

    def minus(self, other: "Called") -> Estimate:
        """This attack's advantage minus the other's on the same rows."""
        tables = paired(self.members, other.members), paired(self.others, other.others)
        return minus(*(difference(table, alpha=ALPHA) for table in tables))


def _called(losses: Losses, other_losses: Losses, half: Marks) -> Called:
    called = Called(np.empty(len(losses), np.bool_), np.empty(len(other_losses), np.bool_))
    for judged in (half, ~half):
        threshold = best_threshold(losses[~judged], other_losses[~judged])
        called.members[judged] = losses[judged] <= threshold
        called.others[judged] = other_losses[judged] <= threshold
    return called


def best_threshold(members: Losses, others: Losses) -> float:
    """The loss up to which most members and fewest others lie; the lowest on a tie.

    >>> best_threshold(np.array([0.1, 0.2, 0.9]), np.array([0.3, 0.8, 1.0]))
    0.2
    """
    candidates = np.unique(np.concatenate([members, others]))
    hits, alarms = (np.searchsorted(np.sort(side), candidates, "right") / len(side) for side in (members, others))
    return float(candidates[np.argmax(hits - alarms)])


def _losses(logits: Floats, y: Labels) -> Losses:
    if y.dtype.kind == "f":  # a regression's: the squared error
        return np.asarray((numbers(logits) - y) ** 2)
    with np.errstate(divide="ignore"):
        losses: Losses = -np.log(probabilities(logits)[np.arange(len(y)), y])
    return losses
