"""Releases: what is on its way to traffic, who must agree, and the way back."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboards import frame
from dashboards.reading import Line, Reading
from dashboards.standing import awaits
from dashboards.wording import age, clock, count, look, now, percent, plain, sentence, short, since
from pruneguard import releases
from pruneguard.errors import PruneGuardError
from pruneguard.ledger.state import Model, Release, Role, State, Status

TURNS = (
    *("release.proposed", "release.approved", "release.held", "release.resumed", "release.rolled_back"),
    *("traffic.shifted", "traffic.copied", "traffic.diverted", "traffic.restored", "alarm.raised"),
)
TURNS_MAX = 100


def page() -> None:
    st.title("Releases")
    reading = frame.reading_or_stop()
    model = frame.choose_model(reading)
    _live(model)
    _roll_back(reading, frame.again(model))
    _timeline(model)


@st.fragment(run_every=frame.REFRESH_S)
def _live(chosen: Model) -> None:
    state, model = frame.book().now().state, frame.again(chosen)
    if not model.releases:
        st.info("No version was proposed yet. A run proposes the sparsest candidate that passes every rule.")
        return
    if (diverted := model.diverted) is not None:
        st.error(
            f"⏻ **Diverted by {plain(diverted.by)}** since {clock(diverted.time)} UTC: "
            f"{f'version {diverted.to} answers everything' if diverted.to else 'nothing answers'}. "
            f"{plain(diverted.reason)}. Back: `pruneguard restore {plain(model.name)}`."
        )
    if (canary := model.canary) is not None:
        _canary(state, canary)
    for release in model.releases.values():
        if release.waivers and release.status not in (Status.RETIRED, Status.ROLLED_BACK):
            st.warning(f"§ **Version {release.number}** {plain(releases.told_waivers(state, release, now(state)))}")
        if release.status is Status.PROPOSED:
            st.warning(
                f"✎ **Version {release.number} waits.** {plain(awaits(state, release))}. They sign with their own key:"
            )
            st.code(f"pruneguard approve {model.name} {release.number} --reason '…'", language=None)
    st.table(
        [_row(state, model, release) for release in sorted(model.releases.values(), key=lambda r: -r.number)],
        border="horizontal",
        alt="Versions, newest first",
    )


def _canary(state: State, canary: Release) -> None:
    st.markdown(
        f"{look(Status.CANARY)} **Version {canary.number}** answers {percent(canary.share, 0)} of the requests "
        f"since {clock(canary.changed_at)} UTC ({age(canary.changed_at)})."
    )
    if canary.held is not None:
        st.warning(
            f"‖ Held by {plain(canary.held.by)}: {plain(canary.held.reason)}. Nobody gives it more until resumed."
        )
    step = releases.told_step(state, canary, now(state))
    if step is not None:
        needed, left = step["requests_min"], step["seconds_left"]
        more = f", {left} s left" if left else ""
        st.progress(
            min(step["answered"] / needed, 1.0),
            f"{count(step['answered'])} of {count(needed)} requests sealed{more}; after them, if it is no worse than "
            f"what is live, it takes {percent(step['next'], 0)}",
        )


def taken(model: Model, release: Release) -> float:
    """The share of the requests that a version answers: the live one leaves a canary its part."""
    canary = model.canary
    return release.share - (canary.share if canary is not None and release.status is Status.LIVE else 0.0)


def answered(model: Model, release: Release) -> int:
    """Requests in the sealed batches of one version."""
    return sum(int(batch.get("rows", 0)) for batch in model.batches if batch["number"] == release.number)


def _row(state: State, model: Model, release: Release) -> dict[str, str]:
    adopted = state.policies.get(release.policy)
    return {
        "Version": f"**{release.number}** {short(release.digest)}",
        "State": look(release.status),
        "Since (UTC)": since(release.changed_at),
        "Traffic": percent(taken(model, release), 0),
        "Approvals": f"{len(release.approvals)} of {release.approvals_min}"
        + (f": {plain(releases.told_approvals(release))}" * bool(release.approvals)),
        "Made by": plain(", ".join(sorted(release.makers))),
        "Policy": f"{plain(adopted.name)} version {adopted.version}" if adopted else short(release.policy),
    }


# -- the way back ---------------------------------------------------------------------------------------------------


def _roll_back(reading: Reading, model: Model) -> None:
    st.subheader("Roll back")
    done: Mapping[str, Any] = st.session_state.pop("rolled_back", {})
    if done.get("model") == model.name:
        _show_done(done["line"])
    release = model.canary or model.live
    target = model.live if model.canary else model.fallback
    if release is None:
        st.caption("No version takes traffic; there is nothing to roll back.")
        return
    if target is None:
        st.caption(f"Version {release.number} is the first that was ever live; there is no earlier one to return to.")
        return
    if reading.trouble is not None:
        st.warning("Blocked until the ledger can be read and verified: see above.")
        return
    operators = sorted(p.actor for p in reading.state.people.values() if Role.OPERATOR in p.roles)
    with st.form(f"roll back {model.name}"):
        st.markdown(
            f"**Version {release.number}** {short(release.digest)} ({release.status.value}, "
            f"{percent(taken(model, release), 0)} of the traffic) stops answering. **Version {target.number}** "
            f"{short(target.digest)} answers every request from then on, within a second and without failing any. "
            "One operator is enough. What is recorded names the operator but carries no signature of theirs: for that, "
            f"use `pruneguard rollback {plain(model.name)}`."
        )
        actor = st.selectbox(
            "Operator (who you are)",
            operators,
            index=None,
            placeholder="Choose your id" if operators else "Nobody is registered as operator",
            width=360,
        )
        reason = st.text_input("Reason (recorded for good)", max_chars=500, placeholder="What was seen, and where")
        if st.form_submit_button(f"Roll back to version {target.number}", type="primary"):
            _act(model, actor, reason)


def _act(model: Model, actor: str | None, reason: str) -> None:
    if actor is None or not reason.strip():
        missing = " and ".join(name for name, given in (("operator", actor), ("reason", reason.strip())) if not given)
        st.error(f"Nothing was rolled back: {missing} missing.")
        return
    try:
        line = frame.book().roll_back(model=model.name, reason=reason.strip(), actor=actor)
    except PruneGuardError as error:
        st.error(f"Nothing was rolled back: {plain(error)}")
        return
    # Shown by the next run of the page, which also shows the new state; the form there is another one.
    st.session_state["rolled_back"] = {"model": model.name, "line": line}
    st.rerun()


def _show_done(line: Line) -> None:
    data = line.entry.event.data
    st.success(
        f"Version {data['number']} was rolled back; version {data['to']} answers. Entry {line.index} of the ledger:",
        icon="↩️",
    )
    st.code(line.raw.decode(), language="json", wrap_lines=True)


# -- what happened --------------------------------------------------------------------------------------------------


@st.fragment(run_every=frame.REFRESH_S)
def _timeline(model: Model) -> None:
    st.subheader("What happened")
    book = frame.book()
    try:
        found = book.find(types=TURNS, model=model.name).indices
        lines = book.lines(found[:TURNS_MAX])
    except PruneGuardError as error:
        st.warning(f"The timeline cannot be shown: {plain(error)}")
        return
    if not lines:
        st.caption("Nothing yet.")
        return
    st.table(
        [
            {
                "When (UTC)": clock(line.entry.event.time),
                "Age": age(line.entry.event.time).replace(" ", "\xa0"),
                "Event": plain(line.entry.event.type),
                "By": plain(line.entry.event.actor) + (" (signed)" if line.entry.envelope else ""),
                "What": plain(sentence(line.entry.event)),
                "Entry": f"#{line.index}",
            }
            for line in lines
        ],
        border="horizontal",
        alt="Turns of every release, newest first",
    )
    if len(found) > TURNS_MAX:
        st.caption(f"{count(len(found) - TURNS_MAX)} older ones on the Audit trail page.")
