"""Keeps a gateway in step with the ledger: a thread that reads the state and calls `follow` when it grew."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

from pruneguard.errors import IntegrityError
from pruneguard.ledger.state import State
from pruneguard.serving.observing import Reason

RETRY_SECONDS = 5.0
"""How long to wait before a version that could not be loaded is tried again."""

log = logging.getLogger(__name__)


class ReadableLedger(Protocol):
    """What is needed of a `pruneguard.ledger.ledger.Ledger`."""

    def state(self) -> State: ...

    def wait_for_growth(self, size: int, timeout_s: float) -> bool: ...

    def close(self) -> None: ...


class Following(Protocol):
    """What is kept in step: a `pruneguard.serving.gateway.Gateway`."""

    def follow(self, state: State) -> bool: ...

    def refuse(self, model: str, reason: Reason) -> None: ...


class Follower:
    """Start it, or use it as a context. `open_ledger` is called in its thread, and what it opens is closed there.

    While the ledger cannot be read the gateway goes on with what it last proved and takes no new version; `failure`
    says why, `cut_off` and `proved_age_s` say so in numbers, and the observer hears of it once. A gateway that starts
    while it is cut off has proved nothing and serves nothing: a file that said what to serve would be a way around the
    ledger. `wait_for` lets a caller wait until a known entry is followed, instead of polling.
    """

    def __init__(
        self, open_ledger: Callable[[], ReadableLedger], gateway: Following, *, interval_s: float = 0.1
    ) -> None:
        self._open_ledger = open_ledger
        self._gateway = gateway
        self._interval_s = interval_s
        self._ledger: ReadableLedger | None = None
        self._size = 0
        self._retry_at: float | None = None
        self._stopping = threading.Event()
        self._followed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._proved_at = monotonic()
        self.failure: str | None = None

    @property
    def cut_off(self) -> bool:
        """Whether the ledger could not be read when that was last tried."""
        return self.failure is not None

    @property
    def proved_age_s(self) -> float:
        """Seconds since the ledger was last read, or since the start where it never was."""
        return monotonic() - self._proved_at

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def wait_for(self, size: int, *, timeout_s: float) -> bool:
        """Wait until the first `size` entries are followed; False when that took too long."""
        with self._followed:
            return self._followed.wait_for(lambda: self._size >= size, timeout_s)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _run(self) -> None:
        while True:
            try:
                self._step()
            except Exception as error:  # noqa: BLE001  # whatever the ledger has, the gateway answers as it last knew
                self._lost(error)
            if self._stopped():
                break
        self._close()

    def _stopped(self) -> bool:
        """Wait until there may be something new; whether to end instead."""
        if self._ledger is None:
            return self._stopping.wait(self._interval_s)
        try:
            self._ledger.wait_for_growth(self._size, self._interval_s)
        except Exception as error:  # noqa: BLE001  # as above
            self._lost(error)
        return self._stopping.is_set()

    def _step(self) -> None:
        if self._ledger is None:
            self._ledger = self._open_ledger()
        state = self._ledger.state()
        if state.size < self._size:
            raise IntegrityError(f"the ledger went back from {self._size} entries to {state.size}; restore a backup")
        self.failure = None
        self._proved_at = monotonic()
        grown = state.size != self._size
        if grown or (self._retry_at is not None and monotonic() >= self._retry_at):
            self._retry_at = None if self._gateway.follow(state) else monotonic() + RETRY_SECONDS
        if grown:
            with self._followed:
                self._size = state.size
                self._followed.notify_all()

    def _lost(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        if self.failure is None:
            log.error("the ledger cannot be read, the gateway goes on as it last knew: %s", reason)
            self._gateway.refuse("", Reason.LEDGER_UNREACHABLE)
        self.failure = reason
        self._close()

    def _close(self) -> None:
        if self._ledger is not None:
            with suppress(Exception):  # it failed already; what matters is the next one
                self._ledger.close()
            self._ledger = None
