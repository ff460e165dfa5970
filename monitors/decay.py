"""Detectors of silent decay: the model still answers, only worse. Pure, no clock, no I/O.

A detector watches a signal whose mean the gate has bounded by `theta0` and bets against that bound. While the bound
holds, the bets cannot win in expectation, so wealth that reaches 1/alpha is evidence at level alpha, at whatever
time one looks and for as long as one likes (Ville's inequality).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pruneguard.errors import InvalidInputError

BETS = 10
RESTART_EVERY = 10
WEALTH_MAX = 1e300  # capping wealth keeps it a supermartingale, and a float


@dataclass(slots=True)
class RestartMixture:
    """A restart mixture of betting e-processes against H0: E[z | past] <= theta0, for z in [0, z_max].

    Bets of ten sizes run side by side, and every tenth observation restarts all of them with a share of the capital
    that was put aside (shares 1/ln(b+e-1) - 1/ln(b+e), which sum to 1), so that a late change is not paid for by a
    long quiet past. Under H0, the chance that `value` ever reaches 1/alpha is at most alpha, however the
    observations depend on each other. `alarmed` is latched.

    Betting: Waudby-Smith and Ramdas 2023 (arXiv 2010.09686). Mixtures over restarts: Shin, Ramdas and Rinaldo 2022
    (arXiv 2203.03532).

    >>> detector = RestartMixture(theta0=0.05, alpha=0.01)
    >>> [detector.update(z) for z in (0, 1, 1, 1, 1)]
    [False, False, False, False, True]
    """

    theta0: float
    alpha: float
    z_max: float = 1.0
    count: int = 0
    alarmed: bool = False
    wealth: list[float] = field(default_factory=lambda: [0.0] * BETS)
    """What each size of bet holds now, summed over all restarts so far."""

    def __post_init__(self) -> None:
        if not (0 < self.theta0 < self.z_max and 0 < self.alpha < 1):
            raise InvalidInputError(
                f"theta0={self.theta0:g}, alpha={self.alpha:g}; expected theta0 between 0 and {self.z_max:g}, where "
                "the signal can exceed it, and alpha between 0 and 1. A bound this wide needs more rows at the gate"
            )

    def update(self, z: float) -> bool:
        """Take one observation and say whether the alarm is on. Raises InvalidInputError outside [0, z_max]."""
        if not 0 <= z <= self.z_max * (1 + 1e-9):  # NaN compares false and is refused
            raise InvalidInputError(f"an observation of {z:g}; this detector's signal lies in 0..{self.z_max:g}")
        stake = self._stake() if self.count % RESTART_EVERY == 0 else 0.0
        edge = 0.95 * (z / self.theta0 - 1)
        self.wealth = [min((held + stake) * (1 + edge / 2**k), WEALTH_MAX) for k, held in enumerate(self.wealth)]
        self.count += 1
        self.alarmed = self.alarmed or self.value >= 1 / self.alpha
        return self.alarmed

    @property
    def value(self) -> float:
        """The e-value: how often over the evidence has multiplied a unit of capital staked against H0."""
        return math.fsum(self.wealth) + 1 / math.log(self._restarts + math.e)

    @property
    def log10(self) -> float:
        return math.log10(self.value)

    @property
    def _restarts(self) -> int:
        return -(-self.count // RESTART_EVERY)

    def _stake(self) -> float:
        b = self._restarts + 1
        return (1 / math.log(b + math.e - 1) - 1 / math.log(b + math.e)) / BETS

    def to_document(self) -> dict[str, Any]:
        return {
            "theta0": self.theta0,
            "alpha": self.alpha,
            "z_max": self.z_max,
            "count": self.count,
            "alarmed": self.alarmed,
            "wealth": list(self.wealth),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "RestartMixture":
        """The detector as it was: it goes on exactly where `to_document` left it."""
        return cls(**{**document, "wealth": [float(held) for held in document["wealth"]]})


@dataclass(slots=True)
class Fusion:
    """Several detectors as one: the mean of e-processes on the same stream is an e-process, at the same alpha.

    >>> parts = {name: RestartMixture(theta0=0.05, alpha=0.01) for name in ("flips", "divergence")}
    >>> fusion = Fusion(parts, alpha=0.01)
    >>> [fusion.update({"flips": z, "divergence": z / 2}) for z in (1, 1, 1)]
    [False, False, True]
    """

    parts: dict[str, RestartMixture]
    alpha: float
    alarmed: bool = False

    def update(self, values: Mapping[str, float]) -> bool:
        """Give every part its observation and say whether the alarm is on."""
        for name, part in self.parts.items():
            part.update(values[name])
        self.alarmed = self.alarmed or self.value >= 1 / self.alpha
        return self.alarmed

    @property
    def value(self) -> float:
        return math.fsum(part.value / len(self.parts) for part in self.parts.values())

    @property
    def log10(self) -> float:
        return math.log10(self.value)

    def to_document(self) -> dict[str, Any]:
        return {
            "alpha": self.alpha,
            "alarmed": self.alarmed,
            "parts": {name: part.to_document() for name, part in self.parts.items()},
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Fusion":
        parts = {name: RestartMixture.from_document(part) for name, part in document["parts"].items()}
        return cls(parts, document["alpha"], document["alarmed"])
