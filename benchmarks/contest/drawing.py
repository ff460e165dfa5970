"""Accuracy against measured latency, every side in its colour, as an SVG file that stands alone. Pure."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 860, 480
LEFT, RIGHT, TOP, BOTTOM = 70, 260, 40, 60
COLOURS = ("#0b6e4f", "#c1440e", "#2c5aa0", "#8e44ad", "#7f6a00", "#555555")
TICKS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One operating point over its seeds: the middle, and how far the seeds reach."""

    side: str
    latency: float
    latency_low: float
    latency_high: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


def mark(side: str, latencies: Sequence[float], accuracies: Sequence[float]) -> Mark:
    """Of one value for each seed."""
    return Mark(
        side=side,
        latency=sum(latencies) / len(latencies),
        latency_low=min(latencies),
        latency_high=max(latencies),
        accuracy=sum(accuracies) / len(accuracies),
        accuracy_low=min(accuracies),
        accuracy_high=max(accuracies),
    )


def drawing(title: str, marks: Sequence[Mark]) -> str:
    """Left and up is better. The lines through a mark reach from the lowest seed to the highest."""
    x = _Axis.over([end for each in marks for end in (each.latency_low, each.latency_high, 1)], LEFT, WIDTH - RIGHT)
    y = _Axis.over([end for each in marks for end in (each.accuracy_low, each.accuracy_high)], HEIGHT - BOTTOM, TOP)
    sides = list(dict.fromkeys(each.side for each in marks))
    colours = {side: COLOURS[number % len(COLOURS)] for number, side in enumerate(sides)}
    parts = [*_frame(title, x, y)]
    for each in marks:
        colour = colours[each.side]
        across, up = x.at(each.latency), y.at(each.accuracy)
        parts += [
            _line(x.at(each.latency_low), up, x.at(each.latency_high), up, colour),
            _line(across, y.at(each.accuracy_low), across, y.at(each.accuracy_high), colour),
            f'<circle cx="{across:.1f}" cy="{up:.1f}" r="5" fill="{colour}"/>',
        ]
    for number, side in enumerate(sides):
        at = TOP + 22 * number
        parts += [
            f'<circle cx="{WIDTH - RIGHT + 24}" cy="{at}" r="5" fill="{colours[side]}"/>',
            _text(WIDTH - RIGHT + 36, at + 4, side, "start"),
        ]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="sans-serif" '
        f'font-size="13"><title>{html.escape(title)}</title>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n'
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> "_Axis":
        low, high = min(values), max(values)
        room = 0.06 * (high - low) or 0.01
        return cls(low - room, high + room, start, end)

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        return [self.low + (self.high - self.low) * number / (TICKS - 1) for number in range(TICKS)]


def _frame(title: str, x: _Axis, y: _Axis) -> list[str]:
    parts = [
        _text(LEFT, 22, title, "start"),
        _line(x.start, y.start, x.end, y.start, "#222222"),
        _line(x.start, y.start, x.start, y.end, "#222222"),
        _text((x.start + x.end) / 2, HEIGHT - 14, "latency over dense, batch 64, measured", "middle"),
        _text(14, (y.start + y.end) / 2, "accuracy on the release rows", "middle", turned=True),
    ]
    parts += [_text(x.at(tick), y.start + 20, f"{tick:.2f}", "middle") for tick in x.ticks]
    parts += [_text(x.start - 8, y.at(tick) + 4, f"{tick:.1%}", "end") for tick in y.ticks]
    return parts


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, words: str, anchor: str, *, turned: bool = False) -> str:
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turn}>{html.escape(words)}</text>'
