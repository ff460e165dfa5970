"""What the twins may cost: a share of one core, measured in seconds of their thread."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, thread_time

BURST_SECONDS = 2.0
"""What may be spent at once after a quiet time."""


class Budget:
    """A bucket that fills with `share` seconds a second, up to BURST_SECONDS. Whoever finds it empty does without.

    Whether it is empty depends on the clock and on what was spent before, and never on what the next answer will say:
    a row that goes without is missing for a reason that knows nothing of it, and what is observed stays unbiased. The
    bucket goes below zero by one batch at most, and is filled up before the next one.

    >>> at = iter([0.0, 0.0, 10.0])
    >>> budget = Budget(0.5, now=lambda: next(at))
    >>> budget.spend(2.5), budget.allows(), budget.allows()
    (None, False, True)
    """

    def __init__(self, share: float, *, now: Callable[[], float] = monotonic) -> None:
        self._share = share
        self._now = now
        self._level = BURST_SECONDS
        self._filled = now()

    def allows(self) -> bool:
        now = self._now()
        self._level = min(BURST_SECONDS, self._level + self._share * max(0.0, now - self._filled))
        self._filled = now
        return self._level > 0

    def spend(self, seconds: float) -> None:
        self._level -= seconds

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Spend what the inside takes of this thread."""
        started = thread_time()
        try:
            yield
        finally:
            self.spend(thread_time() - started)
