"""Between the answer's path and the monitor: bounded in answers and in bytes, and never waited for."""

import threading
from collections import Counter, deque

from monitors.exposition import Key
from pruneguard.serving.observing import Answer


class Inbox:
    """A queue that rather loses an answer than holds one up, and counts what it lost."""

    def __init__(self, *, answers_max: int = 10_000, bytes_max: int = 64_000_000) -> None:
        self._answers_max = answers_max
        self._bytes_max = bytes_max
        self._answers: deque[Answer] = deque()
        self._bytes = 0
        self._lost: Counter[Key] = Counter()
        self._filled = threading.Condition()

    def offer(self, answer: Answer) -> bool:
        """Take an answer in, or count it as lost and say False. Returns at once."""
        size = _size(answer)
        with self._filled:
            if len(self._answers) >= self._answers_max or self._bytes + size > self._bytes_max:
                self._lost[answer.model, answer.version] += len(answer.inputs)
                return False
            self._answers.append(answer)
            self._bytes += size
            self._filled.notify()
            return True

    def take(self, *, most: int, wait_s: float) -> list[Answer]:
        """The oldest answers, after waiting for the first one at most `wait_s` or until `wake`."""
        with self._filled:
            if not self._answers:
                self._filled.wait(wait_s)
            taken = [self._answers.popleft() for _ in range(min(most, len(self._answers)))]
            self._bytes -= sum(_size(answer) for answer in taken)
            return taken

    def wake(self) -> None:
        """End a wait that is going on in `take`."""
        with self._filled:
            self._filled.notify_all()

    def lost(self, release: Key) -> int:
        """Rows of a release that were lost since this was last asked."""
        with self._filled:
            return self._lost.pop(release, 0)


def _size(answer: Answer) -> int:
    return answer.inputs.nbytes + answer.logits.nbytes
