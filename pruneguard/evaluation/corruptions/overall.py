"""All families of damage in one number: how many times the twin's errors, and how many more than on clean rows."""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.estimates import unknown
from pruneguard.evidence import Estimate

Marks: TypeAlias = npt.NDArray[np.bool_]

_Z = 1.959964  # two-sided 95 %


def relative_error(wrong: Marks, twin_wrong: Marks) -> Estimate:
    """Errors over the twin's errors, all families together, from the marks [rows, families] of both.

    The mean corruption error of Hendrycks & Dietterich 2019 (arXiv:1903.12261) with the twin as its baseline, every
    family weighted by the twin's errors: 1 is as good as the twin. Their plain mean of ratios is 7 % too high for two
    equal models where the twin makes 15 errors in a family, and no number where it makes none. Unknown without any
    error of the twin, and without an upper end where the candidate makes none. The interval is the delta method's for
    the ratio's logarithm, by rows, which both models and all families share.
    """
    n = len(wrong)
    ours, theirs = (marks.sum(axis=1, dtype=np.float64) for marks in (wrong, twin_wrong))
    if n < 2 or not theirs.any():
        return unknown(n=n)
    if not ours.any():
        return Estimate(0.0, 0.0, math.inf, n)
    value = float(ours.sum() / theirs.sum())
    reach = math.exp(_Z * float(np.std(ours / ours.mean() - theirs / theirs.mean(), ddof=1)) / math.sqrt(n))
    return Estimate(value, value / reach, value * reach, n)


def excess_error(wrong: Marks, twin_wrong: Marks, clean: Marks, twin_clean: Marks) -> Estimate:
    """What damage takes from the candidate beyond what it takes from the twin, a difference of error rates.

    The candidate's error minus the twin's, in the mean over families, minus the same on clean rows (Liebenwein 2021,
    arXiv:2103.03014). Marks are [rows, families] of damaged rows, [rows] of clean ones. It is a mean over rows, and its
    interval the normal one.
    """
    n = len(clean)
    if n < 2:
        return unknown(n=n)
    damaged = wrong.mean(axis=1, dtype=np.float64) - twin_wrong.mean(axis=1, dtype=np.float64)
    each = damaged - clean + twin_clean.astype(np.float64)
    value, reach = float(each.mean()), _Z * float(each.std(ddof=1)) / math.sqrt(n)
    return Estimate(value, value - reach, value + reach, n)
