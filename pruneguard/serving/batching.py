"""Rows of concurrent requests for one version, answered in one run of its network.

A short run is made at once, on the event loop: there is nobody to wait for, and a thread costs more. A longer one
leaves the loop, and what arrives while every place for runs is taken is joined for the next: a batch that costs no
request any waiting. With `wait_s` a request waits that long for others, which is seldom worth it: at a small network
what a request costs is its HTTP.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.sessions import Session
from pruneguard.workload import Floats

OFFLOAD_SECONDS = 0.005
"""A run that takes longer leaves the event loop; a shorter one is faster on it (a thread costs 0.08 ms)."""

_RELATIVE, _ABSOLUTE = 1e-3, 1e-4
"""Of a row's logits, alone and in company: kernels add up in another order, and nothing else may differ."""


@dataclass(frozen=True, slots=True)
class Joining:
    """How requests are joined: for at most `wait_s`, up to `rows_max`, in at most `runs_max` runs at a time."""

    wait_s: float = 0.0
    rows_max: int = 64
    runs_max: int = 1


class Batches:
    """The runs of one version. For one event loop, and not for threads.

    `row_seconds` is how long one row takes; `apart` says that requests of this version are never joined.
    """

    def __init__(self, session: Session, *, row_seconds: float, apart: bool, how: Joining) -> None:
        self._session = session
        self._row_seconds = row_seconds
        self._apart = apart
        self._how = how
        self._waiting: list[_Waiting] = []
        self._runs = 0
        self._timer: asyncio.TimerHandle | None = None

    def at_once(self, inputs: Floats) -> Floats | None:
        """The logits, where nothing is gained by waiting; None where the request has to `wait`."""
        if self._how.wait_s or self._long(len(inputs)):
            return None
        return self._session.logits(inputs)

    def wait(self, inputs: Floats) -> asyncio.Future[Floats]:
        """The logits to come. Cancel it, and the rows are not run, unless they already are.

        It raises InvalidInputError where the network fails on these rows, whoever else was in the run.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(inputs, loop.create_future())
        self._waiting.append(waiting)
        rows = sum(len(one.inputs) for one in self._waiting if not one.logits.done())
        if not self._how.wait_s or rows >= self._how.rows_max:
            self._begin(loop)
        elif self._timer is None:
            self._timer = loop.call_later(self._how.wait_s, self._begin, loop)
        return waiting.logits

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._runs < self._how.runs_max and (group := self._take()):
            inputs = [one.inputs for one in group]
            if self._long(sum(map(len, inputs))):
                self._runs += 1
                run = loop.run_in_executor(None, answers, self._session, inputs)
                run.add_done_callback(lambda done, group=group: self._end(loop, group, done))  # type: ignore[misc]
            else:
                _deliver(group, answers(self._session, inputs))

    def _end(
        self, loop: asyncio.AbstractEventLoop, group: "list[_Waiting]", run: "asyncio.Future[list[Floats | Exception]]"
    ) -> None:
        self._runs -= 1
        _deliver(group, run.result())
        self._begin(loop)

    def _take(self) -> "list[_Waiting]":
        """The next run: the oldest request whose client still waits, and what may join it, in order."""
        self._waiting = [one for one in self._waiting if not one.logits.done()]
        group: list[_Waiting] = []
        left: list[_Waiting] = []
        rows = 0
        for one in self._waiting:
            alike = not group or (not self._apart and one.inputs.shape[1:] == group[0].inputs.shape[1:])
            if alike and (not group or rows + len(one.inputs) <= self._how.rows_max):
                group.append(one)
                rows += len(one.inputs)
            else:
                left.append(one)
        self._waiting = left
        return group

    def _long(self, rows: int) -> bool:
        return self._row_seconds * rows >= OFFLOAD_SECONDS


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    inputs: Floats
    logits: asyncio.Future[Floats]


def answers(session: Session, requests: Sequence[Floats]) -> list[Floats | Exception]:
    """What each request gets: its logits out of one run over all their rows, or why the network fails on it.

    A run that fails is made again for each request alone: nobody pays for the rows of somebody else.
    """
    if len(requests) == 1:
        return [_alone(session, requests[0])]
    logits = _alone(session, np.concatenate(requests))
    if isinstance(logits, Exception):
        return [_alone(session, inputs) for inputs in requests]
    ends = np.cumsum([len(inputs) for inputs in requests])
    return [part.copy() for part in np.split(logits, ends[:-1])]  # a view would keep everybody's answers alive


def joinable(session: Session, row_shape: Sequence[int]) -> bool:
    """Whether a row is answered in company as it is alone. A network that mixes its rows would answer wrongly."""
    rows = np.random.default_rng(0).standard_normal((3, *row_shape)).astype(np.float32)
    try:
        together = session.logits(rows)
        alone = np.concatenate([session.logits(rows[i : i + 1]) for i in range(3)])
    except InvalidInputError:
        return False
    return np.allclose(alone, together, rtol=_RELATIVE, atol=_ABSOLUTE)


def _alone(session: Session, inputs: Floats) -> Floats | Exception:
    try:
        return session.logits(inputs)
    except Exception as error:  # noqa: BLE001  # a value here: it is raised to the client whose rows these are
        return error


def _deliver(group: "Sequence[_Waiting]", found: Sequence[Floats | Exception]) -> None:
    for one, logits in zip(group, found, strict=True):
        if one.logits.done():
            continue  # its client has gone
        if isinstance(logits, Exception):
            one.logits.set_exception(logits)
        else:
            one.logits.set_result(logits)
