"""Do new training labels repeat what an earlier version answered, more than it was ever right?

A model whose answers come back as labels trains its successor to agree with it, and what it got wrong for a group
stays wrong (Ensign et al. 2018, arXiv:1706.09847). Labels that somebody found out agree with a model as often as it is
right, which rows with trusted labels say; what agrees beyond that was copied.

Only rows that an earlier version has answered in traffic can have its answers for labels, and traffic leaves the digest
of each row and its answer behind. What was answered elsewhere, or was changed on its way back, is not seen.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.estimates import exact, unknown
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Floats, Integers, Snapshot

_RESAMPLES = 4000
_NOTHING = -1

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """What release `number` said in traffic, by the name that traffic left of each row, as `named` makes it again.

    `answer` asks the release about other rows.
    """

    number: int
    said: Mapping[str, int]
    named: Callable[[Floats], str]
    answer: Callable[[Floats], Integers]


def measure(snapshot: Snapshot, served: Sequence[Served], *, seed: int) -> dict[str, Measurement]:
    """`data.feedback.served`: the share of train rows that earlier versions have answered in traffic.
    `data.feedback.copied`: the share of train labels that are those answers, beyond the share that is right anyway.

    A row that several versions answered counts for the newest. How often a version is right say the gate and release
    rows that none of them was asked about; if these were labelled by it as well, or it was trained on them, copies are
    missed. 0 where no train row was ever answered; unknown where those rows cannot tell, as `copied` says.
    """
    train, judging = snapshot.train, (snapshot.gate, snapshot.release)
    said = {each.number: _said(each, train.x) for each in served}
    asked = [np.logical_or.reduce([_said(each, split.x) != _NOTHING for each in served]) for split in judging if served]
    open_ = np.ones(len(train), dtype=np.bool_)
    found: list[tuple[float, Estimate]] = []
    for each in sorted(served, key=lambda each: each.number, reverse=True):
        rows = open_ & (said[each.number] != _NOTHING)
        open_ &= ~rows
        if rows.any():
            fresh = [split.taken(~mask) for split, mask in zip(judging, asked, strict=True)]
            copies = copied(
                train.y[rows],
                said[each.number][rows],
                trusted_labels=np.concatenate([split.y for split in fresh]),
                trusted_answers=each.answer(np.concatenate([split.x for split in fresh])),
                seed=seed,
            )
            found.append((float(rows.mean()), copies))
    return {
        "data.feedback.served": exact(float((~open_).mean()), n=len(train)),
        "data.feedback.copied": _summed(found, n=len(train)),
    }


def _said(served: Served, x: Floats) -> Integers:
    """What was said of each row; nothing of most."""
    return np.array([served.said.get(served.named(row), _NOTHING) for row in x], dtype=np.int64)


def _summed(parts: Sequence[tuple[float, Estimate]], *, n: int) -> Estimate:
    """Estimates on rows of their own, each for a share of `n`, from the distances to the ends of their intervals.

    Zou & Donner 2008, as `estimates.minus`.
    """
    if any(part.low is None or part.high is None for _, part in parts):
        return unknown(n=n)
    value = math.fsum(share * part.value for share, part in parts)
    below, above = (
        math.hypot(*(share * (part.value - end) for (share, part), end in zip(parts, ends, strict=True)))
        for ends in ([part.low or 0.0 for _, part in parts], [part.high or 0.0 for _, part in parts])
    )
    return Estimate(value, value - below, value + above, n)


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
