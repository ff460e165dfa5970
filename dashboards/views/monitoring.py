"""Monitoring: is the release still what was certified? And what could these monitors not have seen?"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboards import charts, frame
from dashboards.drifting import columns_of
from dashboards.wording import age, badge, cause, clock, count, facts, percent, plain
from pruneguard.errors import PruneGuardError
from pruneguard.evidence import Estimate
from pruneguard.ledger.state import Model

BLIND = (
    "**Blind to concept shift without labels.** These monitors compare the release with its dense twin and the inputs "
    "with the data it was judged on. When the world changes so that both models become wrong alike on inputs that "
    "look the same, nothing here moves: only labels can show it."
)


EVALUE_SHOWN_MAX = 1_000_000  # beyond it a number tells nobody more; the plot's logarithm does
LOG10_MAX = 300.0  # an e-value beyond what a double holds is drawn here; no decision needs to tell such apart


def page() -> None:
    st.title("Monitoring")
    reading = frame.reading_or_stop()
    _live(frame.choose_model(reading))
    st.info(BLIND, icon="ℹ️")


@st.fragment(run_every=frame.REFRESH_S)
def _live(chosen: Model) -> None:
    model = frame.again(chosen)
    if not model.batches:
        st.info("No batch of answered requests has been sealed yet. Send traffic to the gateway; batches follow.")
    else:
        _decay(model)
    _drift(model)
    _alarms(model)


def _decay(model: Model) -> None:
    # Where the twin itself answers there is nothing to compare: what was compared is what tells something.
    compared = [batch for batch in model.batches if batch.get("evalue")] or list(model.batches)
    batches = [_batch_row(position, batch) for position, batch in enumerate(compared)]
    newest = compared[-1]
    certified = _certified_flips(model, model.releases[newest["number"]].verdict)
    cells = _numbers(batches, newest, certified)
    for column, (label, shown, beside, why) in zip(st.columns(len(cells)), cells, strict=True):
        column.metric(label, shown, beside, delta_color="off", delta_arrow="off", border=True, help=why)
    versions = list(dict.fromkeys(row["version"] for row in batches))
    left, right = st.columns(2)
    with left:
        st.subheader("Evidence of decay")
        if rows := [row for row in batches if row["log10"] is not None]:
            chart = charts.evalue(rows, threshold=number(newest.get("threshold")), versions=versions)
            st.altair_chart(chart, alt="e-value after every sealed batch")
        else:
            st.caption(
                "The sealed batches carry no e-value: their release has no certified bound to be tested against."
            )
    with right:
        st.subheader("Disagreement with the twin")
        if rows := [row for row in batches if row["flips"] is not None]:
            chart = charts.flips(rows, certified=certified, versions=versions)
            st.altair_chart(chart, alt="share of flips in every sealed batch")
        else:
            st.caption("No request was shadowed by the twin yet.")


def _numbers(
    batches: Sequence[Mapping[str, Any]], newest: Mapping[str, Any], certified: float | None
) -> list[tuple[str, str, str, str]]:
    """What is known of the version that was last compared: label, number, what it stands against, and what it means."""
    version = f"version {newest['number']}"
    own = [row for row in batches if row["version"] == version]
    flips, twins = (sum(row[key] for row in own) for key in ("flip_count", "twin_runs"))
    value, threshold = number(newest.get("evalue")), number(newest.get("threshold"))
    return [
        (
            "Evidence of decay",
            "–" if value is None else f"{value:.3g}" if value < EVALUE_SHOWN_MAX else "> 10⁶",
            f"{version}, " + (f"alarm at {threshold:g}" if threshold else "no threshold"),
            "An e-value: a healthy version ever exceeds t with probability at most 1/t, however long one watches.",
        ),
        (
            "Unlike the twin",
            percent(flips / twins, 2) if twins else "–",
            "no certified bound" if certified is None else f"certified at most {certified:.2f} %",
            "Share of the shadowed requests that twin and pruned version answered differently.",
        ),
        (
            "Accuracy lost, at most",
            percent(number(newest.get("accuracy_lost_max")), 2),
            "to pruning, so far",
            "Bound on what this version loses against its twin on the traffic it saw; it needs no labels.",
        ),
        (
            "Requests sealed",
            count(sum(row["rows"] for row in own)),
            f"{count(twins)} shadowed by the twin",
            f"Answered by {version} and sealed in batches.",
        ),
        (
            "Observations lost",
            count(sum(row["dropped"] for row in batches)),
            f"newest batch {age(newest['time'])}",
            "What full queues dropped: monitoring never holds up an answer.",
        ),
    ]


def _drift(model: Model) -> None:
    st.subheader("Drift of the inputs")
    if not model.drift:
        st.caption("No drift report yet: one is made for every full window of requests.")
        return
    newest = model.drift[-1]
    st.markdown(
        f"Version {newest['number']}, {clock(newest['time'])} UTC ({age(newest['time'])}): "
        f"**{newest['drifted']}** of {newest.get('columns', '?')} columns drifted."
    )
    book = frame.book()
    try:
        columns = columns_of(book.content(newest["refs"]["report"]))
    except PruneGuardError as error:
        st.warning(f"The report cannot be shown: {plain(error)}")
        return
    if columns:
        st.altair_chart(charts.drift(columns), alt="drift score of every column against its threshold")
    if html := newest["refs"].get("html"):
        st.download_button(
            "Download Evidently's full report (HTML)",
            lambda: book.content(html),
            file_name=f"drift-{model.name}-{newest['index']}.html",
            mime="text/html",
            on_click="ignore",
        )


def _alarms(model: Model) -> None:
    st.subheader("Alarms")
    if not model.alarms:
        st.caption("None was raised.")
        return
    for alarm in reversed(model.alarms):
        with st.container(border=True):
            status = model.releases[alarm.number].status
            st.markdown(
                f"{badge('alarm', '▼', 'red')} **Version {alarm.number}** (now {status.value}), "
                f"{clock(alarm.time)} UTC ({age(alarm.time)})"
            )
            st.markdown(f"{plain(alarm.detector)}: {plain(cause(alarm.cause))}.")
            st.caption(f"Evidence: {plain(facts(alarm.data.get('evidence', '–')))}")


def _batch_row(position: int, batch: Mapping[str, Any]) -> dict[str, Any]:
    value, twins, flips = number(batch.get("evalue")), int(batch.get("twin_runs", 0)), int(batch.get("flips", 0))
    return {
        "batch": position + 1,
        "version": f"version {batch['number']}",
        "rows": int(batch.get("rows", 0)),
        "twin_runs": twins,
        "flip_count": flips,
        "dropped": int(batch.get("dropped", 0)),
        "flips": 100 * flips / twins if twins else None,
        "log10": min(math.log10(value), LOG10_MAX) if value is not None and value > 0 else None,
        "time": clock(batch["time"]),
    }


def _certified_flips(model: Model, verdict: str) -> float | None:
    """Upper bound of the flip share, in percent, that the verdict of a release certified."""
    given = model.verdict(verdict)
    try:
        measured = frame.book().measured(given).get("quality.flips") if given else None
    except PruneGuardError:
        return None  # the numbers of traffic do not depend on it; the Model page says what is wrong with the evidence
    return 100 * measured.high if isinstance(measured, Estimate) and measured.high is not None else None


def number(text: object) -> float | None:
    """A number that travelled as text; None where there is none."""
    try:
        value = float(str(text))
    except ValueError:
        return None
    return None if math.isnan(value) else value
