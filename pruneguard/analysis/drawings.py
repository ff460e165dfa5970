"""Three kinds of picture of an analysis: a heat map, a list of values with their intervals, and points over a cost.

Pure: values in, markup out.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pruneguard.audit.views.drawing import WIDTH, figure, line
from pruneguard.audit.views.markup import Markup, joined, tag
from pruneguard.plots import HALO, round_numbers

ROW, LEFT, RIGHT, TOP = 26, 270, 90, 34
DROP_MIN = 0.02
"""The hottest colour stands for at least this drop: where nothing matters, nothing shall look as if it did."""

SHADE_MAX = 72
"""Percent of colour at most, so that the number on it stays legible."""

_PANEL_LEFT, _PANEL_HEIGHT = 64, 300


@dataclass(frozen=True, slots=True)
class Tile:
    """One cell of a heat map: a difference of shares, None where there is none; `story` is told on pointing at it."""

    value: float | None
    story: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a list: a difference of shares, its interval, and single values behind it.

    `certain` says that the interval is one, and not a mere spread: then its colour says on which side of 0 it lies.
    """

    name: str
    value: float
    low: float
    high: float
    story: str
    behind: tuple[float, ...] = ()
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Dot:
    """A point over a cost. Dots of one `series` are joined in their order; `marked` ones get a ring.

    `name` stands beside it.
    """

    series: str
    name: str
    cost: float
    value: float
    low: float
    high: float
    marked: bool
    story: str


def heat(names: Sequence[str], columns: Sequence[str], tiles: Sequence[Sequence[Tile]], *, title: str) -> Markup:
    """`tiles` row by row: the more is lost, the more colour."""
    drop = max((-tile.value for row in tiles for tile in row if tile.value is not None), default=0.0)
    scale, width = max(drop, DROP_MIN), (WIDTH - LEFT - 10) / len(columns)
    parts = [
        tag("text", name, x=LEFT + (column + 0.5) * width, y=20, text_anchor="middle", class_="soft")
        for column, name in enumerate(columns)
    ]
    for number, (name, row) in enumerate(zip(names, tiles, strict=True)):
        y = TOP + number * ROW
        parts.append(_name(name, y + 17))
        parts += [_tile(tile, LEFT + column * width, y, width, scale) for column, tile in enumerate(row)]
    words = "Accuracy minus the twin's, in points; the more red, the more is lost. A dash stands where nothing left."
    return figure(joined(parts), TOP + len(names) * ROW + 8, title, words)


def listed(bars: Sequence[Bar], *, title: str, words: str) -> Markup:
    """Values below each other, each with its interval, beside a line at 0."""
    ends = [0.0, *(end for bar in bars for end in (bar.low, bar.high, *bar.behind))]
    low, high = min(ends), max(ends)
    space = 0.04 * (high - low) or 0.01
    low, high = low - space, high + space

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low)

    bottom = TOP + len(bars) * ROW
    parts = []
    for level in round_numbers(low, high):
        parts += [
            line("zero" if level == 0 else "rule", x(level), TOP - 6, x(level), bottom),
            tag("text", f"{100 * level:.4g}", x=x(level), y=TOP - 12, text_anchor="middle", class_="soft"),
        ]
    for number, bar in enumerate(bars):
        y = TOP + number * ROW + 13
        worse, better = bar.certain and bar.high < 0, bar.certain and bar.low > 0
        colour = "contradicted" if worse else "evidenced" if better else "partial"
        drawn = [tag("title", bar.story), line("bar", x(bar.low), y, x(bar.high), y)]
        drawn += [tag("circle", cx=x(each), cy=y, r=2.5, class_="dot none") for each in bar.behind]
        drawn += [tag("circle", cx=x(bar.value), cy=y, r=5, class_=f"dot {colour}")]
        value = tag("text", f"{100 * bar.value:+.2f}", x=WIDTH, y=y + 4, text_anchor="end")
        parts += [_name(bar.name, y + 4), tag("g", drawn, role="img", aria_label=bar.story), value]
    return figure(joined(parts), bottom + 8, title, words)


def scattered(dots: Sequence[Dot], *, cost: str, title: str, words: str) -> Markup:
    """Accuracy minus the twin's over one cost, both in percent."""
    right = 1.05 * max(1.0, *(dot.cost for dot in dots))
    ends = [0.0, *(end for dot in dots for end in (dot.value, dot.high))]
    lows = [dot.low for dot in dots]
    # One wreck must not flatten the rest: what lies further down than twice the middling drop is drawn at the edge.
    middling = sorted(lows)[len(lows) // 2]
    low, high = min(min(ends), middling) if min(lows) > 2 * middling else 2 * middling, max(ends)
    low = max(low, min(lows))
    space = 0.06 * (high - low) or 0.01
    low, high = low - space, high + space

    def x(value: float) -> float:
        return _PANEL_LEFT + (WIDTH - _PANEL_LEFT - RIGHT) * value / right

    def y(value: float) -> float:
        return TOP + (_PANEL_HEIGHT - TOP) * (1 - max(0.0, value - low) / (high - low))

    parts = [tag("text", "accuracy minus the twin's, points", x=0, y=14)]
    for level in round_numbers(low, high):
        parts += [
            line("zero" if level == 0 else "rule", _PANEL_LEFT, y(level), WIDTH - RIGHT, y(level)),
            tag("text", f"{100 * level:.4g}", x=_PANEL_LEFT - 8, y=y(level) + 4, text_anchor="end", class_="soft"),
        ]
    parts += [
        tag("text", f"{100 * level:.4g}", x=x(level), y=_PANEL_HEIGHT + 18, text_anchor="middle", class_="soft")
        for level in round_numbers(0.0, right)
    ]
    parts.append(tag("text", f"{cost}, % of the twin's", x=WIDTH - RIGHT, y=_PANEL_HEIGHT + 38, text_anchor="end"))
    for series in dict.fromkeys(dot.series for dot in dots):
        own = [dot for dot in dots if dot.series == series]
        path = " ".join(f"{x(dot.cost):.1f},{y(dot.value):.1f}" for dot in own)
        parts.append(tag("polyline", points=path, fill="none", style="stroke: var(--quiet); stroke-opacity: .5"))
        parts += [_dot(dot, x(dot.cost), y, below=dot.value < low) for dot in own]
    return figure(joined(parts), _PANEL_HEIGHT + 46, title, words)


def _tile(tile: Tile, x: float, y: float, width: float, scale: float) -> Markup:
    text, colour = "–", "var(--panel)"
    if tile.value is not None:
        # The root: a drop of three points is much to an engineer, however far the worst cut falls.
        text, drop = f"{100 * tile.value:+.1f}", math.sqrt(max(-tile.value / scale, 0.0))
        colour = f"color-mix(in srgb, var(--contradicted) {SHADE_MAX * drop:.0f}%, var(--panel))"
    parts = [
        tag("title", tile.story),
        tag("rect", x=x + 1, y=y + 1, width=width - 2, height=ROW - 2, style=f"fill: {colour}"),
        tag("text", text, x=x + width / 2, y=y + 17, text_anchor="middle"),
    ]
    return tag("g", parts, role="img", aria_label=tile.story)


def _dot(dot: Dot, x: float, place: Callable[[float], float], *, below: bool) -> Markup:
    y, colour = place(dot.value), f"dot {'evidenced' if dot.marked else 'none'}"
    parts = [tag("title", dot.story), line("bar", x, place(dot.low), x, place(dot.high))]
    if below:
        corners = ((x, y), (x - 6, y - 9), (x + 6, y - 9))
        parts.append(tag("polygon", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in corners), class_=colour))
    else:
        parts.append(tag("circle", cx=x, cy=y, r=4.5, class_=colour))
    if dot.marked:
        parts.append(tag("circle", cx=x, cy=y - 5 * below, r=9, class_="back"))
    parts.append(tag("text", dot.name, x=x + 11, y=y - 6, class_=None if dot.marked else "soft", style=HALO))
    return tag("g", parts, role="img", aria_label=dot.story)


def _name(name: str, y: float) -> Markup:
    short = name if len(name) <= 40 else f"{name[:18]}…{name[-20:]}"
    return tag("text", short, tag("title", name), x=LEFT - 10, y=y, text_anchor="end")
