"""What a validation's page draws: differences to the twin, slices, numbers against their limits. Pure."""

import math
from collections.abc import Iterator

from pruneguard.audit.views.drawing import WIDTH, figure, line
from pruneguard.audit.views.markup import Markup, joined, tag
from pruneguard.audit.views.report_plots import OUTCOMES, Difference, margins
from pruneguard.evidence import Estimate, PairedTable
from pruneguard.plots import round_numbers
from pruneguard.policy import Rule
from pruneguard.statistics import tango_upper
from pruneguard.validation.result import Validation
from pruneguard.verdict import Finding, Outcome

SLICES = 30
"""Slices that are drawn for one rule, the worst first; the table below the drawing has all."""

_NUMBERS = ("at_most", "at_least", "at_most_surely", "at_least_surely")


def differences(validation: Validation) -> Markup:
    """Every comparison on the same rows that a rule holds against a margin."""
    measured = validation.measured
    return margins(
        [
            Difference(
                rule.name, rule.measurement, table, rule.parameters["alpha"], rule.parameters["margin"], f.outcome
            )
            for rule, f in _judged(validation)
            if rule.gate == "non_inferior" and isinstance(table := measured.get(rule.measurement), PairedTable)
            if table.n
        ],
        title="Against the twin, in points of accuracy on the same rows",
    )


def sliced(validation: Validation, rule: Rule) -> list[Difference]:
    """What a rule about slices looked at, the worst first, each with the outcome that it has alone.

    Intervals are at the level of Holm's first step: a slice that lies to the left of the margin with its whole
    interval refuses the model.
    """
    prefix, margin = f"{rule.measurement}.slice.", rule.parameters["margin"]
    tables = {
        name.removeprefix(prefix): table
        for name, table in validation.measured.items()
        if name.startswith(prefix) and isinstance(table, PairedTable) and table.n
    }
    tested = sum(table.n >= rule.parameters["rows_min"] for table in tables.values())
    alpha = rule.parameters["alpha"] / max(tested, 1)

    def outcome(table: PairedTable) -> Outcome:
        if table.n < rule.parameters["rows_min"]:
            return Outcome.NO_EVIDENCE
        return Outcome.FAILED if tango_upper(table, alpha=alpha) < -margin else Outcome.PASSED

    found = [Difference(name, name, table, alpha, margin, outcome(table)) for name, table in tables.items()]
    return sorted(found, key=lambda each: each.table.difference)


def slices(rule: Rule, found: list[Difference]) -> Markup:
    """The worst of them, as a figure."""
    return margins(
        found[:SLICES],
        title=f"{rule.name}: the worst {min(len(found), SLICES)} of {len(found)} slices, in points of accuracy",
        words="A dot is a slice's difference to the twin, the line its interval over all slices at once (Tango's "
        "score, at Holm's first step). Dashed: the margin; a slice is shown to be worse where its whole line lies to "
        "the left of it. Red is such a slice, grey has too few rows to be tested.",
        shared=True,
    )


def numbers(validation: Validation) -> Markup:
    """Every number that a rule holds against a limit, each on a scale of its own."""
    measured = validation.measured
    drawn = [
        (rule, finding, estimate)
        for rule, finding in _judged(validation)
        if rule.gate in _NUMBERS and isinstance(estimate := measured.get(rule.measurement), Estimate)
        if math.isfinite(estimate.value)
    ]
    if not drawn:
        return Markup()
    left, right, height = 230, 620, 26 * len(drawn) + 10
    parts: list[Markup] = []
    for place, (rule, finding, estimate) in enumerate(drawn):
        y, limit = 18 + 26 * place, rule.parameters["limit"]
        ends = [end for end in (estimate.low, estimate.high) if end is not None and math.isfinite(end)]
        low, high = min(0.0, limit, estimate.value, *ends), max(0.0, limit, estimate.value, *ends)
        space = (high - low) * 0.04 or 1.0

        def x(value: float, low: float = low - space, high: float = high + space) -> float:
            return left + (right - left) * (value - low) / (high - low)

        sign = "at most" if rule.gate.startswith("at_most") else "at least"
        parts += [
            tag("text", rule.name, x=0, y=y + 4),
            line("rule", left, y, right, y),
            line("limit", x(limit), y - 10, x(limit), y + 10),
            *([line("bar", x(ends[0]), y, x(ends[1]), y)] if len(ends) == 2 else []),
            tag(
                "circle",
                tag("title", f"{rule.name}: {finding.observed}"),
                cx=x(estimate.value),
                cy=y,
                r=4.5,
                class_=f"dot {OUTCOMES[finding.outcome]}",
            ),
            tag("text", f"{estimate.value:.4g}, {sign} {limit:g}", x=WIDTH, y=y + 4, text_anchor="end", class_="soft"),
        ]
    return figure(
        joined(parts),
        height,
        "Numbers against their limits",
        "Each on a scale of its own that holds zero. A dot is what was measured, the line its interval; dashed is the "
        "limit. Green passed, red failed, amber is underpowered.",
    )


def reliability(validation: Validation) -> Markup:
    """What confidences state, and how much of it comes true; nothing where calibration was not measured."""
    curves = {
        kind: [(stated, share) for stated, share in _curve(validation, name) if math.isfinite(share.value)]
        for kind, name in (("none", "calibration.twin_reliability"), ("partial", "calibration.reliability"))
    }
    known = [value for curve in curves.values() for stated, share in curve for value in (stated, share.low or 0.0)]
    if not known:
        return Markup()
    least = min(math.floor(10 * min(known)) / 10, 0.9)
    left, top, size = 60, 10, 330

    def across(share: float) -> float:
        return left + size * (share - least) / (1 - least)

    def up(share: float) -> float:
        return top + size * (1 - share) / (1 - least)

    parts: list[Markup] = [line("limit", across(least), up(least), across(1), up(1))]
    for tick in round_numbers(least, 1.0):
        parts += [
            line("rule", left, up(tick), left + size, up(tick)),
            tag("text", f"{100 * tick:.4g}", x=left - 8, y=up(tick) + 4, text_anchor="end", class_="soft"),
            tag("text", f"{100 * tick:.4g}", x=across(tick), y=top + size + 18, text_anchor="middle", class_="soft"),
        ]
    for kind, curve in curves.items():
        for stated, share in curve:
            said = f"stated {stated:.2%}, came true {share.value:.2%}, n {share.n}"
            if share.low is not None and share.high is not None:
                parts.append(line("zero", across(stated), up(max(share.low, least)), across(stated), up(share.high)))
            x, y, told = across(stated), up(share.value), tag("title", said)
            if kind == "partial":
                parts.append(tag("circle", told, cx=x, cy=y, r=4.5, class_="dot partial"))
            else:
                parts.append(tag("rect", told, x=x - 3.5, y=y - 3.5, width=7, height=7, class_="dot none"))
    parts += [
        tag("text", "came true, %", x=left + size + 12, y=top + 12, class_="soft"),
        tag("text", "stated confidence, %", x=left + size, y=top + size + 36, text_anchor="end", class_="soft"),
    ]
    return figure(
        joined(parts),
        top + size + 44,
        "How much of a stated confidence comes true",
        "Each sign holds as many rows as any other, the line through it is its exact interval. Discs are the model, "
        "squares its twin. Below the dashed line it claims too much, above it too little.",
    )


def _curve(validation: Validation, name: str) -> Iterator[tuple[float, Estimate]]:
    prefix = f"{name}.slice.confidence="
    for full, share in validation.measured.items():
        if full.startswith(prefix) and isinstance(share, Estimate):
            yield float(full.removeprefix(prefix)), share


def _judged(validation: Validation) -> Iterator[tuple[Rule, Finding]]:
    found = {finding.rule: finding for finding in validation.verdict.findings}
    return ((rule, found[rule.name]) for rule in validation.policy.rules if rule.name in found)
