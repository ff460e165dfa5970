"""Every candidate that a search tried, as a drawing and as a page: what it costs, how good it is, and why it went.

Pure: values in, markup out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pruneguard.audit.views.drawing import WIDTH, figure, line, page
from pruneguard.audit.views.markup import Markup, joined, table, tag

LEFT, RIGHT, TOP, HEIGHT = 64, 40, 22, 330
LANE = HEIGHT + 34
"""Where candidates are drawn whose accuracy nobody measured."""

TICKS = 7
"""On an axis, at most."""


class Fate(StrEnum):
    """How a candidate ended."""

    CHOSEN = "chosen"
    PASSED = "passed"
    DOUBTFUL = "doubtful"  # passed, and would too often fail on other rows
    REFUSED = "refused"  # everything was measured
    STOPPED = "stopped"  # at its first certain failure


@dataclass(frozen=True, slots=True)
class Shown:
    """One candidate. `objective` is a ratio to the twin, None where no network could be made.

    `accuracy` with its interval is a share, or a difference of shares to the twin; None where it was not measured.
    """

    recipe: str
    ratio: float
    objective: float | None
    accuracy: float | None
    low: float | None
    high: float | None
    outcome: Fate
    reason: str = ""


HALO = "paint-order: stroke; stroke: var(--paper); stroke-width: 4px"
"""Words stay legible where they cross a line."""

_COLOURS = {
    Fate.CHOSEN: "evidenced",
    Fate.PASSED: "evidenced",
    Fate.DOUBTFUL: "stale",
    Fate.REFUSED: "contradicted",
    Fate.STOPPED: "stale",
}


def candidates(shown: Sequence[Shown], *, objective: str, accuracy: str, margin: float | None = None) -> Markup:
    """A figure of all candidates, numbered in their order: accuracy over objective, both in percent.

    `objective` and `accuracy` name the axes; `margin` is the accuracy that the policy's rule asks of an interval's
    lower end.
    """
    plane = _Plane.around(shown, margin)
    drawn = [_mark(number, each, plane) for number, each in enumerate(shown, start=1)]
    return figure(
        joined([*_axes(plane, objective, accuracy, margin), *drawn]),
        LANE + 58,
        f"Every candidate by {objective} and {accuracy}",
        "Further left is better. A disc passed, and the ringed one was chosen; a pale "
        "disc passed, and would too often fail on other rows; a cross was measured in full and "
        "refused; a diamond was stopped at its first certain failure. The line through a mark is its interval, the "
        "dashed line what the policy asks of the lower end. Triangles point at what lies further down. The numbers "
        "are those of the table.",
    )


def candidates_page(
    shown: Sequence[Shown],
    *,
    title: str,
    words: str,
    objective: str,
    accuracy: str,
    margin: float | None = None,
) -> bytes:
    """The figure and, below it, every candidate with the reason, as a page that stands alone; `words` introduce it."""
    rows = [
        (
            str(number),
            each.recipe,
            f"{each.ratio:.0%}",
            _percent(each.objective),
            _percent(each.accuracy) + _interval(each),
            tag("span", each.outcome.value, class_=f"state {_COLOURS[each.outcome]}"),
            each.reason or "every rule of the policy",
        )
        for number, each in enumerate(shown, start=1)
    ]
    head = ("", "Recipe", "Asked to go", objective.capitalize(), accuracy.capitalize(), "Outcome", "Why")
    return page(
        title,
        tag("header", tag("h1", title), tag("p", words)),
        tag(
            "main",
            candidates(shown, objective=objective, accuracy=accuracy, margin=margin),
            table("Every candidate, in the order in which it was tried", head, rows),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Plane:
    """From values to places. What lies below `low` is drawn at the lower edge: one wreck must not flatten the rest."""

    right: float
    low: float
    high: float

    @classmethod
    def around(cls, shown: Sequence[Shown], margin: float | None) -> "_Plane":
        right = max((each.objective for each in shown if each.objective is not None), default=1.0)
        levels = [value for each in shown for value in (each.low, each.accuracy, each.high) if value is not None]
        levels += [] if margin is None else [margin]
        low, high = (min(levels), max(levels)) if levels else (0.0, 1.0)
        if margin is not None:
            low = max(low, margin - max(high - margin, 0.01))
        space = 0.08 * (high - low) or 0.01
        return cls(max(right * 1.05, 0.05), low - space, high + space)

    def x(self, objective: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(objective / self.right, 0.0), 1.0)

    def y(self, accuracy: float) -> float:
        share = (accuracy - self.low) / (self.high - self.low)
        return TOP + (HEIGHT - TOP) * (1 - min(max(share, 0.0), 1.0))


def _axes(plane: _Plane, objective: str, accuracy: str, margin: float | None) -> list[Markup]:
    parts = [tag("text", f"{accuracy}, %", x=0, y=12), line("zero", LEFT, HEIGHT, WIDTH - RIGHT, HEIGHT)]
    for level in round_numbers(plane.low, plane.high):
        y = plane.y(level)
        parts += [
            line("rule", LEFT, y, WIDTH - RIGHT, y),
            tag("text", f"{100 * level:.4g}", x=LEFT - 8, y=y + 4, text_anchor="end", class_="soft"),
        ]
    parts += [
        tag("text", f"{100 * cost:.4g}", x=plane.x(cost), y=LANE + 32, text_anchor="middle", class_="soft")
        for cost in round_numbers(0.0, plane.right)
    ]
    parts += [
        tag("text", "not measured", x=LEFT, y=LANE - 12, class_="soft"),
        line("zero", LEFT, LANE + 14, WIDTH - RIGHT, LANE + 14),
        tag("text", f"{objective}, %", x=WIDTH - RIGHT, y=LANE + 52, text_anchor="end"),
    ]
    if margin is not None:
        y = plane.y(margin)
        parts += [
            line("limit", LEFT, y, WIDTH - RIGHT, y),
            tag(
                "text", f"the policy asks {100 * margin:g}", x=WIDTH - RIGHT, y=y - 5, text_anchor="end", class_="soft"
            ),
        ]
    return parts


def _mark(number: int, shown: Shown, plane: _Plane) -> Markup:
    """A candidate with its interval, its number and, on pointing at it, its story."""
    if shown.objective is None:
        return Markup()
    x = plane.x(shown.objective)
    y = LANE if shown.accuracy is None else plane.y(shown.accuracy)
    below = shown.accuracy is not None and shown.accuracy < plane.low
    parts = [tag("title", _story(number, shown))]
    if shown.low is not None and shown.high is not None:
        parts.append(line("bar", x, plane.y(shown.low), x, plane.y(shown.high)))
    parts.append(_sign(shown.outcome, x, y, below=below))
    if shown.outcome is Fate.CHOSEN:
        parts.append(tag("circle", cx=x, cy=y, r=9, class_="back"))
        label, side = f"{number}: {shown.recipe}, {shown.ratio:.0%}", x > WIDTH * 0.7
        top = y if shown.high is None else plane.y(shown.high)
        words = tag("text", label, x=x, y=top - 8, text_anchor="end" if side else "start", style=HALO)
        parts.append(words)
    else:
        parts.append(tag("text", str(number), x=x + 8, y=y - 6, class_="soft"))
    return tag("g", parts, role="img", aria_label=_story(number, shown))


def _sign(outcome: Fate, x: float, y: float, *, below: bool) -> Markup:
    colour = f"dot {_COLOURS[outcome]}"
    if below:
        return _polygon(colour, (x, y), (x - 6, y - 9), (x + 6, y - 9))
    match outcome:
        case Fate.REFUSED:
            arm, thick = 5.5, 1.6
            turned = f"rotate(45 {x:.5g} {y:.5g})"
            return tag(
                "path",
                d=f"M{x - arm:.5g} {y - thick:.5g}h{2 * arm:g}v{2 * thick:g}h{-2 * arm:g}z"
                f"M{x - thick:.5g} {y - arm:.5g}h{2 * thick:g}v{2 * arm:g}h{-2 * thick:g}z",
                transform=turned,
                class_=colour,
            )
        case Fate.STOPPED:
            return _polygon(colour, (x, y - 6), (x + 6, y), (x, y + 6), (x - 6, y))
        case _:
            return tag("circle", cx=x, cy=y, r=5, class_=colour)


def _polygon(kind: str, *corners: tuple[float, float]) -> Markup:
    return tag("polygon", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in corners), class_=kind)


def _story(number: int, shown: Shown) -> str:
    told = f"{number}: {shown.recipe}, {shown.ratio:.0%}: {shown.outcome.value}"
    measured = f"; costs {_percent(shown.objective)}, accuracy {_percent(shown.accuracy)}{_interval(shown)}"
    return told + measured + (f"; {shown.reason}" if shown.reason else "")


def round_numbers(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between two ends, TICKS at most."""
    least = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(least))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= least)
    return [place * step for place in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _percent(value: float | None) -> str:
    return "not measured" if value is None else f"{100 * value:.2f} %"


def _interval(shown: Shown) -> str:
    if shown.low is None or shown.high is None:
        return ""
    return f" ({100 * shown.low:.2f} to {100 * shown.high:.2f})"
