"""The plots: rows of numbers in, an Altair chart out. Pure.

Colours are the Okabe-Ito pair that colour-blind readers tell apart, and shape repeats what colour says. No axis of a
quality starts at zero: a loss of three points must be seen.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import altair as alt

BLUE, VERMILION, GREY = "#2a8fd0", "#d55e00", "#8a8f98"
SERIES = (BLUE, "#e69f00", "#009e73", "#cc79a7", "#8a6d3b")
HEIGHT = 320

Row: TypeAlias = Mapping[str, Any]
Plot: TypeAlias = alt.LayerChart | alt.FacetChart


def tradeoff(candidates: Sequence[Row], *, twin_accuracy: float | None) -> Plot:
    """Accuracy of every judged candidate, with its interval, over the parameters it kept.

    Rows hold kept (%), accuracy, low, high (%), verdict ("passed" or "rejected") and what the tooltip shows.
    """
    ends = [row[key] for row in candidates for key in ("low", "high", "accuracy") if row[key] is not None]
    domain = _around([*ends, twin_accuracy] if twin_accuracy is not None else ends)
    base = _chart(candidates)
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
        alt.Tooltip("split:N", title="rows of the split"),
        alt.Tooltip("size:N", title="file"),
        alt.Tooltip("latency:N", title="latency, candidate / twin"),
    ]
    whiskers = base.mark_rule(strokeWidth=2, opacity=0.6).encode(
        x=x, y=alt.Y("low:Q", scale=scale, title=""), y2="high:Q", color=colour
    )
    points = base.mark_point(size=140, filled=True, opacity=1).encode(
        x=x, y=y, color=colour, shape=shape, tooltip=tooltip
    )
    layers = [whiskers, points]
    if twin_accuracy is not None:
        layers.insert(0, _level(twin_accuracy, f"dense twin: {twin_accuracy:.2f} %"))
    return alt.layer(*layers).properties(height=HEIGHT)


def evalue(batches: Sequence[Row], *, threshold: float | None, versions: Sequence[str]) -> Plot:
    """The evidence that the version has decayed (log10 of the e-value) after every sealed batch, and its threshold.

    Rows hold batch (position), version, log10, rows, time. `versions` keeps one version's colour the same in all plots.
    """
    level = math.log10(threshold) if threshold else None
    domain = _around([0.0, *(row["log10"] for row in batches), *([] if level is None else [level])])
    series = _series(batches, "log10", "log10 of the e-value", domain, versions)
    words = f"alarm at {threshold:g}, log10 = {level:.1f}" if level is not None else ""
    return alt.layer(*([] if level is None else [_level(level, words)]), series).properties(height=HEIGHT)


def flips(batches: Sequence[Row], *, certified: float | None, versions: Sequence[str]) -> Plot:
    """Share of shadowed requests that candidate and twin answered differently, and the share certified at the gate.

    Rows hold batch, version, flips (%), rows, time.
    """
    domain = _around([0.0, *(row["flips"] for row in batches), *([] if certified is None else [certified])])
    series = _series(batches, "flips", "unlike the twin, % of shadowed", domain, versions)
    words = f"certified at the gate: at most {certified:.2f} %" if certified is not None else ""
    return alt.layer(*([] if certified is None else [_level(certified, words)]), series).properties(height=HEIGHT)


def drift(columns: Sequence[Row]) -> Plot:
    """How far every column moved, in multiples of its threshold. Rows are those of `drifting.columns_of`."""
    base = _chart(columns)
    kind = ["drifted", "steady"]
    bars = base.mark_bar(height={"band": 0.6}).encode(
        x=alt.X("ratio:Q", title="distance from the reference, in multiples of the column's threshold"),
        y=alt.Y("column:N", title="", sort=None, axis=alt.Axis(labelLimit=220, labelOverlap=False)),
        color=alt.Color("state:N", title="", legend=None, scale=alt.Scale(domain=kind, range=[VERMILION, BLUE])),
        tooltip=[
            alt.Tooltip("column:N"),
            alt.Tooltip("state:N"),
            alt.Tooltip("score:Q", title="distance", format=".4f"),
            alt.Tooltip("threshold:Q", format=".4f"),
            alt.Tooltip("method:N"),
        ],
    )
    labels = base.mark_text(align="left", dx=5, color=GREY).encode(
        x="ratio:Q", y=alt.Y("column:N", sort=None, title=""), text="state:N"
    )
    limit = _chart([{"at": 1}]).mark_rule(strokeDash=[6, 4], color=GREY, strokeWidth=1.5).encode(x="at:Q")
    return alt.layer(bars, labels, limit).properties(height=70 + 32 * len(columns))


def _series(rows: Sequence[Row], name: str, title: str, domain: list[float], versions: Sequence[str]) -> Plot:
    known = alt.Scale(domain=list(versions), range=[SERIES[at % len(SERIES)] for at in range(len(versions))])
    base = _chart(rows).encode(
        x=alt.X(
            "batch:Q",
            title="sealed batch, oldest to newest",
            axis=alt.Axis(tickMinStep=1, format="d"),
            scale=alt.Scale(domain=[1, max(2, *(row["batch"] for row in rows))], nice=False),
        ),
        y=alt.Y(f"{name}:Q", title=title, scale=alt.Scale(domain=domain, nice=False, zero=False)),
        color=alt.Color("version:N", title="", scale=known, legend=alt.Legend(orient="top")),
    )
    points = base.mark_point(size=60, filled=True, opacity=1).encode(
        shape=alt.Shape("version:N", title="", scale=alt.Scale(domain=list(versions))),
        tooltip=[
            alt.Tooltip("version:N"),
            alt.Tooltip(f"{name}:Q", title=title, format=".2f"),
            alt.Tooltip("rows:Q", title="requests in the batch"),
            alt.Tooltip("time:N", title="sealed (UTC)"),
        ],
    )
    return alt.layer(base.mark_line(), points)


def _level(value: float, words: str) -> Plot:
    """A dashed horizontal line that says what it is."""
    base = _chart([{"level": value, "words": words}])
    rule = base.mark_rule(strokeDash=[6, 4], color=GREY, strokeWidth=1.5).encode(y="level:Q")
    text = base.mark_text(align="left", baseline="bottom", dx=4, dy=-3, color=GREY).encode(
        x=alt.value(0), y="level:Q", text="words:N"
    )
    return alt.layer(rule, text)


def _chart(rows: Sequence[Row]) -> alt.Chart:
    return alt.Chart(alt.Data(values=list(rows)))  # type: ignore[no-untyped-call]  # generated from Vega-Lite's schema


def _around(values: Sequence[float]) -> list[float]:
    """An axis that holds all values with a tenth of room on either side."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.1 * (high - low) or 1.0
    return [low - room, high + room]
