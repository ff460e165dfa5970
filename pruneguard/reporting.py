"""How long work tells a person where it is. Work reports to whoever listens; by default nobody does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
"""Called with how much is done and how much there is."""


class Report(Protocol):
    """A listener: the terminal, a log, a test."""

    def step(self, title: str) -> None:
        """A new part of the story begins; what was in progress has ended."""

    def say(self, text: str) -> None:
        """Something a person should know, in one line."""

    def progress(self, label: str) -> Progress:
        """A bar for one piece of work; it ends when all of it is done."""


class Quiet:
    """Hears nothing; what libraries and tests use."""

    def step(self, title: str) -> None: ...

    def say(self, text: str) -> None: ...

    def progress(self, label: str) -> Progress:
        return lambda done, total: None


listener: ContextVar[Report] = ContextVar("listener", default=Quiet())  # noqa: B039  # Quiet has no state to share
"""Who listens, here and now. An entry point sets it; the flow engine's tasks inherit it."""


@contextmanager
def hushed() -> Iterator[None]:
    """Nobody listens: for small work inside a larger one that is told already."""
    token = listener.set(Quiet())
    try:
        yield
    finally:
        listener.reset(token)


@contextmanager
def working(label: str) -> Iterator[None]:
    """Tell the listener of work whose length nobody knows."""
    bar = listener.get().progress(label)
    yield
    bar(1, 1)
