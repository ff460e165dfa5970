"""Audit trail: every entry of the ledger, one entry with its proof, and the whole of it verified on the spot."""

import math

import streamlit as st

from dashboards import frame
from dashboards.proofs import signature
from dashboards.reading import SEARCHED_MAX, Line, Reading
from dashboards.wording import badge, clock, count, plain, sentence
from pruneguard.errors import PruneGuardError
from pruneguard.ledger.events import CATALOGUE

PAGE_ROWS = 25

GUARANTEE = (
    "**Guarantee: self-signed only.** The ledger's own key signs every checkpoint, and people's keys their decisions. "
    "An edit of what a checkpoint covers is found. Whoever holds the ledger's key could still present another history "
    "to somebody else: no witness outside this service has countersigned a checkpoint."
)


def page() -> None:
    st.title("Audit trail")
    _verification(frame.book().now())
    reading = frame.book().now()
    if not reading.state.size:
        st.stop()
    found = _search(reading)
    _one(reading, found)


def _verification(reading: Reading) -> None:
    left, right = st.columns([3, 1], vertical_alignment="center")
    left.markdown(GUARANTEE)
    if right.button("Verify now", type="primary", width="stretch", help="Hash every entry again, as it is stored now"):
        with st.spinner(f"Hashing {count(reading.state.size)} entries …"):
            reading = frame.book().verify()
        if reading.trouble is None:
            st.success(
                f"All {count(reading.state.size)} entries hash to the root in the checkpoint that the ledger's key "
                f"signed. Verified {clock(reading.read_at)}.",
                icon="✅",
            )
        else:
            st.error(f"Verification failed. {plain(reading.trouble.found)}", icon="⚠️")
    for index, why in reading.state.violations[-10:]:
        st.warning(f"Entry #{index} broke a rule and has no effect: {plain(why)}")


def _search(reading: Reading) -> list[int]:
    left, middle, right = st.columns(3)
    types = left.multiselect("Type of event", sorted(CATALOGUE), key="type", bind="query-params", placeholder="All")
    models = ["All", *sorted(reading.state.models)]
    model = middle.selectbox("About model", models, key="about", bind="query-params")
    text = right.text_input(
        "Text in the event", key="text", bind="query-params", placeholder="A name, a reason, a digest", max_chars=200
    )
    try:
        found = frame.book().find(types=types, model=None if model == "All" else model, text=text or "")
    except PruneGuardError as error:
        st.warning(f"The log cannot be searched: {plain(error)}")
        return []
    if found.stopped_at is not None:
        st.caption(f"The newest {count(SEARCHED_MAX)} were searched, back to entry #{found.stopped_at}. Narrow by type or model.")
    return list(_page(found.indices))


def _page(indices):  # type: ignore[no-untyped-def]
    pages = max(1, math.ceil(len(indices) / PAGE_ROWS))
    at = 1
    if pages > 1:
        at = st.number_input(f"Page (1 to {pages})", 1, pages, 1, width=200)
    return indices[(at - 1) * PAGE_ROWS : at * PAGE_ROWS]
