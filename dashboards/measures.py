"""What the evidence of a candidate says, in the units a person reads. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dashboards.wording import percent, size
from pruneguard.evidence import Estimate, Measurement


@dataclass(frozen=True, slots=True)
class Measures:
    """The handful of numbers by which candidates are compared; None where the evidence has no such measurement."""

    accuracy: Estimate | None
    twin_accuracy: Estimate | None
    parameter_ratio: Estimate | None
    size_bytes: Estimate | None
    latency_ratio: Estimate | None
    flips: Estimate | None

    @classmethod
    def of(cls, measured: Mapping[str, Measurement]) -> "Measures":
        def estimate(name: str) -> Estimate | None:
            found = measured.get(name)
            return found if isinstance(found, Estimate) and math.isfinite(found.value) else None

        return cls(
            accuracy=estimate("quality.accuracy"),
            twin_accuracy=estimate("quality.twin_accuracy"),
            parameter_ratio=estimate("efficiency.parameter_ratio"),
            size_bytes=estimate("efficiency.size_bytes"),
            latency_ratio=estimate("efficiency.latency_ratio"),
            flips=estimate("quality.flips"),
        )

    @property
    def accuracy_text(self) -> str:
        return share_text(self.accuracy)

    @property
    def kept_text(self) -> str:
        return percent(self.parameter_ratio.value) if self.parameter_ratio else "–"

    @property
    def size_text(self) -> str:
        return size(self.size_bytes.value) if self.size_bytes else "–"

    @property
    def latency_text(self) -> str:
        """Times the twin's latency; below 1 is faster."""
        return f"{self.latency_ratio.value:.2f} ×{_interval(self.latency_ratio, 1, 2)}" if self.latency_ratio else "–"


def share_text(estimate: Estimate | None) -> str:
    """A share in percent, with its interval where it has one.

    >>> share_text(Estimate(0.981, 0.972, 0.988, n=1000))
    '98.10\xa0% [97.20,\xa098.80]'
    """
    return f"{100 * estimate.value:.2f}\xa0%{_interval(estimate, 100, 2)}" if estimate else "–"


def _interval(estimate: Estimate, times: float, digits: int) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" [{times * estimate.low:.{digits}f},\xa0{times * estimate.high:.{digits}f}]"
