"""The processes that answer, and whoever looks after them.

The parent holds the listening socket; each worker accepts from it. A worker that dies, or no longer moves, is replaced:
what it was working on is lost and counted, and nothing else. A rolling restart starts every worker anew, with the code
and the files as they are now, before the one it replaces leaves.
"""

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

from pruneguard.errors import IntegrityError, UnavailableError
from pruneguard.serving import frames
from pruneguard.serving.observing import Observer
from pruneguard.serving.pulse import BEATS, FAILURES, HEARD, IN_FLIGHT, STOPPING, TOLD, TURNED_AWAY, Pulse
from pruneguard.settings import for_children

CHECKOUT = Path(__file__).parents[2]
LOOK_SECONDS = 0.25
START_SECONDS_MAX = 60.0
LEAVE_SECONDS_MAX = 20.0
WEDGED_LOOKS = 60
"""Looks at a worker whose event loop has not moved, before it is killed. Looks and not seconds: a machine that was
suspended, or a clock that was set, kills nobody."""
BACKOFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0, 15.0)
HEALTHY_SECONDS = 60.0
"""A worker that lived this long did not die of how it starts."""

log = logging.getLogger(__name__)


class Process(Protocol):
    """What is needed of a `subprocess.Popen`."""

    pid: int

    def poll(self) -> int | None: ...

    def send_signal(self, number: int) -> None: ...


class Adopted:
    """A child that the program started which this process was before."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            with suppress(ChildProcessError):
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


@dataclass(frozen=True, slots=True)
class Fleet:
    """How the workers are: processes alive and wanted, restarts that nobody asked for, requests that a dead worker
    had begun, connections turned away, failures of observers."""

    alive: int
    wanted: int
    restarts: int
    requests_lost: int
    turned_away: int
    observer_failures: int


class Worker:
    """One process, and the thread that listens to it."""

    def __init__(self, process: Process, line: socket.socket, pulse: Pulse, observer: Observer) -> None:
        self.process = process
        self.line = line
        self.pulse = pulse
        self.since = monotonic()
        self.ready = threading.Event()
        self.leaving_since: float | None = None
        self._observer = observer
        self._pausing = threading.Event()
        self._beats, self._still = 0, 0
        self._thread = threading.Thread(target=self._listen, name=f"worker {process.pid}", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def leave(self) -> None:
        """Ask it to end what it has begun, and then itself."""
        self.leaving_since = monotonic()
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    def moves(self) -> bool:
        """Whether its event loop has moved at one of the last WEDGED_LOOKS looks. Each call is a look."""
        beats = self.pulse[BEATS]
        self._still = 0 if beats != self._beats else self._still + 1
        self._beats = beats
        return self._still < WEDGED_LOOKS

    def pause(self) -> None:
        """Stop listening, after a whole frame. What it says from now on waits on the line."""
        self._pausing.set()
        self._thread.join()

    def bury(self) -> int:
        """Let go of one that has ended; how many requests it took along. Its last answers are heard first."""
        self._thread.join()
        if unheard := self.pulse[TOLD] - self.pulse[HEARD]:
            self._observer.lost(unheard)
        requests = self.pulse[IN_FLIGHT]
        self.line.close()
        self.pulse.close()
        return requests

    def _listen(self) -> None:
        try:
            while not self._pausing.is_set():
                if select.select([self.line], [], [], LOOK_SECONDS)[0]:
                    told = frames.unpack(self._read(frames.length(self._read(frames.LENGTH_BYTES))))
                    self.ready.set()
                    told.tell(self._observer)
                    self.pulse.counts[HEARD] += len(told.answers) + told.lost
        except EOFError:
            pass
        except IntegrityError as error:
            log.error("worker %d: %s", self.process.pid, error)
            self.kill()

    def _read(self, size: int) -> bytes:
        parts = []
        while size:
            try:
                part = self.line.recv(min(size, 1 << 20))
            except OSError:
                part = b""
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


@dataclass(slots=True)
class _Place:
    """Where a worker belongs. `worker` is None while one that died waits for its successor."""

    worker: Worker | None = None
    deaths: int = 0
    due: float = 0.0


class Workers:
    """Start them, or use them as a context. `environ` is what makes settings out of, `office` where they relay to.

    `report` hears how they are, a few times a second. `adopted` answer until the first ones of ours do.
    """

    def __init__(
        self,
        count: int,
        observer: Observer,
        *,
        environ: Mapping[str, str],
        listener: socket.socket,
        office: str,
        report: Callable[[Fleet], None] = lambda fleet: None,
        adopted: Mapping[int, tuple[int, int]] | None = None,
    ) -> None:
        self._observer = observer
        self._environ = environ
        self._listener = listener
        self._office = office
        self._report = report
        self._places = [_Place() for _ in range(count)]
        self._leaving = [
            Worker(Adopted(pid), socket.socket(fileno=line), Pulse(pulse), observer)
            for pid, (line, pulse) in (adopted or {}).items()
        ]
        self._handed: list[Worker] = []
        self._restarts = self._requests_lost = self._turned_away = self._failures = 0
        self._lock = threading.RLock()
        self._rolling = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look_after, name="workers", daemon=True)

    def start(self) -> None:
        """Return when all answer. Raises UnavailableError when one does not start; it has said why by then."""
        old = list(self._leaving)
        for place in self._places:
            place.worker = self._spawn()
        try:
            for place in self._places:
                assert place.worker is not None  # just put there
                self._await(place.worker)
        except UnavailableError:
            self.stop()
            raise
        for worker in old:
            worker.leave()
        self._thread.start()

    def stop(self, *, drain_s: float = 0.0) -> None:
        """Say for `drain_s` that nobody is ready, then let what is under way end; what takes too long is killed."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        with self._lock:
            workers = [place.worker for place in self._places if place.worker] + self._leaving
            for worker in workers:
                worker.pulse.counts[STOPPING] = 1
            if drain_s:
                threading.Event().wait(drain_s)
            for worker in workers:
                worker.leave()
            end = monotonic() + LEAVE_SECONDS_MAX
            for worker in workers:
                while not worker.ended:
                    if monotonic() > end:
                        worker.kill()
                    threading.Event().wait(0.02)
                self._bury(worker)
            self._leaving = []
            self._places = []

    def roll(self) -> bool:
        """Replace every worker by a new one; False when a new one does not start, and the old ones go on."""
        with self._rolling:
            for place in self._places:
                new = self._spawn()
                try:
                    self._await(new)
                except UnavailableError as error:
                    log.error("the restart has stopped, the workers that answer go on: %s", error)
                    self._drop(new)
                    return False
                with self._lock:
                    old, place.worker, place.deaths = place.worker, new, 0
                    if old:
                        old.leave()
                        self._leaving.append(old)
            return True

    def hand_over(self) -> dict[str, int]:
        """Stop looking after the workers, which go on; the descriptors by which a successor adopts them."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        handed: dict[str, int] = {}
        self._handed = [place.worker for place in self._places if place.worker] + self._leaving
        self._places, self._leaving = [], []  # nothing of ours to stop any more
        for worker in self._handed:
            worker.pause()
            handed |= {f"line-{worker.process.pid}": worker.line.fileno()}
            handed |= {f"pulse-{worker.process.pid}": worker.pulse.descriptor}
        return handed

    @property
    def pids(self) -> list[int]:
        """The processes that answer, without those that are leaving."""
        with self._lock:
            return [place.worker.process.pid for place in self._places if place.worker]

    @property
    def fleet(self) -> Fleet:
        with self._lock:
            workers = [place.worker for place in self._places if place.worker]
            return Fleet(
                alive=sum(not worker.ended for worker in workers),
                wanted=len(self._places),
                restarts=self._restarts,
                requests_lost=self._requests_lost,
                turned_away=self._turned_away + sum(worker.pulse[TURNED_AWAY] for worker in workers),
                observer_failures=self._failures + sum(worker.pulse[FAILURES] for worker in workers),
            )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    # -- looking after them -------------------------------------------------------------------------------------------

    def _look_after(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            with self._lock:
                for place in self._places:
                    self._look(place)
                for worker in list(self._leaving):
                    if worker.ended:
                        self._leaving.remove(worker)
                        self._bury(worker)
                    elif worker.leaving_since is not None and monotonic() - worker.leaving_since > LEAVE_SECONDS_MAX:
                        worker.kill()
            self._report(self.fleet)

    def _look(self, place: _Place) -> None:
        worker, now = place.worker, monotonic()
        if worker is None:
            if now >= place.due:
                place.worker = self._spawn()
                self._restarts += 1
        elif worker.ended:
            place.deaths = 0 if now - worker.since > HEALTHY_SECONDS else place.deaths
            place.due = now + BACKOFF_SECONDS[min(place.deaths, len(BACKOFF_SECONDS) - 1)]
            place.deaths += 1
            log.error("worker %d has ended (%s); another one is started", worker.process.pid, worker.process.poll())
            place.worker = None
            self._bury(worker)
        elif worker.ready.is_set():
            if not worker.moves():
                log.error("worker %d does not move any more; it is killed", worker.process.pid)
                worker.kill()
        elif now - worker.since > START_SECONDS_MAX:
            worker.kill()

    def _bury(self, worker: Worker) -> None:
        self._turned_away += worker.pulse[TURNED_AWAY]
        self._failures += worker.pulse[FAILURES]
        self._requests_lost += worker.bury()

    def _await(self, worker: Worker) -> None:
        end = worker.since + START_SECONDS_MAX
        while not worker.ready.wait(0.02):
            if worker.ended or monotonic() > end:
                raise UnavailableError("a worker did not start; its own message stands above")

    def _drop(self, worker: Worker) -> None:
        worker.kill()
        while not worker.ended:
            threading.Event().wait(0.02)
        worker.bury()

    def _spawn(self) -> Worker:
        ours, theirs = socket.socketpair()
        pulse = Pulse.create()
        passed = (self._listener.fileno(), theirs.fileno(), pulse.descriptor)
        command = [sys.executable, "-m", "pruneguard.serving.worker", *map(str, passed), self._office]
        with theirs:
            process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                command,
                env={**for_children(), **self._environ},
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                pass_fds=passed,
                start_new_session=True,
            )
        return Worker(process, ours, pulse, self._observer)
