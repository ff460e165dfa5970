"""The plots of the report, as SVG inside the page: no script, no font, no network."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pruneguard.audit.controls import Row, State, moment
from pruneguard.audit.frameworks import Framework
from pruneguard.audit.views.drawing import WIDTH, figure, line
from pruneguard.audit.views.markup import Markup, joined, tag
from pruneguard.audit.views.story import Course, Span
from pruneguard.evidence import Estimate, Measurement, PairedTable
from pruneguard.policy import Rule
from pruneguard.statistics import tango_lower, tango_upper
from pruneguard.verdict import Finding, Outcome

LEFT, RIGHT = 96, 24
LANES = 12
"""Versions that the timeline draws, the newest."""
GLYPHS = {
    State.EVIDENCED: "●",
    State.PARTIAL: "◐",
    State.STALE: "◷",
    State.CONTRADICTED: "✕",
    State.STATEMENT_ONLY: "”",
    State.NONE: "–",
}
OUTCOMES = {
    Outcome.PASSED: "evidenced",
    Outcome.FAILED: "contradicted",
    Outcome.WAIVED: "stale",
    Outcome.UNDERPOWERED: "stale",
    Outcome.NO_EVIDENCE: "none",
}


def timeline(spans: Sequence[Span], courses: Sequence[Course], *, begin: str, at: str) -> Markup:
    """Which version answered when, with the alarms about it and the rollbacks."""
    first, last = moment(begin), moment(at)
    lanes = sorted({span.number for span in spans})[-LANES:]
    if first is None or last is None or not lanes or last <= first:
        return Markup()
    length, inner, top = (last - first).total_seconds(), WIDTH - LEFT - RIGHT, 14

    def x(time: str) -> float:
        seconds = ((moment(time) or first) - first).total_seconds()
        return LEFT + inner * min(max(seconds / length, 0.0), 1.0)

    rows = {number: top + 34 * place for place, number in enumerate(lanes)}
    height = top + 34 * len(lanes) + 30
    parts: list[Markup] = []
    for number, y in rows.items():
        parts.append(tag("text", f"version {number}", x=0, y=y + 15))
        parts.append(line("rule", LEFT, y + 22, WIDTH - RIGHT, y + 22))
    for span in spans:
        if span.number in rows:
            y = rows[span.number]
            tall = 20 * math.sqrt(min(max(span.share, 0.0), 1.0))
            end = span.end or at
            wide = max(x(end) - x(span.start), 1.5)
            said = f"version {span.number}: {span.share:.0%} of the requests, {span.start} to {end}"
            kind = "live" if span.share >= 1 else "canary"
            parts.append(
                tag("rect", tag("title", said), x=x(span.start), y=y + 21 - tall, width=wide, height=tall, class_=kind)
            )
    for course in courses:
        if course.number not in rows:
            continue
        y = rows[course.number]
        for index, event in course.alarms:
            said = f"entry {index}: alarm, {event.data['detector']}, {event.time}"
            at_x = x(event.time)
            points = f"{at_x:.1f},{y + 1} {at_x - 6:.1f},{y + 12} {at_x + 6:.1f},{y + 12}"
            parts.append(tag("polygon", tag("title", said), points=points, class_="alarm"))
        for index, event in course.rollbacks:
            said = f"entry {index}: rolled back to version {event.data['to']}, {event.time}"
            parts.append(tag("circle", tag("title", said), cx=x(event.time), cy=y + 22, r=5, class_="back"))
    parts += _ticks(first, last, height)
    return figure(
        joined(parts),
        height,
        "What answered, and when",
        "A bar is a version that answered requests; a lower and paler one had a share of them (canary). A triangle is "
        "an alarm about it, a ring the moment it was rolled back.",
    )


def gates(course: Course) -> Markup:
    """Each paired comparison of candidate and twin, with its interval and the margin of its rule."""
    rules = course.policy.rules if course.policy is not None else ()
    return margins(
        [
            Difference(rule.name, rule.measurement, table, _alpha(rule), rule.parameters["margin"], finding.outcome)
            for rule in rules
            if rule.gate == "non_inferior" and isinstance(table := course.measured.get(rule.measurement), PairedTable)
            if _counts(table) and (finding := _finding(course, rule)) is not None
        ],
        title=f"Version {course.number} against its dense twin, in points of accuracy on the same rows",
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """A candidate against its twin on the same rows, and what a rule made of it; the table has rows."""

    rule: str
    measurement: str
    table: PairedTable
    alpha: float
    margin: float
    outcome: Outcome


MARGINS = (
    "A dot is the difference on the rows that decided, the line its interval at the rule's level (Tango's score). "
    "Dashed: the margin that the policy allows; the whole line has to lie to the right of it. "
    "Green passed, red failed, amber is underpowered or waived."
)


def margins(drawn: Sequence[Difference], *, title: str, words: str = MARGINS, shared: bool = False) -> Markup:
    """A figure of differences, each with its interval and its margin; nothing where there are none.

    Where they have one margin in common, `shared` names it once, below them.
    """
    if not drawn:
        return Markup()
    worst = max(max(each.margin, -tango_lower(each.table, alpha=each.alpha)) for each in drawn)
    best = max(0.0, *(tango_upper(each.table, alpha=each.alpha) for each in drawn))
    low, high, left = -worst * 1.15, max(best * 1.15, worst * 0.25), 230
    inner, height = WIDTH - left - RIGHT, 26 * len(drawn) + 34

    def x(value: float) -> float:
        return left + inner * (min(max(value, low), high) - low) / (high - low)

    bottom = height - 26
    parts = [line("zero", x(0), 4, x(0), bottom), tag("text", "twin", x=x(0), y=height - 10, text_anchor="middle")]
    for place, each in enumerate(drawn):
        y, table, margin = 18 + 26 * place, each.table, each.margin
        lower, upper = tango_lower(table, alpha=each.alpha), tango_upper(table, alpha=each.alpha)
        said = (
            f"{each.rule}: {100 * table.difference:+.2f} points, {100 * lower:+.2f} to {100 * upper:+.2f}, n {table.n}"
        )
        kind = OUTCOMES[each.outcome]
        parts += [
            tag("text", each.measurement.removesuffix(".paired"), x=0, y=y + 4),
            line("bar", x(lower), y, x(upper), y),
            line("limit", x(-margin), y - 10, x(-margin), y + 10),
            tag("circle", tag("title", said), cx=x(table.difference), cy=y, r=4.5, class_=f"dot {kind}"),
            *([] if shared else [_limit(margin, x(-margin) - 4, y - 4, "end")]),
        ]
    if shared:
        parts.append(_limit(drawn[0].margin, x(-drawn[0].margin), height - 10, "middle"))
    return figure(joined(parts), height, title, words)


def _limit(margin: float, x: float, y: float, anchor: str) -> Markup:
    return tag("text", f"{100 * -margin:g}", x=x, y=y, text_anchor=anchor, class_="soft")


def accuracies(course: Course) -> str:
    """Accuracy of candidate and twin with their intervals, in words; empty where it was not measured."""
    named = (("accuracy", "quality.accuracy"), ("the twin's", "quality.twin_accuracy"))
    told = [f"{what} {_estimate(course.measured.get(name))}" for what, name in named if course.measured.get(name)]
    return ", ".join(told)


def states(framework: Framework, rows: Sequence[Row], anchor: dict[str, str]) -> Markup:
    """Every control as a cell, by function, in the framework's order."""
    functions: dict[str, list[Row]] = {}
    for row in rows:
        functions.setdefault(framework.function(row.control).id, []).append(row)
    size, left, per_line = 28, 110, 24
    parts: list[Markup] = []
    y = 4
    for name, members in functions.items():
        parts.append(tag("text", name, x=0, y=y + 18))
        for place, row in enumerate(members):
            cx, cy = left + size * (place % per_line), y + size * (place // per_line)
            glyph = tag("text", GLYPHS[row.state], x=cx + 11.5, y=cy + 16.5, text_anchor="middle")
            cell = tag("rect", x=cx, y=cy, width=23, height=23, rx=3, class_="cell")
            title = tag("title", f"{row.control.id}: {row.state.value}")
            parts.append(
                tag("a", title, tag("g", cell, glyph, class_=_class(row.state)), href=f"#{anchor[row.control.id]}")
            )
        y += size * math.ceil(len(members) / per_line) + 8
    return figure(
        joined(parts),
        y,
        "States of the controls, by function",
        "One cell for each control, in the framework's order; follow it to its row. Cells are not added up: a control "
        "is worth as much as what is in its row.",
    )


def legend() -> Markup:
    said = {
        State.EVIDENCED: "all that is wanted is there, and current",
        State.PARTIAL: "some of it; the row says what is missing",
        State.STALE: "it was there, and is past its expiry or its age",
        State.CONTRADICTED: "something on record speaks against it",
        State.STATEMENT_ONLY: "a person says so, and no record or document shows it",
        State.NONE: "nothing",
    }
    items = [tag("li", mark(state), f": {words}") for state, words in said.items()]
    return tag("ul", items, class_="legend")


def mark(state: State) -> Markup:
    """A state as a word with its sign and colour."""
    return tag("span", f"{GLYPHS[state]} {state.value}", class_=f"state {_class(state)}")


def _class(state: State) -> str:
    return state.value


def _ticks(first: datetime, last: datetime, height: float) -> list[Markup]:
    long = (last - first).days >= 2
    found = []
    for place in range(5):
        time = first + (last - first) * place / 4
        anchor = "start" if place == 0 else "end" if place == 4 else "middle"
        where = LEFT + (WIDTH - LEFT - RIGHT) * place / 4
        words = time.strftime("%Y-%m-%d" if long else "%m-%d %H:%M:%S")
        found.append(tag("text", words, x=where, y=height - 6, text_anchor=anchor, class_="soft"))
    return found


def _finding(course: Course, rule: Rule) -> Finding | None:
    findings = course.verdict.findings if course.verdict is not None else ()
    return next((finding for finding in findings if finding.rule == rule.name), None)


def _counts(table: PairedTable) -> bool:
    cells = (table.both_right, table.candidate_only, table.twin_only, table.both_wrong)
    return all(type(cell) is int and 0 <= cell < 1e12 for cell in cells) and table.n > 0


def _alpha(rule: Rule) -> float:
    return rule.parameters.get("alpha", 0.05)


def _estimate(measured: Measurement | None) -> str:
    if not isinstance(measured, Estimate):
        return "not measured"
    shown = f"{100 * measured.value:.2f} %"
    if measured.low is not None and measured.high is not None:
        shown += f" ({100 * measured.low:.2f} to {100 * measured.high:.2f})"
    return shown
