"""The label-free witness: how far the pruned model's answers lie from its dense twin's. Pure, no I/O.

One row in every block is answered by the twin as well. Two signals bet against what the gate certified, and are
fused: the share of flipped answers, and the Jensen-Shannon divergence of the two distributions. A third looks at the
twin alone: when it has grown unsure too, the input moved; when it has not, the pruned artefact is at fault.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

import numpy as np

from monitors.decay import Fusion, RestartMixture
from monitors.estimate import LossBound
from monitors.sampling import WEIGHT_MAX, BlockSampler, Draw
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.correctness.quality import divergence
from pruneguard.evaluation.marking import BY_CLASS, Marking
from pruneguard.evaluation.sessions import predictions, probabilities
from pruneguard.evidence import Estimate, Evidence
from pruneguard.workload import Floats

T = TypeVar("T")

HOLD = 100
"""Twin runs between an alarm and its cause. From the alarm on every row is one, so that the twin's own confidence,
which moves about as fast as the disagreement, has had its chance before anything is rolled back."""

CAUSE_ALPHA = 0.05
"""Chance to call a faulty artefact a moved input: it costs an automatic rollback, never the alarm."""


class Cause(StrEnum):
    ARTEFACT = "artefact"  # the pruned path is at fault: a rollback helps
    INPUT = "input"  # the twin is unsure too: a rollback does not help; collect labels, retrain


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is normal: the largest mean of each signal that the gate's evidence and the policy's tolerance allow."""

    flips: float
    divergence: float
    uncertainty: float
    marking: Marking = BY_CLASS
    """How the gate said whether two answers differ."""

    @classmethod
    def from_evidence(cls, evidence: Iterable[Evidence], *, subject: str, tolerance: float) -> "Baseline":
        """The baseline of the candidate with digest `subject`, out of its verdict's evidence.

        The twin's mean uncertainty (1 - confidence) is at most 1 - accuracy + calibration error, both at the
        pessimistic end of their intervals. A regression says no confidence, so its twin is never called unsure. Raises
        InvalidInputError where a measurement is missing, or so wide that no stream could exceed it.
        """
        own = [document for document in evidence if document.subject == subject]
        flips, divergence = (_worst(own, name) + tolerance for name in ("quality.flips", "quality.divergence"))
        near = next((m.value for each in own if isinstance(m := each.get("quality.tolerance"), Estimate)), None)
        if near is None:
            uncertainty = 1 - _least(own, "quality.twin_accuracy") + _worst(own, "calibration.twin_ece") + tolerance
        else:
            uncertainty = 1.0
        baseline = cls(flips, divergence, uncertainty, Marking(near))
        if not max(baseline.flips, baseline.divergence) < 1:
            raise InvalidInputError(f"{subject}: {baseline} can never be exceeded; the gate needs more rows")
        return baseline


@dataclass(frozen=True, slots=True)
class Signals:
    """How one row's answer differs from the twin's, and how unsure the twin itself is; all in [0, 1]."""

    flip: bool
    divergence: float
    uncertainty: float

    @classmethod
    def of(cls, *, pruned: Floats, dense: Floats, marking: Marking = BY_CLASS) -> "Signals":
        """Measured as the gate measured them, from logits [classes] or the number [1] of a regression, which says
        nothing of how sure it is. An answer that is no number differs utterly.

        >>> far = Signals.of(pruned=np.array([np.nan, 0], np.float32), dense=np.array([99, 0], np.float32))
        >>> far.flip, far.divergence, round(far.uncertainty, 6)
        (True, 1.0, 0.0)
        """
        if marking.tolerance is not None:
            apart = float(marking.distance(pruned[None], dense[None])[0])
            moved = bool(marking.changed(pruned[None], dense[None])[0])
            return cls(moved, 1.0 if math.isnan(apart) else apart, 0.0)
        ours, theirs = predictions(np.stack([pruned, dense]))
        p, d = probabilities(np.stack([pruned, dense]))
        distance = float(divergence(p[None], d[None])[0])
        return cls(bool(ours != theirs), 1.0 if math.isnan(distance) else distance, float(1 - d.max()))


@dataclass(frozen=True, slots=True)
class AlarmEvidence:
    """What stood on the counters at the moment the alarm came on."""

    evalue: float
    threshold: float
    rows: int
    twin_runs: int
    flips: int


@dataclass(slots=True)
class TwinMonitor(Generic[T]):
    """Watches one release. Offer it every answered row; give it the twin's logits for the rows it draws.

    Under H0 (flips and divergence at most the baseline's) the chance that it is ever `alarmed` is at most alpha.
    From the alarm until its `cause` is known, every row is drawn instead of one in `block`.
    """

    block: int
    sampler: BlockSampler[T]
    disagreement: Fusion
    uncertainty: RestartMixture
    loss: LossBound = field(default_factory=LossBound)
    rows: int = 0
    twin_runs: int = 0
    flips: int = 0
    held: int = 0
    """Twin runs since the alarm."""
    alarm: AlarmEvidence | None = None
    marking: Marking = BY_CLASS

    @classmethod
    def start(cls, baseline: Baseline, *, alpha: float, share: float, seed: str) -> "TwinMonitor[T]":
        """A monitor that asks the twin for `share` of the rows; `seed` decides which."""
        if not 0 < share <= 1:
            raise InvalidInputError(f"a twin share of {share:g}; expected more than 0 and at most 1")
        parts = {
            "flips": RestartMixture(theta0=baseline.flips, alpha=alpha, z_max=WEIGHT_MAX),
            "divergence": RestartMixture(theta0=baseline.divergence, alpha=alpha, z_max=WEIGHT_MAX),
        }
        # Where the evidence allows any uncertainty, the twin is never called unsure.
        theta0 = min(baseline.uncertainty, 1.0)
        uncertainty = RestartMixture(theta0=theta0, alpha=CAUSE_ALPHA, z_max=WEIGHT_MAX)
        block = round(1 / share)
        return cls(block, BlockSampler(block, seed), Fusion(parts, alpha), uncertainty, marking=baseline.marking)

    def offer(self, item: T, *, margin: float) -> Draw[T] | None:
        """Count an answered row; a draw, when the twin should answer one."""
        self.rows += 1
        return self.sampler.offer(item, margin)

    def compare(self, draw: Draw[T], *, pruned: Floats, dense: Floats) -> Signals:
        """Take the logits [classes] that both models gave for a drawn row; those of the twin must be finite.

        A draw that the twin could not answer is left out: it counts neither for nor against the model.
        """
        signals = Signals.of(pruned=pruned, dense=dense, marking=self.marking)
        flip = signals.flip * draw.weight
        self.disagreement.update({"flips": flip, "divergence": signals.divergence * draw.weight})
        self.uncertainty.update(signals.uncertainty * draw.weight)
        self.loss.update(flip)
        self.twin_runs += 1
        self.flips += signals.flip
        self.held += self.alarm is not None
        if self.disagreement.alarmed and self.alarm is None:
            self.alarm = self._counters()
        self.sampler.size = 1 if self.alarm and not self.cause else self.block
        return signals

    @property
    def healthy(self) -> bool:
        """Whether the twin was heard and no alarm is on: silence is no health."""
        return self.twin_runs > 0 and self.alarm is None

    @property
    def cause(self) -> Cause | None:
        """Why the alarm is on, once that can be told: `HOLD` twin runs after it came on."""
        if self.alarm is None or self.held < HOLD:
            return None
        return Cause.INPUT if self.uncertainty.alarmed else Cause.ARTEFACT

    def _counters(self) -> AlarmEvidence:
        values = self.disagreement.value, 1 / self.disagreement.alpha
        return AlarmEvidence(*values, rows=self.rows, twin_runs=self.twin_runs, flips=self.flips)

    def to_document(self) -> dict[str, Any]:
        """Everything but the open block, whose rows are forgotten unseen."""
        return {
            "kind": "twin-monitor/v1",
            "block": self.block,
            "seed": self.sampler.seed,
            "blocks": self.sampler.blocks,
            "disagreement": self.disagreement.to_document(),
            "uncertainty": self.uncertainty.to_document(),
            "loss": self.loss.to_document(),
            "rows": self.rows,
            "twin_runs": self.twin_runs,
            "flips": self.flips,
            "held": self.held,
            "alarm": asdict(self.alarm) if self.alarm else None,
            "tolerance": self.marking.tolerance,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "TwinMonitor[T]":
        """The monitor as it was sealed. Raises InvalidInputError for a document of another kind."""
        if document.get("kind") != "twin-monitor/v1":
            raise InvalidInputError(f"a {document.get('kind')!r} document; expected 'twin-monitor/v1'")
        monitor: TwinMonitor[T] = cls(
            block=document["block"],
            sampler=BlockSampler(document["block"], document["seed"], blocks=document["blocks"]),
            disagreement=Fusion.from_document(document["disagreement"]),
            uncertainty=RestartMixture.from_document(document["uncertainty"]),
            loss=LossBound.from_document(document["loss"]),
            rows=document["rows"],
            twin_runs=document["twin_runs"],
            flips=document["flips"],
            held=document["held"],
            alarm=AlarmEvidence(**document["alarm"]) if document["alarm"] else None,
            marking=Marking(document["tolerance"]),
        )
        monitor.sampler.size = 1 if monitor.alarm and not monitor.cause else monitor.block
        return monitor


def _worst(evidence: list[Evidence], name: str) -> float:
    """The largest upper end that a measurement was given."""
    return max(high if (high := estimate.high) is not None else estimate.value for estimate in _find(evidence, name))


def _least(evidence: list[Evidence], name: str) -> float:
    return min(low if (low := estimate.low) is not None else estimate.value for estimate in _find(evidence, name))


def _find(evidence: list[Evidence], name: str) -> list[Estimate]:
    found = [m for document in evidence if isinstance(m := document.get(name), Estimate) and not math.isnan(m.value)]
    if not found:
        raise InvalidInputError(f"the verdict's evidence has no {name!r}; without it nobody can say what is normal")
    return found
