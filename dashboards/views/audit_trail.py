"""Audit trail: every entry of the ledger, one entry with its proof, and the whole of it verified on the spot."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import streamlit as st

from dashboards import frame
from dashboards.proofs import signature
from dashboards.reading import SEARCHED_MAX, Line, Reading
from dashboards.wording import badge, clock, count, plain, sentence
from policies.framework import load_frameworks, shipped
from pruneguard.audit.anchoring import NOTHING, SELF_SIGNED
from pruneguard.audit.controls import Row, State
from pruneguard.audit.frameworks import Framework
from pruneguard.errors import PruneGuardError
from pruneguard.ledger.events import CATALOGUE, Entry

PAGE_ROWS = 25
ALL = "All"
SEALS = {True: badge("verified", "✓", "green"), False: badge("does not verify", "✕", "red")}
STATES: Mapping[State, tuple[str, str]] = {
    State.EVIDENCED: ("●", "green"),
    State.PARTIAL: ("◐", "blue"),
    State.STALE: ("◷", "orange"),
    State.CONTRADICTED: ("✕", "red"),
    State.STATEMENT_ONLY: ("§", "violet"),
    State.NONE: ("–", "gray"),
}
FRAMEWORK = "nist-ai-rmf"

GUARANTEE = (
    "The ledger's own key signs every checkpoint, and people's keys their decisions. An edit of what a checkpoint "
    "covers is found, and so is a ledger that does not continue what this dashboard saw before. "
)
ALONE = (
    "Whoever holds the ledger's key could still present another history to somebody else: no witness outside this "
    "service has countersigned a checkpoint."
)
WITNESSED = (
    "The witnesses below countersigned it. How independent they are of this service, an auditor decides with a trust "
    "policy of their own: `pruneguard audit verify --trust`."
)


def page() -> None:
    st.title("Audit trail")
    _verification(frame.book().now())
    reading = frame.book().now()
    if not reading.state.size:
        st.stop()
    _search(reading)
    _one(reading)
    _controls(reading)


def _verification(reading: Reading) -> None:
    left, right = st.columns([3, 1], vertical_alignment="center")
    with left:
        _guarantee()
    if right.button("Verify now", type="primary", width="stretch", help="Hash every entry again, as it is stored now"):
        with st.spinner(f"Hashing {count(reading.state.size)} entries …"):
            reading = frame.book().verify()
        if reading.trouble is None:
            st.success(
                f"All {count(reading.state.size)} entries hash to the root in the checkpoint that the ledger's key "
                f"signed. Verified {clock(reading.read_at)} UTC.",
                icon="✅",
            )
        else:
            st.error(f"Verification failed. {plain(reading.trouble.found)}", icon="⚠️")
    for index, why in reading.state.violations[-10:]:
        st.warning(f"Entry #{index} broke a rule and has no effect: {plain(why)}")


def _guarantee() -> None:
    try:
        found = frame.book().anchoring()
    except PruneGuardError as error:
        st.warning(f"What witnesses countersigned cannot be read: {plain(error)}")
        return
    witnessed = found.guarantee not in (NOTHING, SELF_SIGNED)
    st.markdown(f"**Guarantee: {found.guarantee}.** {GUARANTEE}{WITNESSED if witnessed else ALONE}")
    for place, why in found.faults:
        st.error(f"{plain(place)}: {plain(why)}", icon="⚠️")
    for remark in found.remarks:
        st.caption(plain(remark))


def _search(reading: Reading) -> None:
    left, middle, right = st.columns(3)
    types = left.multiselect("Type of event", sorted(CATALOGUE), key="type", bind="query-params", placeholder="All")
    about = middle.selectbox("About model", [ALL, *sorted(reading.state.models)], key="about", bind="query-params")
    text = right.text_input(
        "Text in the event", key="text", bind="query-params", placeholder="A name, a reason, a digest", max_chars=200
    )
    try:
        found = frame.book().find(types=types, model=None if about == ALL else about, text=text or "")
        lines = frame.book().lines(_page(found.indices))
    except PruneGuardError as error:
        st.warning(f"The log cannot be searched: {plain(error)}")
        return
    if found.stopped_at is not None:
        st.caption(
            f"The newest {count(SEARCHED_MAX)} were searched, back to entry #{found.stopped_at}. "
            "Narrow by type or model."
        )
    if gone := sum(end - start for start, end in reading.state.absent):
        st.caption(
            f"Retention dropped what {count(gone)} entries said; their hashes are in the tree, and no line shows them."
        )
    if not lines:
        st.info("No entry matches. Clear a filter.")
        return
    st.table([_row(reading, line) for line in lines], border="horizontal", alt="Ledger entries, newest first")


def _page(indices: Sequence[int]) -> Sequence[int]:
    pages = max(1, math.ceil(len(indices) / PAGE_ROWS))
    if pages == 1:
        st.caption(f"{count(len(indices))} entries, newest first")
        return indices
    at = st.number_input(
        f"Page, of {pages} ({count(len(indices))} entries, newest first)", 1, pages, 1, key="page", width=320
    )
    return indices[(at - 1) * PAGE_ROWS : at * PAGE_ROWS]


def _row(reading: Reading, line: Line) -> dict[str, str]:
    event = line.entry.event
    return {
        "Entry": f"#{line.index}",
        "When (UTC)": clock(event.time),
        "Event": plain(event.type),
        "Model": plain(event.data.get("model", "–")),
        "By": plain(event.actor),
        "Signature": _seal(reading, line),
        "What": plain(sentence(event)) or "–",
    }


def _seal(reading: Reading, line: Line) -> str:
    stands, _ = signature(reading.state, line.entry)
    return "–" if stands is None else SEALS[stands]


def _one(reading: Reading) -> None:
    """One entry, its signature and its proof, read and checked when asked for."""
    st.subheader("One entry, proven")
    last = reading.state.size - 1
    if st.session_state.get("entry", 0) > last:  # an address may name an entry that is not there
        st.warning(f"There is no entry #{st.session_state['entry']}; the newest is #{last}.")
        st.session_state["entry"] = last
    index = st.number_input("Entry", 0, last, last, key="entry", bind="query-params", width=200)
    try:
        proof = frame.book().prove(index)
    except PruneGuardError as error:
        st.error(f"Entry #{index} cannot be proven: {plain(error)}")
        return
    inclusion = (
        f"The signed tree of {count(proof.size)} entries holds exactly these bytes as entry #{index}: "
        f"{len(proof.hashes)} hashes lead from their leaf to the root of the checkpoint."
        if proof.included
        else f"The bytes stored as entry #{index} are **not** those in the signed tree: they were changed."
    )
    st.markdown(f"{SEALS[proof.included]} **Inclusion.** {inclusion}")
    _event(reading, proof.raw)
    with st.expander("Raw bytes, hashes and proof"):
        st.code(proof.raw.decode(errors="backslashreplace"), language=None, wrap_lines=True)
        st.code(f"leaf  {proof.leaf.hex()}\nroot  {proof.root.hex()}", language=None)
        st.code(proof.file.decode(), language=None)
        st.download_button(
            "Download the proof (C2SP tlog-proof)",
            proof.file,
            f"entry-{index}.tlog-proof",
            "text/plain",
            on_click="ignore",
        )


def _controls(reading: Reading) -> None:
    """A framework's controls, each with its state and the entries that it rests on."""
    st.subheader("Controls")
    left, middle, right = st.columns(3)
    names = shipped()
    chosen = left.selectbox("Framework", names, names.index(FRAMEWORK), key="framework", bind="query-params")
    framework = _framework(chosen or FRAMEWORK)
    model = middle.selectbox("For model", [ALL, *sorted(reading.state.models)], key="for", bind="query-params")
    functions = [group.id for group in framework.groups if group.parent is None]
    function = right.selectbox("Part", functions, key=f"part-{framework.name}")
    st.caption(f"{plain(framework.title)}. {plain(framework.note)}")
    try:
        rows = frame.book().controls(framework, model=None if model == ALL else model)
    except PruneGuardError as error:
        st.warning(f"The controls cannot be read: {plain(error)}")
        return
    st.table(
        [_control(row) for row in rows if framework.function(row.control).id == function],
        border="horizontal",
        alt=f"Controls of {framework.title}: {function}",
    )


def _control(row: Row) -> dict[str, str]:
    said = [plain(found.why) for found in row.against] + ([plain(row.shown)] if row.shown else [])
    missing = [f"**Missing.** {plain('; '.join(row.missing))}."] if row.missing else []
    return {
        "Control": f"**{plain(row.control.id)}** {plain(row.control.asks)}",
        "Class": row.control.automation.value,
        "State": badge(row.state.value, *STATES[row.state]),
        "Entries": ", ".join(f"#{index}" for index in row.positions) or "–",
        "What they show": " ".join([*said, *missing]) or "–",
    }


@lru_cache
def _framework(name: str) -> Framework:
    return Framework.decode(load_frameworks([name])[name])


def _event(reading: Reading, raw: bytes) -> None:
    """What an entry says, out of its envelope, and whose signature stands on it."""
    try:
        entry = Entry.decode(raw)
    except PruneGuardError as error:
        st.error(f"These bytes are no event: {plain(error)}")
        return
    stands, words = signature(reading.state, entry)
    st.markdown(f"{badge('unsigned', '–', 'gray') if stands is None else SEALS[stands]} **Signature.** {plain(words)}")
    st.caption(f"{entry.event.type}, {count(len(raw))} bytes as hashed")
    payload = entry.envelope.payload if entry.envelope else raw
    st.code(json.dumps(json.loads(payload), indent=2, ensure_ascii=False), language="json", wrap_lines=True)
