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
from pruneguard.serving.gateway import Gateway
from pruneguard.serving.observing import Reason

RETRY_SECONDS = 5.0
"""How long to wait before a version that could not be loaded is tried again."""

log = logging.getLogger(__name__)


class ReadableLedger(Protocol):
    """What is needed of a `pruneguard.ledger.ledger.Ledger`."""

    def state(self) -> State: ...

    def close(self) -> None: ...


class Follower:
    """Start it, or use it as a context. `open_ledger` is called in its thread, and what it opens is closed there.

    While the ledger cannot be read the gateway goes on with what it last knew, `failure` says why, and the observer
    hears of it once. `wait_for` lets a caller wait until a known entry is followed, instead of polling.
    """

    def __init__(self, open_ledger: Callable[[], ReadableLedger], gateway: Gateway, *, interval_s: float = 0.1) -> None:
        self._open_ledger = open_ledger
        self._gateway = gateway
        self._interval_s = interval_s
        self._ledger: ReadableLedger | None = None
        self._size = 0
        self._retry_at: float | None = None
        self._stopping = threading.Event()
        self._followed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self.failure: str | None = None

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
            if self._stopping.wait(self._interval_s):
                break
        self._close()

    def _step(self) -> None:
        if self._ledger is None:
            self._ledger = self._open_ledger()
        state = self._ledger.state()
        if state.size < self._size:
            raise IntegrityError(f"the ledger went back from {self._size} entries to {state.size}; restore a backup")
        self.failure = None
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
