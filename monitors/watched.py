"""One release under observation: its monitor, its twin and its open window, in memory."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from monitors import labelling, records
from monitors.budget import Budget
from monitors.canary import UNHEARD
from monitors.exposition import Key, Metrics
from monitors.labelling import Labelled
from monitors.observations import Keeping, Observation, answered_in, encode, observe
from monitors.sampling import Draw
from monitors.tally import Tally
from monitors.twin import Baseline, TwinMonitor
from pruneguard import canonical
from pruneguard.artifacts import Artifacts
from pruneguard.comparison import Twin as TwinRead
from pruneguard.errors import InvalidInputError, PruneGuardError, UnavailableError
from pruneguard.evaluation.marking import BY_CLASS
from pruneguard.evaluation.sessions import Session
from pruneguard.evidence import Evidence
from pruneguard.ledger.events import Event
from pruneguard.ledger.state import Model, Release
from pruneguard.policy import Policy
from pruneguard.serving.labelstore import Answered, Joined, Labels
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
    """The dense model, loaded when it is first asked. It works in the thread that asks, where `budget` sees it."""

    def __init__(self, artifacts: Artifacts, digest: str, budget: Budget) -> None:
        self._artifacts = artifacts
        self._digest = digest
        self._budget = budget
        self._session: Session | None = None
        self._retry_at = 0.0

    def affordable(self) -> bool:
        """Whether it may be asked now. Known before anything is known of its answer."""
        return self._budget.allows()

    def logits(self, inputs: Floats) -> Floats:
        """Raises a PruneGuardError when the twin cannot be loaded (tried again after five seconds) or cannot answer."""
        if self._session is None:
            if time.monotonic() < self._retry_at:
                raise UnavailableError(f"the twin {self._digest} could not be loaded a moment ago")
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._session = Session(self._artifacts.get(self._digest), threads=1)
        with self._budget.spending():
            return self._session.logits(inputs)


@dataclass(frozen=True, slots=True)
class Books:
    """What outlives the process beside the ledger: counts of what came, labels that wait, the key of digests."""

    tally: Tally
    labels: Labels | None
    key: bytes


class Watched:
    """Feed it answers with `observe`; seal its window with `seal` and `sealed`.

    `monitor` is None where the twin itself is the release and there is nothing to compare, and where the release
    cannot be watched: then `blind` says why.
    """

    def __init__(
        self, release: Release, policy: Policy, twin: Twin, metrics: Metrics, *, books: Books, keep: Keeping
    ) -> None:
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
        self.labelled = Labelled()
        """What labels say, over the release's whole life."""
        self._rows: list[Observation] = []
        self._labels: dict[int, Joined] = {}
        self._opened = self._heard = time.monotonic()
        self._dropped = 0
        self._accounted = 0
        self._skipped = 0
        self._stored: set[str] = set()
        """Segments of this window in the store; all but those that the ledger then names are removed again."""
        self._twin = twin
        self._metrics = metrics
        self._books = books
        self._keep = keep
        self._untold: dict[int, list[Answered]] = {}
        """Rows of sealed windows, by window, of which the store of labels was not told yet."""

    @property
    def key(self) -> Key:
        return self.release.model, self.release.number

    @property
    def twin_read(self) -> TwinRead | None:
        """What the counters of the twin monitor read; None where the release is its own twin."""
        if self.monitor is None:
            return UNHEARD if self.blind else None
        alarm, disagreement = self.monitor.alarm, self.monitor.disagreement
        evalue = alarm.evalue if alarm else disagreement.value  # an alarm stays, whatever the counters read later
        return TwinRead(self.monitor.twin_runs, self.monitor.flips, evalue, 1 / disagreement.alpha)

    # -- answers in ---------------------------------------------------------------------------------------------------

    def observe(self, answers: Sequence[Answer]) -> None:
        """Take answers of this release into the window, and ask the twin about the rows that are drawn."""
        self.answered += len(answers)
        self._heard = time.monotonic()
        self._begin()
        for _, alike in groupby(answers, key=lambda answer: answer.inputs.shape[1:]):
            draws = self._enter(list(alike))
            # A block may have been opened by rows of another shape, where the model leaves its size open.
            for _, group in groupby(draws, key=lambda draw: draw.item.inputs.shape):
                self._compare(list(group))
        if (excess := len(self._rows) - ROWS_MAX) > 0:
            del self._rows[:excess]
            self.lose(excess)
            self._metrics.dropped(excess)

    def lose(self, rows: int) -> None:
        """Count rows that never came here, for the record."""
        self._dropped += rows

    def label(self, labels: Sequence[Joined]) -> None:
        """Take labels of what this release answered into the window, each once."""
        marking = self.monitor.marking if self.monitor else BY_CLASS
        for label in labels:
            if label.sequence not in self._labels:
                self._begin()
                self._labels[label.sequence] = label
                self.labelled = self.labelled.plus(label, marking=marking)

    def _begin(self) -> None:
        if not self._rows and not self._labels:
            self._opened = time.monotonic()

    def _enter(self, answers: list[Answer]) -> list[Draw[Row]]:
        """Take answers, whose rows have one shape, into the window; the rows that the twin should answer."""
        inputs = np.concatenate([answer.inputs for answer in answers])
        logits = np.concatenate([answer.logits for answer in answers])
        observations = observe(answers, inputs=inputs, logits=logits, keep=self._keep)
        self._rows += observations
        if (monitor := self.monitor) is None:
            return []
        rows = map(Row, observations, inputs, logits)
        offered = (monitor.offer(row, margin=row.observation.margin) for row in rows)
        return [draw for draw in offered if draw is not None]

    def _compare(self, draws: list[Draw[Row]]) -> None:
        """Ask the twin about drawn rows of one shape. A row that it does not answer is counted, and that is all."""
        assert self.monitor is not None  # nothing is drawn without one
        if not self._twin.affordable():
            # These blocks have no observation. Why is known before the twin is asked, so that none is missing for what
            # it would have said: a bet that is not made leaves the e-process where it was, and as valid.
            self._skipped += len(draws)
            self._metrics.twin_skipped(self.key, rows=len(draws))
            return
        started = time.perf_counter()
        try:
            dense = self._twin.logits(np.stack([draw.item.inputs for draw in draws]))
            self.failure = None
        except PruneGuardError as error:
            self.failure = str(error)
            self._metrics.twin_failed(self.key, rows=len(draws))
            return
        finally:
            self._metrics.twin_asked(self.key, seconds=time.perf_counter() - started)
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

    @property
    def ready(self) -> int:
        """Rows that can be sealed: those whose block is full."""
        return self._ready

    def due(self, *, rows: int, seconds: float, least_s: float = 0.0) -> bool:
        """Whether the window holds enough and is open for `least_s`, or holds something for long enough."""
        if max(self._ready, len(self._labels)) >= rows:
            return time.monotonic() - self._opened >= least_s
        return (self._ready > 0 or bool(self._labels)) and time.monotonic() - self._opened >= seconds

    def over(self, *, quiet_s: float, rows: int, seconds: float) -> bool:
        """Whether the last window of a release that has left may be sealed: no answer came for `quiet_s`.

        Labels alone, which come long after, are sealed when they are due as a window is.
        """
        if time.monotonic() - self._heard < quiet_s:
            return False
        return bool(self._rows) or not self._labels or self.due(rows=rows, seconds=seconds)

    def seal(self, artifacts: Artifacts, *, most: int | None = None) -> Event | None:
        """Store the window and the monitor's state; the event that names them, or None when there is nothing to seal.

        At most `most` rows, and of these only rows whose block is full; without a limit all there are. Nothing is
        forgotten until `sealed` hears that the event stands in the ledger.
        """
        rows = self._rows if most is None else self._rows[: min(most, self._ready)]
        if not rows and not self._labels:
            return None
        model, number, labels = self.release.model, self.release.number, list(self._labels.values())
        segments = {"batch": encode(rows, model=model, number=number, batch=self.batch)}
        if labels:
            segments["labels"] = labelling.encode(labels, model=model, number=number)
        self._stored.update(map(canonical.digest, segments.values()))
        self._books.tally.pending(self.key, self._stored)
        refs = {name: artifacts.put(segment) for name, segment in segments.items()}
        if self.monitor is not None:
            refs["monitor"] = artifacts.put(canonical.encode(self.monitor.to_document()))
        return records.batch_sealed(
            self.release,
            rows,
            self.monitor,
            batch=self.batch,
            answered=self.answered,
            dropped=self._dropped,
            accounted=self._accounted + len(rows) + self._dropped,
            twin_skipped=self._skipped,
            labels=len(labels),
            labelled=self.labelled,
            alpha=self.policy.monitoring.alpha,
            refs=refs,
        )

    def sealed(self, event: Event, artifacts: Artifacts) -> None:
        """Open the next window. `event` is what the ledger holds, which may be an earlier try at the same window."""
        rows, self._rows = self._rows[: event.data["rows"]], self._rows[event.data["rows"] :]
        labels = list(self._labels)[: event.data["labels"]]
        for sequence in labels:
            del self._labels[sequence]
        self._dropped -= event.data["dropped"]
        self._skipped -= event.data["twin_skipped"]
        self._accounted = event.data["accounted"]
        self._opened = time.monotonic()
        self.batch += 1
        for digest in self._stored.difference(event.refs.values()):
            artifacts.remove(digest)
        self._stored.clear()
        if self._books.labels is not None:
            self._untold[event.data["batch"]] = [_as_answered(row) for row in rows]
            self._books.labels.sealed(labels)
            self.tell()

    def tell(self) -> None:
        """Tell the store of labels what was sealed. Raises UnavailableError while it is away; call again later."""
        if self._books.labels is not None:
            for batch in sorted(self._untold):
                self._books.labels.enter(*self.key, batch, self._untold[batch])
                del self._untold[batch]

    @property
    def _ready(self) -> int:
        """How many rows have their block behind them."""
        return len(self._rows) - (self.monitor.sampler.pending if self.monitor else 0)

    # -- where the last process left off ------------------------------------------------------------------------------

    def resume(self, newest: Mapping[str, Any], artifacts: Artifacts) -> None:
        """Go on from the newest sealed window, empty where there is none.

        What was stored and is named nowhere is removed; what the store of labels may not have heard is told again.
        """
        refs = newest.get("refs", {})
        self.answered, self.batch = newest.get("answered", 0), newest.get("batch", -1) + 1
        self.labelled = Labelled(newest.get("labelled", 0), newest.get("labelled_wrong", 0))
        self._accounted = newest.get("accounted", 0)
        for digest in set(self._books.tally.left(self.key)).difference(refs.values()):
            artifacts.remove(digest)
        if self._books.labels is not None and refs:
            self._untold[newest["batch"]] = answered_in(artifacts.get(refs["batch"]))
            if "labels" in refs:
                self._books.labels.sealed(labelling.sequences(artifacts.get(refs["labels"])))
            self.tell()

    def account(self) -> None:
        """Count what came to a process before this one and was not sealed: it was lost with it."""
        if lost := self._books.tally.lost(self.key, accounted=self._accounted):
            self.lose(lost)
            self._metrics.dropped(lost)


def _as_answered(row: Observation) -> Answered:
    return Answered(row.request_id, row.row, float(row.predicted), row.time)


def watch(
    release: Release,
    model: Model,
    artifacts: Artifacts,
    metrics: Metrics,
    *,
    manifest: str,
    budget: Budget,
    books: Books,
) -> Watched:
    """Begin to watch a release, or go on where its newest sealed window left off. `manifest` is what its run was asked.

    Raises UnavailableError or IntegrityError when the artefact store does not give what the ledger names, and
    InvalidInputError where that is no manifest: then nobody knows what of an input may be written.
    """
    policy = Policy.decode(artifacts.get(release.policy))
    keep = Keeping.asked(canonical.decode(artifacts.get(manifest)), key=books.key)
    watched = Watched(release, policy, Twin(artifacts, release.twin, budget), metrics, books=books, keep=keep)
    newest: Mapping[str, Any] = next(
        (batch for batch in reversed(model.batches) if batch["number"] == release.number), {}
    )
    watched.resume(newest, artifacts)
    if release.digest != release.twin:
        metrics.expect_twin(watched.key, share=policy.monitoring.twin_share)
        try:
            watched.monitor = _monitor(release, model, artifacts, policy, newest.get("refs", {}).get("monitor"))
        except InvalidInputError as error:
            watched.blind = str(error)
    watched.account()  # told once, so when nothing can fail any more
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
