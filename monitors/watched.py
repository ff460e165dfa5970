"""One release under observation: its monitor, its twin and its open window, in memory."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from monitors import records
from monitors.exposition import Key, Metrics
from monitors.observations import Observation, encode, observe
from monitors.sampling import Draw
from monitors.twin import Baseline, TwinMonitor
from pruneguard import canonical
from pruneguard.artifacts import Artifacts
from pruneguard.errors import InvalidInputError, PruneGuardError, UnavailableError
from pruneguard.evaluation.sessions import Session
from pruneguard.evidence import Evidence
from pruneguard.ledger.events import Event
from pruneguard.ledger.state import Model, Release
from pruneguard.policy import Policy
from pruneguard.serving.observing import Answer
from pruneguard.workload import Floats

RETRY_SECONDS = 5.0
ROWS_MAX = 50_000
"""Rows kept for a window that cannot be sealed, because store or ledger are away; older ones are lost and counted."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """What is kept of an answered row until its block is full, and for the twin if it is drawn."""

    observation: Observation
    inputs: Floats
    logits: Floats


class Twin:
    """The dense model, loaded when it is first asked."""

    def __init__(self, artifacts: Artifacts, digest: str, *, threads: int) -> None:
        self._artifacts = artifacts
        self._digest = digest
        self._threads = threads
        self._session: Session | None = None
        self._retry_at = 0.0

    def logits(self, inputs: Floats) -> Floats:
        """Raises a PruneGuardError when the twin cannot be loaded (tried again after five seconds) or cannot answer."""
        if self._session is None:
            if time.monotonic() < self._retry_at:
                raise UnavailableError(f"the twin {self._digest} could not be loaded a moment ago")
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._session = Session(self._artifacts.get(self._digest), threads=self._threads)
        return self._session.logits(inputs)


class Watched:
    """Feed it answers with `observe`; seal its window with `seal` and `sealed`.

    `monitor` is None where the twin itself is the release and there is nothing to compare, and where the release
    cannot be watched: then `blind` says why.
    """

    def __init__(self, release: Release, policy: Policy, twin: Twin, metrics: Metrics) -> None:
        self.release = release
        self.policy = policy
        self.monitor: TwinMonitor[Row] | None = None
        self.blind: str | None = None
        self.answered = 0
        """Requests, over the release's whole life."""
        self.batch = 0
        """Number of the window that is open."""
        self.failure: str | None = None
        """Why the twin did not answer when it was last asked."""
        self._rows: list[Observation] = []
        self._opened = time.monotonic()
        self._dropped = 0
        self._twin = twin
        self._metrics = metrics

    @property
    def key(self) -> Key:
        return self.release.model, self.release.number

    @property
    def healthy(self) -> bool:
        """Whether nothing speaks against giving the release more traffic."""
        return self.blind is None and (self.monitor is None or self.monitor.healthy)

    # -- answers in ---------------------------------------------------------------------------------------------------

    def observe(self, answers: Sequence[Answer]) -> None:
        """Take answers of this release into the window, and ask the twin about the rows that are drawn."""
        self.answered += len(answers)
        for _, alike in groupby(answers, key=lambda answer: answer.inputs.shape[1:]):
            draws = self._enter(list(alike))
            # A block may have been opened by rows of another shape, where the model leaves its size open.
            for _, group in groupby(draws, key=lambda draw: draw.item.inputs.shape):
                self._compare(list(group))
        if (excess := len(self._rows) - ROWS_MAX) > 0:
            del self._rows[:excess]
            self.lose(excess)
            self._metrics.dropped(excess)

    def lose(self, answers: int) -> None:
        """Count answers that never came here, for the record."""
        self._dropped += answers

    def _enter(self, answers: list[Answer]) -> list[Draw[Row]]:
        """Take answers, whose rows have one shape, into the window; the rows that the twin should answer."""
        inputs = np.concatenate([answer.inputs for answer in answers])
        logits = np.concatenate([answer.logits for answer in answers])
        observations = observe(answers, inputs=inputs, logits=logits)
        self._rows += observations
        if (monitor := self.monitor) is None:
            return []
        rows = map(Row, observations, inputs, logits)
        offered = (monitor.offer(row, margin=row.observation.margin) for row in rows)
        return [draw for draw in offered if draw is not None]

    def _compare(self, draws: list[Draw[Row]]) -> None:
        """Ask the twin about drawn rows of one shape. A row that it does not answer is counted, and that is all."""
        assert self.monitor is not None  # nothing is drawn without one
        try:
            dense = self._twin.logits(np.stack([draw.item.inputs for draw in draws]))
            self.failure = None
        except PruneGuardError as error:
            self.failure = str(error)
            self._metrics.twin_failed(self.key, rows=len(draws))
            return
        for draw, logits in zip(draws, dense, strict=True):
            seen = draw.item.observation
            seen.probability = draw.probability
            if not np.isfinite(logits).all():
                self._metrics.twin_failed(self.key, rows=1)
                continue
            signals = self.monitor.compare(draw, pruned=draw.item.logits, dense=logits)
            seen.agrees, seen.divergence = not signals.flip, signals.divergence
            self._metrics.compared(self.key, flip=signals.flip)

    # -- windows out --------------------------------------------------------------------------------------------------

    def due(self, *, rows: int, seconds: float) -> bool:
        """Whether the window holds enough, or holds something for long enough."""
        return self._ready >= rows or (self._ready > 0 and time.monotonic() - self._opened >= seconds)

    def seal(self, artifacts: Artifacts, *, most: int | None = None) -> Event | None:
        """Store the window and the monitor's state; the event that names them, or None when there is nothing to seal.

        At most `most` rows, and of these only rows whose block is full; without a limit all there are. Nothing is
        forgotten until `sealed` hears that the event stands in the ledger.
        """
        rows = self._rows if most is None else self._rows[: min(most, self._ready)]
        if not rows:
            return None
        refs = {"batch": artifacts.put(encode(rows, model=self.release.model, number=self.release.number))}
        if self.monitor is not None:
            refs["monitor"] = artifacts.put(canonical.encode(self.monitor.to_document()))
        return records.batch_sealed(
            self.release,
            rows,
            self.monitor,
            batch=self.batch,
            answered=self.answered,
            dropped=self._dropped,
            alpha=self.policy.monitoring.alpha,
            refs=refs,
        )

    def sealed(self, event: Event) -> None:
        """Open the next window. `event` is what the ledger holds, which may be an earlier try at the same window."""
        del self._rows[: event.data["rows"]]
        self._dropped -= event.data["dropped"]
        self._opened = time.monotonic()
        self.batch += 1

    @property
    def _ready(self) -> int:
        """How many rows have their block behind them."""
        return len(self._rows) - (self.monitor.sampler.pending if self.monitor else 0)


def watch(release: Release, model: Model, artifacts: Artifacts, metrics: Metrics, *, threads: int) -> Watched:
    """Begin to watch a release, or go on where its newest sealed window left off.

    Raises UnavailableError or IntegrityError when the artefact store does not give what the ledger names.
    """
    policy = Policy.decode(artifacts.get(release.policy))
    watched = Watched(release, policy, Twin(artifacts, release.twin, threads=threads), metrics)
    batches = [batch for batch in model.batches if batch["number"] == release.number]
    newest: dict[str, Any] = dict(batches[-1]) if batches else {}
    watched.answered, watched.batch = newest.get("answered", 0), newest.get("batch", -1) + 1
    if release.digest != release.twin:
        metrics.expect_twin(watched.key, share=policy.monitoring.twin_share)
        try:
            watched.monitor = _monitor(release, model, artifacts, policy, newest.get("refs", {}).get("monitor"))
        except InvalidInputError as error:
            watched.blind = str(error)
    return watched


def _monitor(
    release: Release, model: Model, artifacts: Artifacts, policy: Policy, sealed: str | None
) -> TwinMonitor[Row]:
    if sealed is not None:
        return TwinMonitor.from_document(canonical.decode(artifacts.get(sealed)))
    verdict = model.verdict(release.verdict)
    assert verdict is not None  # no release is proposed without one
    wanted = policy.monitoring
    baseline = Baseline.from_evidence(
        (Evidence.decode(artifacts.get(digest)) for digest in verdict.evidence),
        subject=release.digest,
        tolerance=wanted.tolerance,
    )
    seed = f"{release.digest} {release.number}"
    return TwinMonitor.start(baseline, alpha=wanted.alpha, share=wanted.twin_share, seed=seed)
