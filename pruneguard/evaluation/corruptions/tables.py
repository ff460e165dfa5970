"""Damage to tables: what sensors, forms, imports and the people who write them do to a row.

Every function takes rows [n, columns]. Values that are lost or come from elsewhere are lost feature by feature: the
columns of a one-hot category go together. A column that is constant in training has no spread, and nothing that is
measured in spreads moves it.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.domain import Domain
from pruneguard.workload import Floats

Drawn: TypeAlias = np.random.Generator

_LOST = (0.04, 0.08, 0.12, 0.16, 0.2)
"""Shares of features that a row loses."""


def corrupt(x: Floats, domain: Domain, *, family: str, severity: int, rng: Drawn) -> Floats:
    """The rows [n, ...] damaged at a severity from 1 to 5, every number a column; they may leave the bounds."""
    return FAMILIES[family](x.reshape(len(x), -1), severity - 1, domain, rng).reshape(x.shape)


def _noise(x: Floats, level: int, domain: Domain, rng: Drawn) -> Floats:
    deviation = np.float32((0.04, 0.06, 0.08, 0.1, 0.12)[level])
    return x + deviation * domain.spread.ravel() * rng.standard_normal(x.shape, dtype=np.float32)


def _scaling(x: Floats, level: int, domain: Domain, rng: Drawn) -> Floats:
    width = np.float32((0.04, 0.08, 0.12, 0.16, 0.2)[level])
    return x * (1 + width * (2 * rng.random(x.shape, dtype=np.float32) - 1))


def _gain(x: Floats, level: int, domain: Domain, rng: Drawn) -> Floats:
    width = np.float32((0.1, 0.2, 0.3, 0.4, 0.5)[level])
    return x * (1 + width * (2 * rng.random((len(x), 1), dtype=np.float32) - 1))


def _drift(x: Floats, level: int, domain: Domain, rng: Drawn) -> Floats:
    """The same for all rows: an instrument that was not set to zero is wrong all day."""
    way = 2 * rng.integers(2, size=x.shape[1]).astype(np.float32) - 1
    return x + np.float32((0.02, 0.04, 0.06, 0.08, 0.1)[level]) * domain.spread.ravel() * way


def _saturation(x: Floats, level: int, domain: Domain, rng: Drawn) -> Floats:
    reach = np.float32((0.45, 0.375, 0.3, 0.225, 0.15)[level]) * domain.spread.ravel()
    mean = domain.mean.ravel()
    return np.clip(x, mean - reach, mean + reach)


def _rounding(x: Floats, level: int, domain: Domain, rng: Drawn) -> Floats:
    step = domain.spread.ravel() / np.float32((16, 8, 6, 4, 3)[level])
    return np.where(step > 0, np.rint(x / np.where(step > 0, step, 1)) * step, x)


def _outliers(x: Floats, level: int, domain: Domain, rng: Drawn) -> Floats:
    """Ten standard deviations off, to either side."""
    share = (0.005, 0.01, 0.02, 0.03, 0.05)[level]
    drawn = rng.random(x.shape, dtype=np.float32)
    far = np.where(drawn < share / 2, np.float32(-2.5), np.float32(2.5)) * domain.spread.ravel()
    return np.where(drawn < share, domain.mean.ravel() + far, x)


def _unit_change(x: Floats, level: int, domain: Domain, rng: Drawn) -> Floats:
    """One number of each row in another unit; none of a category where there are other columns."""
    number = _numbers(domain)
    columns = np.flatnonzero(number) if number.any() else np.arange(x.shape[1])
    changed = x.copy()
    changed[np.arange(len(x)), rng.choice(columns, len(x))] *= np.float32((1.5, 2.5, 5, 10, 100)[level])
    return changed


def _missing(x: Floats, level: int, domain: Domain, rng: Drawn) -> Floats:
    return np.where(_lost(len(x), _LOST[level], domain, rng), domain.mean.ravel(), x)


def _sentinels(x: Floats, level: int, domain: Domain, rng: Drawn) -> Floats:
    """Numbers that are lost stand at the lower bound, as -999 would; lost categories are none of those known."""
    lost = _lost(len(x), (0.01, 0.02, 0.03, 0.04, 0.05)[level], domain, rng)
    return np.where(lost, np.where(_numbers(domain), np.float32(domain.low), np.float32(0)), x)


def _shuffled_values(x: Floats, level: int, domain: Domain, rng: Drawn) -> Floats:
    return np.where(_lost(len(x), _LOST[level], domain, rng), x[rng.permutation(len(x))], x)


def _swapped_columns(x: Floats, level: int, domain: Domain, rng: Drawn) -> Floats:
    columns = x.shape[1]
    swapped, rows = x.copy(), np.arange(len(x))
    for _ in range(level + 1 if columns > 1 else 0):
        one = rng.integers(columns, size=len(x))
        other = (one + rng.integers(1, columns, size=len(x))) % columns
        swapped[rows, one], swapped[rows, other] = swapped[rows, other], swapped[rows, one]
    return swapped


FAMILIES: Mapping[str, Callable[[Floats, int, Domain, Drawn], Floats]] = MappingProxyType(
    {
        "noise": _noise,
        "scaling": _scaling,
        "gain": _gain,
        "drift": _drift,
        "saturation": _saturation,
        "rounding": _rounding,
        "outliers": _outliers,
        "unit_change": _unit_change,
        "missing": _missing,
        "sentinels": _sentinels,
        "shuffled_values": _shuffled_values,
        "swapped_columns": _swapped_columns,
    }
)
"""By name; arguments are the rows, the severity from 0 to 4, what is known of the rows, and the chance."""


def _numbers(domain: Domain) -> npt.NDArray[np.bool_]:
    """Which columns are features of their own."""
    alone: npt.NDArray[np.bool_] = np.bincount(domain.features)[domain.features] == 1
    return alone


def _lost(n: int, share: float, domain: Domain, rng: Drawn) -> npt.NDArray[np.bool_]:
    """Which values [n, columns] go, all columns of a feature together."""
    number = domain.features
    return (rng.random((n, number.max() + 1), dtype=np.float32) < share)[:, number]
