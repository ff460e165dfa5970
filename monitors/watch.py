"""The monitor at work: it hears every answer, asks the twin about some, and acts through the ledger.

Answers arrive on the path of requests and only enter a bounded inbox. One thread does the rest, in steps:
  1. read the ledger; while it is away, go on counting with what is known;
  2. observe answers: windows, twin runs, detectors;
  3. raise alarms whose cause is known, and roll back where the policy says so;
  4. move approved releases and canaries on;
  5. seal windows that are due;
  6. report drift, made by another process meanwhile;
  7. show all of it as metrics.
What to do is decided in `decisions.py` and by the detectors; a step that fails is tried again at the next one.
"""

import logging
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from monitors import decisions, records
from monitors.budget import Budget
from monitors.canary import UNHEARD, Trials
from monitors.comparing import Comparisons, DrawReport
from monitors.drift import report_apart
from monitors.exposition import Key, Metrics
from monitors.inbox import Inbox
from monitors.panel import Panel
from monitors.shadow import Shadows
from monitors.tally import Tally
from monitors.watched import Books, Watched, watch
from pruneguard import releases
from pruneguard.artifacts import Artifacts
from pruneguard.comparison import Comparison, decide
from pruneguard.ledger.events import utc
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.rules import MONITOR
from pruneguard.ledger.state import Model, Release, State, Status
from pruneguard.policy import Policy
from pruneguard.serving.labelstore import Labels
from pruneguard.serving.observing import Answer
from pruneguard.serving.workers import Fleet
from pruneguard.witness.pushing import Round

ANSWERS_A_STEP = 256
GATHER_SECONDS = 0.02
"""How long answers gather between two steps: a step for each of them would cost more than the answer itself."""
FAILURES_MAX = 10_000
LABELS_A_TURN = 1_000
EXPIRE_SECONDS = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things happen. A window is sealed when it has `window_rows`, or after `window_s` if it has any, and is
    open for `window_least_s` at least: where much comes, windows grow, not the ledger.

    Every `drift_every`-th window of the live version is compared with its first, at most every `drift_s`; 0 never. A
    release that has left the traffic is sealed when it was quiet for `linger_s`. Labels are taken every `labels_s`. The
    twins may take `twin_cpu_max` of one core.
    """

    window_rows: int = 500
    window_s: float = 60.0
    window_least_s: float = 2.0
    drift_every: int = 4
    drift_s: float = 60.0
    interval_s: float = 0.1
    linger_s: float = 5.0
    labels_s: float = 1.0
    twin_cpu_max: float = 0.5


class Watch:
    """The observer of a gateway: `pruneguard.serving.observing.Observer`. Start it, or use it as a context.

    `open_ledger` is called in the monitor's thread, and what it opens is closed there. `draw_report` compares two
    sealed windows, given as their bytes.

    What is kept beside the ledger: in `folder` how much came, so that what dies with this process is counted by the
    next one (at most what the inbox holds, and each release's open window); `labels` wait in their store; `key` makes
    the digests of inputs, another one at every start where none is given.
    """

    def __init__(
        self,
        open_ledger: Callable[[], Ledger],
        artifacts: Artifacts,
        *,
        pace: Pace | None = None,
        inbox: Inbox | None = None,
        folder: Path | None = None,
        labels: Labels | None = None,
        key: bytes | None = None,
        draw_report: DrawReport = report_apart,
    ) -> None:
        self._open_ledger = open_ledger
        self._artifacts = artifacts
        self._pace = pace or Pace()
        self._budget = Budget(self._pace.twin_cpu_max)
        self._labels = labels
        self._books = Books(Tally(folder), labels, key or os.urandom(32))
        self._labels_at = self._expired_at = -math.inf
        self._inbox = inbox or Inbox()
        self._metrics = Metrics()
        self._panel = Panel(self._metrics, artifacts)
        self._ledger: Ledger | None = None
        self._state = State()
        self._watched: dict[Key, Watched] = {}
        self._policies: dict[str, Policy] = {}
        self._trials = Trials(artifacts.get)
        self._shadows = Shadows(artifacts, self._budget)
        self._failures: deque[Key] = deque(maxlen=FAILURES_MAX)
        self._comparisons = Comparisons(
            artifacts, every=self._pace.drift_every, least_s=self._pace.drift_s, draw=draw_report
        )
        self._complaints: dict[str, str] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    # -- the observer: on the answer's path ---------------------------------------------------------------------------

    def answered(self, answer: Answer) -> None:
        key, rows = (answer.model, answer.version), len(answer.inputs)
        self._metrics.answered(key, seconds=answer.seconds)
        self._books.tally.came(key, rows)
        if not self._inbox.offer(answer):
            self._metrics.dropped(rows)

    def refused(self, model: str, reason: str) -> None:
        self._metrics.refused(model, reason=reason)

    def failed(self, model: str, version: int) -> None:
        self._failures.append((model, version))

    def lost(self, answers: int) -> None:
        self._metrics.dropped(answers)

    def workers(self, fleet: Fleet) -> None:
        self._metrics.workers(fleet)

    def metrics(self) -> tuple[bytes, str]:
        return self._metrics.render()

    def reads(
        self, *, observer_failures: Callable[[], int], cut_off: Callable[[], bool], age_s: Callable[[], float]
    ) -> None:
        """Show what others count, whenever metrics are read: answers on which the observer failed, and whether the
        gateway is cut off from the ledger, and since when.
        """
        self._metrics.reads(observer_failures=observer_failures, cut_off=cut_off, age_s=age_s)

    def witnessed(self, done: Round) -> None:
        self._metrics.witnessed(size=done.size, cosigned=done.cosigned, failed=done.failures)

    # -- the thread ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take in what has been answered, seal every window and end. A drift report on its way is waited for."""
        self._stopping.set()
        self._inbox.wake()
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stopping.is_set():
            taken = 0
            with self._surviving("a step"):
                taken = self.step(wait_s=self._pace.interval_s)
            if taken < ANSWERS_A_STEP:
                self._stopping.wait(GATHER_SECONDS)
        with self._surviving("the last step"):
            while self.step():
                pass  # what was answered before the end
            self.finish()

    def step(self, *, wait_s: float = 0.0) -> int:
        """One round of the steps above, after waiting for an answer at most `wait_s`; how many answers it took."""
        answers = self._inbox.take(most=ANSWERS_A_STEP, wait_s=wait_s)
        reachable = self._read()
        self._observe(answers)
        if reachable is not None:
            self._act(reachable)
        if self._books.tally.failures:
            self._complain("counting what comes", "a file cannot be written; losses in a crash would count too low")
        with self._surviving("showing metrics"):
            self._panel.show(self._state, self._watched)
        return len(answers)

    def finish(self) -> None:
        """Seal what is left, whether due or not, and let go of the ledger."""
        self._comparisons.finish()
        if (ledger := self._read()) is not None:
            self._report_drift(ledger)
            for watched in self._watched.values():
                self._seal(ledger, watched)
        self._books.tally.close()
        self._close()

    # -- 1. read ------------------------------------------------------------------------------------------------------

    def _read(self) -> Ledger | None:
        """The ledger, with its state read; None while it is away."""
        with self._surviving("reading the ledger"):
            self._ledger = self._ledger or self._open_ledger()
            self._state = self._ledger.state()
            self._metrics.polled(size=self._state.size)
            return self._ledger
        self._close()
        return None

    def _close(self) -> None:
        if self._ledger is not None:
            with suppress(Exception):  # it failed already; what matters is the next one
                self._ledger.close()
            self._ledger = None

    # -- 2. observe ---------------------------------------------------------------------------------------------------

    def _observe(self, answers: Sequence[Answer]) -> None:
        with self._surviving("comparing canaries"):
            self._compare(answers)
        answers = [*answers, *self._copied(answers)]
        by_release = sorted(answers, key=lambda answer: (answer.model, answer.version))
        for key, group in groupby(by_release, key=lambda answer: (answer.model, answer.version)):
            own = list(group)
            watched = self._find(key)
            if watched is None:
                self._metrics.dropped(sum(len(answer.inputs) for answer in own))
                continue
            with self._surviving(f"observing {key}"):
                watched.observe(own)
            self._complain(f"the twin of {key}", watched.failure)

    def _compare(self, answers: Sequence[Answer]) -> None:
        """Give the trials of the canaries what was answered, and what was not, in the order in which it came."""
        while self._failures:
            name, version = self._failures.popleft()
            if name in self._state.models:
                self._trials.failed(self._state.models[name], version)
        by_model = sorted(answers, key=lambda answer: answer.model)
        for name, group in groupby(by_model, key=lambda answer: answer.model):
            if name in self._state.models:
                self._trials.answered(self._state.models[name], list(group))

    def _copied(self, answers: Sequence[Answer]) -> list[Answer]:
        """What releases in the shadow say to copies of these requests."""
        said: list[Answer] = []
        for model in self._state.models.values():
            own = [answer for answer in answers if answer.model == model.name]
            with self._surviving(f"asking the shadow of {model.name}"):
                said += self._shadows.answers(model, own)
        for answer in said:
            self._books.tally.came((answer.model, answer.version), len(answer.inputs))
        return said

    def _find(self, key: Key) -> Watched | None:
        """The release under observation; None where the ledger does not know it or its documents cannot be read."""
        if key in self._watched:
            return self._watched[key]
        model = self._state.models.get(key[0])
        if model is None or key[1] not in model.releases:
            return None
        with self._surviving(f"beginning to watch {key}"):
            release = model.releases[key[1]]
            verdict = model.verdict(release.verdict)
            assert verdict is not None  # no release is proposed without one
            watched = watch(
                release,
                model,
                self._artifacts,
                self._metrics,
                manifest=self._state.runs[verdict.run].manifest,
                budget=self._budget,
                books=self._books,
            )
            if watched.blind:
                self._complain(f"watching {key}", watched.blind)
                self._metrics.error()
            return self._watched.setdefault(key, watched)
        return None

    # -- acting -------------------------------------------------------------------------------------------------------

    def _act(self, ledger: Ledger) -> None:
        self._tell_lapses(ledger)
        for model in list(self._state.models.values()):
            serving = [release for release in (model.canary, model.live) if release]
            watched = [found for r in serving if (found := self._find((r.model, r.number)))]
            for one in watched:
                self._raise_alarm(ledger, model, one)
            with self._surviving(f"judging the canary of {model.name}"):
                self._judge_canary(ledger, model)
            self._state = ledger.state()  # with what was just recorded
            for release in serving:
                with self._surviving(f"rolling back {model.name} {release.number}"):
                    self._roll_back(ledger, model, release)
            with self._surviving(f"moving {model.name} on"):
                self._move_on(ledger, model)
        self._take_labels()
        for key, one in list(self._watched.items()):
            self._seal_due(ledger, key, one)
        self._report_drift(ledger)

    # -- 3. alarms ----------------------------------------------------------------------------------------------------

    def _raise_alarm(self, ledger: Ledger, model: Model, watched: Watched) -> None:
        number = watched.release.number
        raised = any(alarm.number == number and alarm.detector == records.DETECTOR for alarm in model.alarms)
        if raised or watched.monitor is None or watched.monitor.cause is None:
            return
        with self._surviving(f"raising the alarm about {watched.key}"):
            event = ledger.record(records.alarm_raised(watched.release, watched.monitor)).event
            log.warning("%s release %d: %s, cause: %s", *watched.key, event.data["detector"], event.data["cause"])

    def _tell_lapses(self, ledger: Ledger) -> None:
        now = self._now()
        for release, waiver in releases.lapsed_waivers(self._state, now):
            if waiver.event in self._state.told:
                continue
            with self._surviving(f"telling that the waiver {waiver.event} has lapsed"):
                ledger.record(records.waiver_lapsed(release, waiver, now=now))
                log.warning("%s release %d: the waiver of %s has lapsed", release.model, release.number, waiver.rule)

    def _now(self) -> str:
        """By which expiry is judged: this machine's time, unless the log has seen a later one."""
        return max(self._state.clock, utc(datetime.now(UTC)))

    def _roll_back(self, ledger: Ledger, model: Model, release: Release) -> None:
        policy, lapsed = self._policy(release), self._state.lapsed(release, self._now())
        if (alarm := decisions.due_rollback(release, model=model, policy=policy, lapsed=lapsed)) is None:
            return
        reason = records.rollback_reason(alarm)
        releases.roll_back(
            ledger, model=model.name, number=release.number, reason=reason, actor=MONITOR, alarm=alarm.event
        )
        log.warning("%s release %d was rolled back: %s", model.name, release.number, reason)

    # -- 4. releases --------------------------------------------------------------------------------------------------

    def _move_on(self, ledger: Ledger, model: Model) -> None:
        for release in list(model.releases.values()):
            if release.status not in (Status.APPROVED, Status.CANARY) or self._state.lapsed(release, self._now()):
                continue
            seen = self._seen(model) if release.status is Status.CANARY else None
            policy = self._policy(release)
            judged = decide(seen, policy.canary) if seen else None
            share = decisions.next_step(release, model=model, policy=policy, judged=judged)
            if share is not None:
                if seen is not None:
                    self._artifacts.put(seen.encode())
                releases.shift(ledger, model=model.name, number=release.number, share=share, comparison=seen)
                log.info("%s release %d takes %g of the traffic", model.name, release.number, share)

    def _judge_canary(self, ledger: Ledger, model: Model) -> None:
        canary = model.canary
        if canary is None or (seen := self._seen(model)) is None:
            return
        judged = decide(seen, self._policy(canary).canary)
        if decisions.stops(canary, model=model, judged=judged):
            self._artifacts.put(seen.encode())
            ledger.record(records.canary_stopped(canary, seen, judged))
            log.warning("%s release %d is stopped: %s", model.name, canary.number, judged.reason)

    def _seen(self, model: Model) -> Comparison | None:
        """What was counted of a model's canary by now, as it is recorded; None where it has none."""
        if model.canary is None or (trial := self._trials.find(model)) is None:
            return None
        versions = [release.number for release in (model.canary, model.live) if release]
        for number in versions:
            if (one := self._watched.get((model.name, number))) is not None:
                self._trials.labelled(model, number, count=one.labelled.count, wrong=one.labelled.wrong)
        stood = datetime.fromisoformat(self._now()) - datetime.fromisoformat(model.canary.stepped_at)
        watched = self._watched.get((model.name, model.canary.number))
        seen = trial.comparison(seconds=stood.total_seconds(), twin=watched.twin_read if watched else UNHEARD)
        return Comparison.decode(seen.encode())  # what decides is what an auditor will read

    def _policy(self, release: Release) -> Policy:
        if release.policy not in self._policies:
            self._policies[release.policy] = Policy.decode(self._artifacts.get(release.policy))
        return self._policies[release.policy]

    # -- 5. windows ---------------------------------------------------------------------------------------------------

    def _take_labels(self) -> None:
        """Give labels whose answers are known to the release that gave them, whether it still takes traffic or not."""
        if self._labels is None or monotonic() - self._labels_at < self._pace.labels_s:
            return
        self._labels_at = monotonic()
        with self._surviving("taking labels"):
            if monotonic() - self._expired_at >= EXPIRE_SECONDS:
                self._expired_at = monotonic()
                self._labels.expire()
            for name in self._state.models:
                for number, joined in self._labels.joinable(name, most=LABELS_A_TURN).items():
                    if (watched := self._find((name, number))) is not None:
                        watched.label(joined)
                self._metrics.labels(name, self._labels.counts(name))
            for watched in self._watched.values():
                watched.tell()

    def _seal_due(self, ledger: Ledger, key: Key, watched: Watched) -> None:
        """Seal what is due of a release in traffic; of one that has left, all there is once it is quiet, and forget it.

        The last answers of one that leaves come late: requests under way, queues of other processes.
        """
        release = self._state.models[key[0]].releases[key[1]]
        if release.status not in (Status.CANARY, Status.LIVE) and not release.shadow:
            pace = self._pace
            over = watched.over(quiet_s=pace.linger_s, rows=pace.window_rows, seconds=pace.window_s)
            if over and self._seal(ledger, watched):
                del self._watched[key]
                self._metrics.forget(key)
            return
        pace = self._pace
        while watched.due(rows=pace.window_rows, seconds=pace.window_s, least_s=pace.window_least_s):
            most = max(pace.window_rows, watched.ready) if pace.window_least_s else pace.window_rows
            if not self._seal(ledger, watched, most=most):
                return
            self._comparisons.ask(release, self._state.models[key[0]])

    def _seal(self, ledger: Ledger, watched: Watched, *, most: int | None = None) -> bool:
        """Seal one window, if there is anything to seal; False when it has to be tried again."""
        with self._surviving(f"sealing a window of {watched.key}"):
            watched.lose(self._inbox.lost(watched.key))
            if (event := watched.seal(self._artifacts, most=most)) is not None:
                watched.sealed(ledger.record(event).event, self._artifacts)
                self._state = ledger.state()
            return True
        return False

    # -- 6. drift -----------------------------------------------------------------------------------------------------

    def _report_drift(self, ledger: Ledger) -> None:
        with self._surviving("reporting drift"):
            if (event := self._comparisons.take()) is not None:
                data = ledger.record(event).event.data
                self._metrics.drift((data["model"], data["number"]), columns=data["drifted"])

    # -- trouble ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _surviving(self, doing: str) -> Iterator[None]:
        """Count and log what goes wrong inside, once for the same trouble, and go on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # a monitor that dies of one bad file watches over nothing
            self._metrics.error()
            self._complain(doing, f"{type(error).__name__}: {error}")
        else:
            self._complaints.pop(doing, None)

    def _complain(self, doing: str, reason: str | None) -> None:
        if reason is None:
            self._complaints.pop(doing, None)
        elif self._complaints.get(doing) != reason:
            self._complaints[doing] = reason
            log.error("%s: %s", doing, reason)
