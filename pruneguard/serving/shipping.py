"""A worker's observer: it ships what it is told to the parent, whose observer hears it all.

On the answer's path something is put in a list, and nothing else. A thread packs what has gathered and sends it; what
finds no room, because the parent is slow or away, is counted and told later.
"""

import socket
import threading
from collections import Counter, deque
from contextlib import suppress
from types import TracebackType
from typing import Self

from pruneguard.errors import UnavailableError
from pruneguard.serving import frames
from pruneguard.serving.frames import Told
from pruneguard.serving.observing import Answer
from pruneguard.serving.pulse import TOLD, Pulse

ANSWERS_MAX = 4096
BYTES_MAX = 64_000_000
FRAME_ANSWERS_MAX = 256
INTERVAL_SECONDS = 0.02
CLOSE_SECONDS_MAX = 5.0


class Shipping:
    """Start it, or use it as a context; leaving it ships what is left. `line` is a stream to the parent."""

    def __init__(self, line: socket.socket, pulse: Pulse) -> None:
        self._line = line
        self._told = pulse.counts[TOLD : TOLD + 1]
        self._waiting: deque[Answer] = deque()
        # Each of these has one writer, the answering thread or the shipping one: a sum that both changed would drift.
        self._taken_bytes = self._sent_bytes = 0
        self._lost = self._lost_told = 0
        self._refusals: Counter[tuple[str, str]] = Counter()
        self._failures: Counter[tuple[str, int]] = Counter()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shipping", daemon=True)

    # -- the observer: on the answer's path ---------------------------------------------------------------------------

    def answered(self, answer: Answer) -> None:
        self._told[0] += 1
        if len(self._waiting) >= ANSWERS_MAX or self.waiting_bytes > BYTES_MAX:
            self._lost += 1
            return
        self._taken_bytes += answer.inputs.nbytes
        self._waiting.append(answer)

    def refused(self, model: str, reason: str) -> None:
        with self._lock:
            self._refusals[model, str(reason)] += 1

    def failed(self, model: str, version: int) -> None:
        with self._lock:
            self._failures[model, version] += 1

    def lost(self, answers: int) -> None:
        self._lost += answers

    def metrics(self) -> tuple[bytes, str]:
        """Raises UnavailableError: they are the parent's."""
        raise UnavailableError("a worker has no metrics of its own; ask the service")

    @property
    def waiting_bytes(self) -> int:
        """What the inputs that wait take in memory."""
        return self._taken_bytes - self._sent_bytes

    # -- the thread ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join(CLOSE_SECONDS_MAX)  # a parent that does not listen is not waited for
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_WR)
        self._told.release()

    def _run(self) -> None:
        with suppress(OSError):  # the parent has gone, and with it whoever would want to know
            while not self._stopping.wait(INTERVAL_SECONDS):
                self._ship()
            self._ship()

    def _ship(self) -> None:
        while True:
            answers = [self._waiting.popleft() for _ in range(min(len(self._waiting), FRAME_ANSWERS_MAX))]
            self._sent_bytes += sum(answer.inputs.nbytes for answer in answers)
            with self._lock:
                refusals, self._refusals = self._refusals, Counter()
                failures, self._failures = self._failures, Counter()
            lost = self._lost - self._lost_told
            if not (answers or refusals or failures or lost):
                return
            self._line.sendall(frames.pack(Told(answers, refusals, failures, lost)))
            self._lost_told += lost
