"""Group commit: of the threads that wait for something to become durable, one does it for all."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from pruneguard.errors import PruneGuardError, UnavailableError

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")


class Turn(Generic[Ask, Answer]):
    """One thread's request on its way; `commit` gives it an answer or an error."""

    __slots__ = ("answer", "ask", "error", "gate")

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.gate = threading.Lock()
        self.gate.acquire()

    def wake(self) -> None:
        if self.gate.locked():
            self.gate.release()


Take: TypeAlias = Callable[[], list[Turn[Ask, Answer]]]
"""Gives `commit` the turns of all who wait by now: to be called once, as late as can be."""


class Group(Generic[Ask, Answer]):
    """Calls `commit` in one thread at a time, for everybody who has asked by then.

    The thread that asks while nobody leads leads: it commits once, with itself among those served, and passes the lead
    on to the first of those who came too late. An answer reaches its thread when `commit` has returned; when `commit`
    raises, all whose turns it took, and all who wait, are told so.
    """

    def __init__(self, commit: Callable[[Take[Ask, Answer]], None], *, turns_max: int = 256) -> None:
        self._commit, self._turns_max = commit, turns_max
        self._lock = threading.Lock()  # for a few lines at a time, never while anything is written
        self._waiting: deque[Turn[Ask, Answer]] = deque()
        self._taken: list[Turn[Ask, Answer]] = []
        self._leader: Turn[Ask, Answer] | None = None

    def submit(self, ask: Ask) -> Answer:
        """What `commit` answered. Raises what it refused the request with, or why it failed."""
        turn = Turn[Ask, Answer](ask)
        try:
            with self._lock:
                self._waiting.append(turn)
                if self._leader is None:
                    self._leader = turn
                    turn.wake()
            turn.gate.acquire()  # until its turn is over, or until it is to lead
            if self._leader is turn:
                self._lead()
        except BaseException:  # an interrupt: nobody may wait for a thread that is gone
            self._leave(turn)
            raise
        if turn.error is not None:
            raise turn.error
        return turn.answer  # type: ignore[return-value]  # a commit that returned has answered every turn it took

    def _lead(self) -> None:
        leader = self._leader
        try:
            self._commit(self._take)
        except BaseException as error:  # noqa: BLE001 - submit raises it, and the others' share of it, in their threads
            with self._lock:
                self._taken += self._waiting  # each would wait as long for the same failure
                self._waiting.clear()
            for turn in self._taken:
                turn.error = error if turn is leader else _failure(error)
        self._pass_on()

    def _take(self) -> list[Turn[Ask, Answer]]:
        with self._lock:
            while self._waiting and len(self._taken) < self._turns_max:
                self._taken.append(self._waiting[0])  # in two steps: between them it is in both, never in none
                self._waiting.popleft()
        return self._taken

    def _pass_on(self) -> None:
        """Let go of those whose turn is over, then let the next one lead. Called again, it goes on where it stopped."""
        with self._lock:
            for turn in self._taken:
                turn.wake()
            self._taken = []
            self._leader = self._waiting[0] if self._waiting else None
            if self._leader is not None:
                self._leader.wake()

    def _leave(self, turn: Turn[Ask, Answer]) -> None:
        with self._lock:
            if turn in self._waiting:  # nobody took it, so it has not happened and will not
                self._waiting.remove(turn)
        if self._leader is turn:
            for other in self._taken:
                other.error = other.error or _failure(InterruptedError("interrupted"))
            self._pass_on()
        elif self._leader is not None:
            self._leader.wake()


def _failure(error: BaseException) -> PruneGuardError:
    """The error of the thread that wrote, for another thread: an exception object belongs to one of them."""
    if isinstance(error, PruneGuardError):
        return type(error)(str(error))
    return UnavailableError(
        f"the thread that wrote this for others ended in {type(error).__name__}: {error}; look whether it was "
        "recorded, or record it again with its causation"
    )
