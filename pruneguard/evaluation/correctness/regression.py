"""Is the candidate of a regression as near to the truth as its twin, on the same rows?

An answer within the tolerance that the data state counts as right. So everything that is asked of classes by counting
rows, non-inferiority, slices, flips, damage, is asked of numbers by the same names and judged by the same gates.
Errors in the target's own unit come beside it: a count does not see how far the rows beyond the tolerance are off.
"""

import numpy as np

from pruneguard.evaluation.correctness import quality
from pruneguard.evaluation.estimates import exact
from pruneguard.evaluation.marking import Marking, numbers
from pruneguard.evaluation.resampling import Doubles, Resampled, Statistic, compared, mean, resampled
from pruneguard.evidence import Measurement
from pruneguard.workload import Floats, Split

PERCENTILES = {"median_error": 0.5, "p90_error": 0.9}


def measure(candidate: Floats, twin: Floats, split: Split, *, tolerance: float, seed: int) -> dict[str, Measurement]:
    """Everything named `quality.*`, from the answers [n, 1] of both on the rows of `split`.

    What counts rows is as in `quality.marked`; the column of the label is `target`, in fifths. `quality.rmse`, `mae`,
    `median_error`, `p90_error` and `bias` are in the target's unit, `r2` and `rmse_ratio` are not; each with its
    paired difference from one seeded bootstrap. `quality.divergence` is the mean of `Marking.distance`.
    """
    marking = Marking(tolerance)
    right, twin_right = (marking.right(each, split.y) for each in (candidate, twin))
    return {
        **quality.marked(right, twin_right, marking.changed(candidate, twin), split),
        **(_errors(candidate, twin, split.y.astype(np.float64), seed=seed) if len(split) else {}),
        "quality.divergence": quality.bounded_mean(marking.distance(candidate, twin), seed=seed),
        "quality.tolerance": exact(tolerance, n=len(split)),
    }


def percentile(values: Doubles, share: float) -> Statistic:
    """The smallest of `values` that at least this share of the rows does not exceed; NaN where one is not finite."""
    order = np.argsort(values)
    ascending, finite = values[order], bool(np.isfinite(values).all())

    def statistic(weights: Doubles) -> Doubles:
        if not finite:
            return np.full(weights.shape[1], np.nan)
        reached = np.cumsum(weights[order], axis=0) >= share * weights.sum(axis=0)
        found: Doubles = ascending[reached.argmax(axis=0)]
        return found

    return statistic


def explained(errors: Doubles, y: Doubles) -> Statistic:
    """R^2, the share of the targets' variance that the answers explain: at most 1, and below 0 where a constant is
    better; NaN where a resample's targets are all the same.
    """
    centred = y - y.mean()

    def statistic(weights: Doubles) -> Doubles:
        rows = weights.sum(axis=0)
        spread = centred**2 @ weights / rows - (centred @ weights / rows) ** 2
        return 1 - _quotient(errors**2 @ weights / rows, spread)

    return statistic


def _errors(candidate: Floats, twin: Floats, y: Doubles, *, seed: int) -> dict[str, Measurement]:
    ours, theirs = numbers(candidate) - y, numbers(twin) - y
    asked = {f"ours {name}": each for name, each in _statistics(ours, y).items()}
    asked |= {f"theirs {name}": each for name, each in _statistics(theirs, y).items()}
    drawn = resampled(asked, n=len(y), seed=seed)
    found: dict[str, Measurement] = {}
    for name in ("rmse", "mae", *PERCENTILES):
        both = drawn[f"ours {name}"], drawn[f"theirs {name}"]
        found |= compared(f"quality.{name}", *both, worse="increase")
    (rmse, twin_rmse), (r2, twin_r2), (bias, twin_bias) = (
        (drawn[f"ours {name}"], drawn[f"theirs {name}"]) for name in ("rmse", "r2", "bias")
    )
    return found | {
        "quality.rmse_ratio": _over(rmse, twin_rmse).estimate(low=0.0),
        "quality.r2": r2.estimate(high=1.0),
        "quality.twin_r2": twin_r2.estimate(high=1.0),
        "quality.r2_drop": twin_r2.minus(r2).estimate(),
        "quality.bias": bias.estimate(),
        "quality.twin_bias": twin_bias.estimate(),
        "quality.bias_increase": _size(bias).minus(_size(twin_bias)).estimate(),
    }


def _statistics(errors: Doubles, y: Doubles) -> dict[str, Statistic]:
    size, squares = np.abs(errors), mean(errors**2)
    return {
        "rmse": lambda weights: np.sqrt(squares(weights)),
        "mae": mean(size),
        **{name: percentile(size, share) for name, share in PERCENTILES.items()},
        "r2": explained(errors, y),
        "bias": mean(errors),
    }


def _over(one: Resampled, other: Resampled) -> Resampled:
    """The ratio, resample by resample; NaN where the other is 0."""
    value = _quotient(np.array([one.value]), np.array([other.value]))
    return Resampled(float(value[0]), _quotient(one.drawn, other.drawn), one.n)


def _quotient(above: Doubles, below: Doubles) -> Doubles:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _size(one: Resampled) -> Resampled:
    return Resampled(abs(one.value), np.abs(one.drawn), one.n)
