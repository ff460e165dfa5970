"""Do new training labels repeat what an earlier version answered, more than it was ever right?

A model whose answers come back as labels trains its successor to agree with it, and what it got wrong for a group
stays wrong (Ensign et al. 2018, arXiv:1706.09847). Labels that somebody found out agree with a model as often as it is
right, which rows with trusted labels say; what agrees beyond that was copied.
"""

import numpy as np
import numpy.typing as npt

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.estimates import unknown
from pruneguard.evidence import Estimate
from pruneguard.workload import Integers

_RESAMPLES = 4000

Doubles = npt.NDArray[np.float64]


def copied(
    labels: Integers, answers: Integers, *, trusted_labels: Integers, trusted_answers: Integers, seed: int
) -> Estimate:
    """The share of new `labels` that are an earlier version's own `answers` to these rows, with a 95 % interval.

    Where it answered c, it is right as often as on rows with trusted labels where it answered c, so that a change in
    the mix of answers is no copying. If a share s was copied, labels agree in s + (1 - s) * precision of the rows.
    Below 0 labels agree less than that: they are worse, or the model got worse. Labels of one group of rows at a time
    tell whose were copied. The interval draws agreement and precision from their beta posteriors (Jeffreys' prior), so
    rare answers make it wide. Unknown without rows, or where the model is always right, and copies are the truth.

    Raises InvalidInputError when labels and answers are not of the same rows.
    """
    if labels.shape != answers.shape or trusted_labels.shape != trusted_answers.shape:
        raise InvalidInputError(
            f"{labels.shape} labels and {answers.shape} answers, {trusted_labels.shape} trusted labels and "
            f"{trusted_answers.shape} answers; expected an answer for every label"
        )
    if not len(labels) or not len(trusted_labels):
        return unknown(n=len(labels))
    said = np.unique(answers)
    agree, rows = _agreement(labels, answers, said)
    right, trusted = _agreement(trusted_labels, trusted_answers, said)
    share = rows / len(labels)
    if not trusted.all() or not (share * (1 - right / np.maximum(trusted, 1))).any():
        return unknown(n=len(labels))
    rng = np.random.default_rng(seed)
    agreement = rng.beta(agree + 0.5, rows - agree + 0.5, size=(_RESAMPLES, len(said)))
    precision = rng.beta(right + 0.5, trusted - right + 0.5, size=(_RESAMPLES, len(said)))
    value = float(_share_copied(agree / rows, right / trusted, share))
    low, high = np.quantile(_share_copied(agreement, precision, share), [0.025, 0.975]).tolist()
    return Estimate(value, min(low, value), max(high, value), len(labels))


def _agreement(labels: Integers, answers: Integers, said: Integers) -> tuple[Integers, Integers]:
    """For each answer, how many rows have it as their label, and how many got it."""
    got = answers[:, None] == said
    return (got & (labels == answers)[:, None]).sum(axis=0), got.sum(axis=0)


def _share_copied(agreement: Doubles, precision: Doubles, share: Doubles) -> Doubles:
    """The share at which these agreements come about, over answers with these shares of the rows."""
    excess: Doubles = ((agreement - precision) * share).sum(axis=-1) / ((1 - precision) * share).sum(axis=-1)
    return excess
