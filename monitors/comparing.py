"""Drift reports on their way: asked for when a window was sealed, drawn by another process, recorded when ready."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from monitors import records
from monitors.drift import DriftReport, report_apart
from pruneguard.artifacts import Artifacts
from pruneguard.ledger.events import Event
from pruneguard.ledger.state import Model, Release, Status

DrawReport = Callable[[bytes, bytes], DriftReport]


@dataclass(frozen=True, slots=True)
class _Pending:
    release: Release
    batch: int
    report: Future[DriftReport]


class Comparisons:
    """One report at a time: every `every`-th window of a live version against its first; 0 never.

    A model is reported on at most once in `least_s`.
    """

    def __init__(
        self, artifacts: Artifacts, *, every: int, least_s: float = 0.0, draw: DrawReport = report_apart
    ) -> None:
        self._artifacts = artifacts
        self._every = every
        self._least_s = least_s
        self._next_at: dict[str, float] = {}
        self._draw = draw
        self._pending: _Pending | None = None
        self._drawing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="drift")

    def ask(self, release: Release, model: Model) -> None:
        """Begin a report on the newest window of `release`, if it is its turn and none is on its way."""
        own = [batch for batch in model.batches if batch["number"] == release.number and batch["rows"]]
        if not self._every or release.status is not Status.LIVE or self._pending or len(own) < 2:
            return
        first, newest = own[0], own[-1]
        if newest["batch"] % self._every == 0 and time.monotonic() >= self._next_at.get(model.name, 0.0):
            self._next_at[model.name] = time.monotonic() + self._least_s
            report = self._drawing.submit(self._compare, first["refs"]["batch"], newest["refs"]["batch"])
            self._pending = _Pending(release, newest["batch"], report)

    def _compare(self, reference: str, current: str) -> DriftReport:
        return self._draw(self._artifacts.get(reference), self._artifacts.get(current))

    def take(self) -> Event | None:
        """Store the report that is ready; the event that names it. One that failed raises, once, and is let go."""
        if self._pending is None or not self._pending.report.done():
            return None
        pending, self._pending = self._pending, None
        made = pending.report.result()
        refs = {"report": self._artifacts.put(made.json), "html": self._artifacts.put(made.html)}
        return records.drift_reported(
            pending.release, batch=pending.batch, drifted=made.drifted, columns=len(made.columns), refs=refs
        )

    def finish(self) -> None:
        """Wait for a report on its way."""
        self._drawing.shutdown(wait=True)
