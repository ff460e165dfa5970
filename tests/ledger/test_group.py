"""Group commit: nobody waits for ever, nobody is told what is not so."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pruneguard.errors import InvalidInputError, UnavailableError
from pruneguard.ledger import group as group_module
from pruneguard.ledger.group import Group, Take

LONG = 5.0  # seconds after which a test says that somebody waits for ever


class Pace:
    """A commit that a test lets go on, step by step. It answers each number with its double."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.began = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.failure: Callable[[], BaseException | None] = lambda: None

    def __call__(self, take: Take[int, int]) -> None:
        turns = take()
        self.batches.append([turn.ask for turn in turns])
        self.began.release()
        assert self.go.acquire(timeout=LONG)
        for turn in turns:
            turn.answer = 2 * turn.ask
            if turn.ask < 0:
                turn.error = InvalidInputError(f"{turn.ask} is negative")
        if (failure := self.failure()) is not None:
            raise failure


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


def led(pool: ThreadPoolExecutor, pace: Pace, group: Group[int, int], *asks: int) -> list[Future[int]]:
    """The first leads and is in the middle of its commit; the others wait."""
    first = pool.submit(group.submit, asks[0])
    assert pace.began.acquire(timeout=LONG)
    rest = []
    for ask in asks[1:]:
        rest.append(pool.submit(group.submit, ask))
        until(lambda: len(group._waiting) == len(rest))
    return [first, *rest]


def until(holds: Callable[[], bool]) -> None:
    done = threading.Event()
    for _ in range(int(LONG / 0.001)):
        if holds():
            return
        done.wait(0.001)
    raise AssertionError("did not come about")


def test_whoever_comes_while_somebody_commits_shares_the_next_commit(pool: ThreadPoolExecutor) -> None:
    group = Group(pace := Pace())
    futures = led(pool, pace, group, 1, 2, 3, 4)
    pace.go.release(2)
    assert [future.result(LONG) for future in futures] == [2, 4, 6, 8]
    assert pace.batches == [[1], [2, 3, 4]]


def test_a_thread_alone_waits_for_nobody() -> None:
    group = Group(pace := Pace())
    pace.go.release(3)
    assert [group.submit(ask) for ask in (1, 2, 3)] == [2, 4, 6]
    assert pace.batches == [[1], [2], [3]]


def test_a_commit_serves_no_more_than_it_may_and_the_rest_comes_next(pool: ThreadPoolExecutor) -> None:
    group = Group(pace := Pace(), turns_max=2)
    futures = led(pool, pace, group, 1, 2, 3, 4, 5, 6)
    pace.go.release(4)
    assert [future.result(LONG) for future in futures] == [2, 4, 6, 8, 10, 12]
    assert pace.batches == [[1], [2, 3], [4, 5], [6]]


def test_a_refusal_reaches_the_one_who_asked_and_no_other(pool: ThreadPoolExecutor) -> None:
    group = Group(pace := Pace())
    one, no, two = led(pool, pace, group, 1, -1, 2)
    pace.go.release(2)
    assert (one.result(LONG), two.result(LONG)) == (2, 4)
    with pytest.raises(InvalidInputError, match="-1 is negative"):
        no.result(LONG)


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (UnavailableError("the disk is full"), UnavailableError),
        (RuntimeError("a mistake"), UnavailableError),
        (KeyboardInterrupt(), UnavailableError),
        (SystemExit(), UnavailableError),
    ],
)
def test_a_commit_that_fails_fails_for_all_who_wait_and_the_next_is_a_new_one(
    pool: ThreadPoolExecutor, failure: BaseException, told: type[Exception]
) -> None:
    group = Group(pace := Pace())
    first, *others = led(pool, pace, group, 1, 2, -3, 4)
    failures = iter([failure])
    pace.failure = lambda: next(failures, None)
    pace.go.release()
    with pytest.raises(type(failure)):
        first.result(LONG)
    for other in others:
        with pytest.raises(told):
            other.result(LONG)
    pace.go.release()
    assert group.submit(5) == 10
    assert pace.batches == [[1], [5]]


def test_the_errors_of_two_threads_are_two_objects(pool: ThreadPoolExecutor) -> None:
    group = Group(pace := Pace())
    futures = led(pool, pace, group, 1, 2, 3)
    pace.failure = lambda: UnavailableError("the disk is full")
    pace.go.release()
    errors = [future.exception(LONG) for future in futures]
    assert len({id(error) for error in errors}) == 3
    assert {str(error) for error in errors} == {"the disk is full"}


class Interrupted(threading.Thread):
    """A thread that is interrupted, as by Ctrl-C, at the n-th line that it runs in the group's code."""

    def __init__(self, group: Group[int, int], line: int) -> None:
        super().__init__(daemon=True)
        self.group, self.line, self.lines = group, line, 0
        self.outcome: Any = None

    def run(self) -> None:
        lines = Path(group_module.__file__).read_text().splitlines()

        def trace(frame: Any, event: str, _: Any) -> Any:
            if not frame.f_code.co_filename.endswith("group.py"):
                return None
            # A `with` takes and lets go of a lock in one step: no signal is handled between the step and its mark.
            if event == "line" and not lines[frame.f_lineno - 1].strip().startswith("with "):
                self.lines += 1
                if self.lines == self.line:
                    raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            self.outcome = self.group.submit(0)
        except BaseException as error:  # noqa: BLE001 - the interrupt, or what another's became
            self.outcome = error
        finally:
            sys.settrace(None)


def test_whoever_is_interrupted_anywhere_leaves_nobody_waiting(pool: ThreadPoolExecutor) -> None:
    line, finished = 0, False
    while not finished:
        line += 1
        group: Group[int, int] = Group(doubled)
        interrupted = Interrupted(group, line)
        others = [pool.submit(repeated, group, ask) for ask in range(1, 5)]
        interrupted.start()
        interrupted.join(LONG)
        assert not interrupted.is_alive(), f"interrupted at line {line}, it hangs"
        for ask, other in enumerate(others, 1):
            assert other.result(LONG) == 2 * ask, f"interrupted at line {line}, somebody waits"
        assert group.submit(7) == 14
        finished = interrupted.lines < line
    assert line > 12


def doubled(take: Take[int, int]) -> None:
    for turn in take():
        if turn.answer is not None:
            pytest.fail("a request was committed twice")
        turn.answer = 2 * turn.ask


def repeated(group: Group[int, int], ask: int) -> int:
    for _ in range(20):
        with contextlib.suppress(UnavailableError):  # what whoever is told so does
            answer = group.submit(ask)
    return answer


def test_many_threads_get_their_own_answers(pool: ThreadPoolExecutor) -> None:
    group: Group[int, int] = Group(doubled, turns_max=5)
    asks = list(range(2_000))
    assert list(pool.map(group.submit, asks, timeout=60)) == [2 * ask for ask in asks]
