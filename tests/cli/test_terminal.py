"""What a person and a log see of long work."""

import io
import logging

from rich.console import Console

from pruneguard import reporting
from pruneguard.cli.terminal import Terminal


def told(*, terminal: bool = False) -> tuple[Terminal, io.StringIO]:
    stream = io.StringIO()
    return Terminal(Console(file=stream, force_terminal=terminal, width=100, highlight=False)), stream


def test_where_the_output_is_no_terminal_there_is_one_plain_line_per_piece_of_work() -> None:
    screen, stream = told()
    with screen:
        bar = reporting.listener.get().progress("training")
        for done in range(1, 4):
            bar(done, 3)
        bar(3, 3)  # a late report of what has ended says nothing more
    lines = [line for line in stream.getvalue().splitlines() if line.strip()]
    assert len(lines) == 1
    assert lines[0].strip().startswith("training: ")
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_a_bar() -> None:
    screen, stream = told(terminal=True)
    with screen:
        reporting.listener.get().progress("training")(1, 3)
        screen._bars.refresh()
    assert "━" in stream.getvalue()


def test_a_new_step_ends_what_nobody_ended() -> None:
    screen, stream = told()
    with screen:
        screen.progress("starting")
        screen.step("1 admit")
    text = stream.getvalue()
    assert text.index("starting: ") < text.index("1 admit")


def test_our_own_warnings_are_part_of_the_story_and_others_are_not() -> None:
    screen, stream = told()
    with screen:
        logging.getLogger("monitors.watch").warning("rolled back")
        logging.getLogger("somebody.else").warning("noise")
    assert "warning: rolled back" in stream.getvalue()
    assert "noise" not in stream.getvalue()


def test_nobody_listens_before_and_after() -> None:
    screen, _ = told()
    with screen:
        assert reporting.listener.get() is screen
    assert isinstance(reporting.listener.get(), reporting.Quiet)
