"""Fleet: which model is in trouble, and why. Worst first."""

import streamlit as st

from dashboards import frame
from dashboards.standing import Assessment, Standing, fleet
from dashboards.views import model, monitoring, releases
from dashboards.wording import count, percent, plain, short, since

CARDS_MAX = 12


def page() -> None:
    st.title("Fleet")
    frame.reading_or_stop()
    _live()


@st.fragment(run_every=frame.REFRESH_S)
def _live() -> None:
    models = fleet(frame.book().now().state)
    _totals(models)
    needing = [a for a in models if a.standing < Standing.CANARY]
    if needing:
        st.subheader("Needs somebody")
        for assessment in needing[:CARDS_MAX]:
            _card(assessment)
        if len(needing) > CARDS_MAX:
            st.caption(f"{len(needing) - CARDS_MAX} more in the table below.")
    else:
        st.success("Nothing waits for a person: no alarm stands, no approval is missing.", icon="✅")
    st.subheader("Every model")
    st.table([_row(a) for a in models], border="horizontal", alt="State of every model, worst first")


def _totals(models: list[Assessment]) -> None:
    trouble = sum(a.standing <= Standing.ROLLED_BACK for a in models)
    waiting = sum(a.standing is Standing.AWAITING_APPROVAL for a in models)
    canaries = sum(a.canary is not None for a in models)
    for column, (label, value) in zip(
        st.columns(5),
        [
            ("Models", len(models)),
            ("▼ In trouble", trouble),
            ("✎ Awaiting approval", waiting),
            ("◐ In canary", canaries),
            ("Requests sealed", sum(a.rows for a in models)),
        ],
        strict=True,
    ):
        column.metric(label, count(value), border=True)


def _card(assessment: Assessment) -> None:
    with st.container(border=True):
        st.markdown(f"{assessment.standing.badge} **{plain(assessment.model)}**")
        st.markdown(plain(assessment.why[:1].upper() + assessment.why[1:]) + ".")
        with st.container(horizontal=True):
            for view in (model, monitoring, releases):
                name = view.__name__.rpartition(".")[2]
                st.page_link(
                    st.Page(view.page, url_path=name), label=name.title(), query_params={"model": assessment.model}
                )


def _row(assessment: Assessment) -> dict[str, str]:
    live, canary, alarm = assessment.live, assessment.canary, assessment.last_alarm
    return {
        "State": assessment.standing.badge,
        "Model": f"**{plain(assessment.model)}**",
        "Live": f"version {live.number}  \n{short(live.digest)}" if live else "none",
        "Live since (UTC)": since(live.changed_at) if live else "–",
        "Canary": f"version {canary.number}  \n{percent(canary.share, 0)} of traffic" if canary else "–",
        "Requests": count(assessment.rows),
        "Last alarm (UTC)": f"{since(alarm.time)}, version {alarm.number}" if alarm else "never",
    }
