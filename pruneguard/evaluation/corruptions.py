"""Harmless-looking damage: does the candidate stand it as well as its twin?

Images [n, channels, height, width]: `noise`, `blur`, `contrast`, in the spirit of Hendrycks & Dietterich 2019
(arXiv:1903.12261). Everything else is a table of features: `noise`, `scaling` (gains that drift), `missing` (features
replaced by their mean). A policy for tables names those; a family that does not apply is not measured, and a missing
measurement never passes.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.quality import paired_answers
from pruneguard.evidence import Measurement
from pruneguard.workload import Floats, Split

SEVERITIES = (1, 2, 3)

Corruption: TypeAlias = Callable[[Floats, int, Domain, np.random.Generator], Floats]


def measure(pair: Pair, split: Split, domain: Domain, *, family: str, seed: int) -> dict[str, Measurement]:
    """`robustness.<family>.paired`: both models on the same damaged rows.

    Every row is damaged once, a third of the rows at each severity: a row that counted three times would make the
    table look like three times the evidence that it is.
    """
    damaged = spread_over_severities(split.x, domain, family=family, seed=seed)
    return {f"robustness.{family}.paired": paired_answers(pair.logits(damaged), split.y)}


def families(domain: Domain) -> tuple[str, ...]:
    """The names of the damages that make sense for these rows."""
    return tuple(_IMAGES if domain.images else _TABLES)


def spread_over_severities(x: Floats, domain: Domain, *, family: str, seed: int) -> Floats:
    """The rows, each damaged at a severity drawn by `seed`, in equal shares."""
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(np.arange(len(x)) % len(SEVERITIES))
    damaged = np.empty_like(x)
    for index, severity in enumerate(SEVERITIES):
        rows = drawn == index
        damaged[rows] = corrupt(x[rows], domain, family=family, severity=severity, seed=seed)
    return damaged


def corrupt(x: Floats, domain: Domain, *, family: str, severity: int, seed: int) -> Floats:
    """The rows damaged at one severity, inside the bounds; 0 is none. The same seed does the same damage."""
    corruption = (_IMAGES if domain.images else _TABLES)[family]
    return domain.clip(corruption(x, severity, domain, np.random.default_rng([seed, severity])))


def _noise(x: Floats, severity: int, domain: Domain, rng: np.random.Generator) -> Floats:
    deviation = np.float32((0.0, 0.04, 0.08, 0.12)[severity])
    return x + deviation * domain.spread * rng.standard_normal(x.shape, dtype=np.float32)


def _blur(x: Floats, severity: int, domain: Domain, rng: np.random.Generator) -> Floats:  # one signature
    radius = (0.0, 0.025, 0.04, 0.06)[severity] * min(x.shape[2:])  # relative: 8 pixels stand less than 28
    return _smooth(_smooth(x, radius, axis=2), radius, axis=3) if radius else x


def _smooth(x: Floats, deviation: float, *, axis: int) -> Floats:
    """Gaussian filter along one axis, its border pixels repeated."""
    reach = int(np.ceil(3 * deviation))
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-((offsets / deviation) ** 2) / 2)
    weights = (weights / weights.sum()).astype(np.float32)
    padding = [(reach, reach) if each == axis else (0, 0) for each in range(x.ndim)]
    padded, size = np.pad(x, padding, mode="edge"), x.shape[axis]
    smoothed = np.zeros_like(x)
    for start, weight in enumerate(weights):
        smoothed += weight * padded.take(range(start, start + size), axis=axis)
    return smoothed


def _contrast(x: Floats, severity: int, domain: Domain, rng: np.random.Generator) -> Floats:
    kept = np.float32((1.0, 0.75, 0.5, 0.3)[severity])
    middle = x.mean(axis=(1, 2, 3), keepdims=True)
    faded: Floats = middle + kept * (x - middle)
    return faded


def _scaling(x: Floats, severity: int, domain: Domain, rng: np.random.Generator) -> Floats:
    width = np.float32((0.0, 0.05, 0.1, 0.2)[severity])
    return x * (1 + width * (2 * rng.random(x.shape, dtype=np.float32) - 1))


def _missing(x: Floats, severity: int, domain: Domain, rng: np.random.Generator) -> Floats:
    lost: npt.NDArray[np.bool_] = rng.random(x.shape) < (0.0, 0.05, 0.1, 0.2)[severity]
    return np.where(lost, domain.mean, x)


_IMAGES: Mapping[str, Corruption] = {"noise": _noise, "blur": _blur, "contrast": _contrast}
_TABLES: Mapping[str, Corruption] = {"noise": _noise, "scaling": _scaling, "missing": _missing}
