"""The plots: rows of numbers in, an Altair chart out. Pure.

Colours are the Okabe-Ito pair that colour-blind readers tell apart, and shape repeats what colour says. No axis of a
quality starts at zero: a loss of three points must be seen.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

BLUE, VERMILION, GREY = "#2a8fd0", "#d55e00", "#8a8f98"
HEIGHT = 320

Row = Mapping[str, Any]


def tradeoff(candidates: Sequence[Row], *, twin_accuracy: float | None) -> alt.LayerChart:
    """Accuracy of every judged candidate, with its interval, over the parameters it kept.

    Rows hold kept (%), accuracy, low, high (%), verdict ("passed" or "rejected") and what the tooltip shows.
    """
    ends = [row[key] for row in candidates for key in ("low", "high", "accuracy") if row[key] is not None]
    domain = _around([*ends, twin_accuracy] if twin_accuracy is not None else ends)
    base = alt.Chart(alt.Data(values=list(candidates)))
    x = alt.X("kept:Q", title="parameters kept, % of the twin's", scale=alt.Scale(domain=[0, 102], nice=False))
    scale = alt.Scale(domain=domain, nice=False, zero=False)
    y = alt.Y("accuracy:Q", title="accuracy, % of rows (95 % interval)", scale=scale)
    kind = ["passed", "rejected"]
    colour = alt.Color("verdict:N", title="Verdict", scale=alt.Scale(domain=kind, range=[BLUE, VERMILION]))
    shape = alt.Shape("verdict:N", title="Verdict", scale=alt.Scale(domain=kind, range=["circle", "cross"]))
    tooltip = [
        alt.Tooltip("candidate:N", title="candidate"),
        alt.Tooltip("verdict:N", title="verdict"),
        alt.Tooltip("accuracy:Q", title="accuracy, %", format=".2f"),
        alt.Tooltip("interval:N", title="interval, %"),
        alt.Tooltip("kept:Q", title="parameters kept, %", format=".1f"),
        alt.Tooltip("size:N", title="file"),
        alt.Tooltip("latency:N", title="latency, candidate / twin"),
    ]
    whiskers = base.mark_rule(strokeWidth=2, opacity=0.6).encode(
        x=x, y=alt.Y("low:Q", scale=scale, title=""), y2="high:Q", color=colour
    )
    points = base.mark_point(size=140, filled=True, opacity=1).encode(x=x, y=y, color=colour, shape=shape, tooltip=tooltip)
    layers = [whiskers, points]
    if twin_accuracy is not None:
        layers.insert(0, _level(twin_accuracy, f"dense twin: {twin_accuracy:.2f} %"))
    return alt.layer(*layers).properties(height=HEIGHT)


def evalue(batches: Sequence[Row], *, threshold: float | None) -> alt.LayerChart:
    """The evidence that the release has decayed (log10 of the e-value) after every sealed batch, and its threshold.

    Rows hold batch (position), release, log10, rows, time.
    """
    ends = [row["log10"] for row in batches] + ([math.log10(threshold)] if threshold else []) + [0.0]
    layers: list[alt.Chart | alt.LayerChart] = [
        _series(batches, "log10", "log10 of the e-value", _around(ends), ".2f"),
    ]
    if threshold:
        layers.insert(0, _level(math.log10(threshold), f"alarm at {threshold:g} (log10 = {math.log10(threshold):.1f})"))
    return alt.layer(*layers).properties(height=HEIGHT)


def flips(batches: Sequence[Row], *, certified: float | None) -> alt.LayerChart:
    """Share of shadowed requests that candidate and twin answered differently, and the share certified at the gate.

    Rows hold batch, release, flips (%), rows, time.
    """
    ends = [row["flips"] for row in batches] + ([certified] if certified is not None else []) + [0.0]
    layers: list[alt.Chart | alt.LayerChart] = [
        _series(batches, "flips", "answers unlike the twin's, % of shadowed requests", _around(ends, floor=0.0), ".2f"),
    ]
    if certified is not None:
        layers.insert(0, _level(certified, f"certified at the gate: at most {certified:.2f} %"))
    return alt.layer(*layers).properties(height=HEIGHT)


def drift(columns: Sequence[Row]) -> alt.LayerChart:
    """Drift score of every column against its threshold. Rows hold column, score, threshold, drifted ("drifted"/"steady"), method."""
    base = alt.Chart(alt.Data(values=list(columns)))
    kind = ["drifted", "steady"]
    y = alt.Y("column:N", title="", sort=None, axis=alt.Axis(labelLimit=220))
    bars = base.mark_bar(height={"band": 0.6}).encode(
        x=alt.X("score:Q", title="drift score (the tick is the column's threshold)"),
        y=y,
        color=alt.Color("drifted:N", title="Column", scale=alt.Scale(domain=kind, range=[VERMILION, BLUE])),
        tooltip=[
            alt.Tooltip("column:N"),
            alt.Tooltip("score:Q", format=".4f"),
            alt.Tooltip("threshold:Q", format=".4f"),
            alt.Tooltip("method:N"),
            alt.Tooltip("drifted:N", title="state"),
        ],
    )
    ticks = base.mark_tick(thickness=3, color=GREY).encode(x="threshold:Q", y=y)
    return alt.layer(bars, ticks).properties(height=max(120, 28 * len(columns)))


def _series(rows: Sequence[Row], name: str, title: str, domain: list[float], form: str) -> alt.LayerChart:
    base = alt.Chart(alt.Data(values=list(rows))).encode(
        x=alt.X("batch:Q", title="sealed batch, oldest to newest", axis=alt.Axis(tickMinStep=1, format="d")),
        y=alt.Y(f"{name}:Q", title=title, scale=alt.Scale(domain=domain, nice=False, zero=False)),
        color=alt.Color("release:N", title="Release", scale=alt.Scale(scheme="tableau10")),
    )
    points = base.mark_point(size=60, filled=True).encode(
        shape=alt.Shape("release:N", title="Release"),
        tooltip=[
            alt.Tooltip("release:N", title="release"),
            alt.Tooltip(f"{name}:Q", title=title, format=form),
            alt.Tooltip("rows:Q", title="requests in the batch"),
            alt.Tooltip("time:N", title="sealed"),
        ],
    )
    return alt.layer(base.mark_line(), points)


def _level(value: float, words: str) -> alt.LayerChart:
    """A dashed horizontal line that says what it is."""
    base = alt.Chart(alt.Data(values=[{"level": value, "words": words}]))
    rule = base.mark_rule(strokeDash=[6, 4], color=GREY, strokeWidth=1.5).encode(y="level:Q")
    text = base.mark_text(align="left", baseline="bottom", dx=4, dy=-3, color=GREY).encode(
        x=alt.value(0), y="level:Q", text="words:N"
    )
    return alt.layer(rule, text)


def _around(values: Sequence[float], *, floor: float | None = None) -> list[float]:
    """An axis that holds all values with a tenth of room on either side."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.1 * (high - low) or 1.0
    return [low - room if floor is None else max(floor, low - room), high + room]
