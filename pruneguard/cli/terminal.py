"""Tells a person at a terminal how long work is going: bars while it runs, one line when it is done.

Where the output is not a terminal there are no bars, and the lines are the same.
"""

import logging
import signal
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pruneguard import reporting

LOG_WIDTH = 160
"""Columns of a table where nobody has a window."""
OURS = ("pruneguard", "monitors", "flows")
"""Loggers whose warnings are part of the story; libraries have others, and the flow engine formats all it can reach."""


class Terminal:
    """A `pruneguard.reporting.Report` for one console; use it as a context manager so that no bar is left behind."""

    def __init__(self, console: Console | None = None, *, stderr: bool = False) -> None:
        width = None if (sys.stderr if stderr else sys.stdout).isatty() else LOG_WIDTH
        self.console = console or Console(highlight=False, soft_wrap=True, width=width, stderr=stderr)
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )

        self._open: dict[TaskID, Callable[[], None]] = {}
        self._log = _Lines(self, level=logging.WARNING)

    def __enter__(self) -> "Terminal":
        self._bars.start()
        for name in OURS:
            logging.getLogger(name).addHandler(self._log)
            logging.getLogger(name).propagate = False
        # Ends like Ctrl-C, so that what was started here is stopped here: the default would leave servers behind.
        self._before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        self._token = reporting.listener.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        reporting.listener.reset(self._token)
        for name in OURS:
            logging.getLogger(name).removeHandler(self._log)
            logging.getLogger(name).propagate = True
        signal.signal(signal.SIGTERM, self._before)
        self._bars.stop()

    def step(self, title: str) -> None:
        for end in list(self._open.values()):
            end()
        self.console.print(f"\n[bold]{title}[/bold]")

    def say(self, text: str) -> None:
        self.console.print(f"  {text}", markup=False)

    def progress(self, label: str) -> reporting.Progress:
        started, task = time.monotonic(), self._bars.add_task(label, total=None)

        def end() -> None:
            del self._open[task]
            self._bars.remove_task(task)
            self.say(f"{label}: {time.monotonic() - started:.1f} s")

        def moved(done: int, total: int) -> None:
            if task not in self._open:
                return
            self._bars.update(task, completed=done, total=total)
            if done >= total:
                end()

        self._open[task] = end
        return moved


class _Lines(logging.Handler):
    """What our own parts warn of, as lines of the story."""

    def __init__(self, terminal: Terminal, *, level: int) -> None:
        super().__init__(level)
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        self._terminal.say(f"{record.levelname.lower()}: {record.getMessage()}")
