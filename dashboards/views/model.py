"""Model: what was cut from what, what the policy found, and what would have to change."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboards import charts, frame
from dashboards.measures import Measures
from dashboards.reading import Book, Reading
from dashboards.standing import assess
from dashboards.wording import badge, clock, count, facts, look, plain, short, since
from pruneguard import releases
from pruneguard.errors import PruneGuardError
from pruneguard.ledger.state import GivenVerdict, Model, Release
from pruneguard.verdict import Finding, Outcome, Verdict

NOTHING = Measures.of({})


def page() -> None:
    st.title("Model")
    reading = frame.reading_or_stop()
    model = frame.choose_model(reading)
    _head(reading, model)
    measures = {verdict.digest: _measures(verdict) for verdict in model.verdicts}
    _tradeoff(model, measures)
    _versions(model, measures)
    _verdict(model, measures)
    _rejected(model, measures)
    _data(model)
    _lineage(model)


def _head(reading: Reading, model: Model) -> None:
    assessment = assess(reading.state, model)
    st.markdown(f"{assessment.standing.badge} {plain(assessment.why[:1].upper() + assessment.why[1:])}.")


def _measures(verdict: GivenVerdict) -> Measures:
    try:
        return Measures.of(frame.book().measured(verdict))
    except PruneGuardError as error:
        st.warning(f"The evidence of candidate {short(verdict.candidate)} cannot be shown: {plain(error)}")
        return NOTHING


def _tradeoff(model: Model, measures: Mapping[str, Measures]) -> None:
    st.subheader("What pruning cost")
    points = [_point(v, m) for v in model.verdicts if (m := measures[v.digest]).accuracy and m.parameter_ratio]
    if not points:
        st.caption("No judged candidate yet: every verdict of a search becomes a point here.")
        return
    twin = next((m.twin_accuracy.value for m in measures.values() if m.twin_accuracy), None)
    st.altair_chart(
        charts.tradeoff(points, twin_accuracy=None if twin is None else 100 * twin),
        alt="Accuracy with its interval over parameters kept, for every judged candidate; passed ones are round, "
        "rejected ones are crosses. The same numbers stand in the tables below.",
    )


def _point(verdict: GivenVerdict, measures: Measures) -> dict[str, Any]:
    accuracy, ratio = measures.accuracy, measures.parameter_ratio
    assert accuracy is not None
    assert ratio is not None
    low, high = (None if end is None else 100 * end for end in (accuracy.low, accuracy.high))
    return {
        "candidate": verdict.candidate.partition(":")[2][:12],
        "verdict": "passed" if verdict.passed else "rejected",
        "kept": 100 * ratio.value,
        "accuracy": 100 * accuracy.value,
        "low": low,
        "high": high,
        "interval": "–" if low is None or high is None else f"{low:.2f} to {high:.2f}",
        "split": verdict.split,
        "size": measures.size_text,
        "latency": measures.latency_text,
    }


def _versions(model: Model, measures: Mapping[str, Measures]) -> None:
    st.subheader("Versions")
    if not model.releases:
        st.caption("None was proposed for release yet.")
        return
    rows = []
    for release in sorted(model.releases.values(), key=lambda r: -r.number):
        of = measures.get(release.verdict, NOTHING)
        rows.append(
            {
                "Version": f"**{release.number}**  \n{short(release.digest)}",
                "State": f"{look(release.status)}{_waived(model, release)}",
                "Since (UTC)": since(release.changed_at),
                "Accuracy [95 %]": of.accuracy_text,
                "Parameters kept": of.kept_text,
                "Latency / twin's": of.latency_text,
                "File": of.size_text,
                "Approved by": plain(releases.told_approvals(release)) or "–",
            }
        )
    st.table(rows, border="horizontal", alt="Versions, newest first")


def _waived(model: Model, release: Release) -> str:
    if not release.waivers:
        return ""
    verdict = model.by_digest[release.verdict]
    score = f"{verdict.score()} rules pass, {verdict.score(len(release.waivers))} with waivers"
    return f"  \n{look(Outcome.WAIVED)} failed; {score}"


def _verdict(model: Model, measures: Mapping[str, Measures]) -> None:
    st.subheader("Verdicts")
    if not model.verdicts:
        st.caption("None was given yet.")
        return
    given = list(reversed(model.verdicts))
    released = {release.verdict: release.number for release in model.releases.values()}

    def label(position: int) -> str:
        verdict = given[position]
        version = f"version {released[verdict.digest]}, " if verdict.digest in released else ""
        words = "passed" if verdict.passed else f"rejected for {count(len(verdict.objections))} reason(s)"
        kept = measures[verdict.digest].kept_text
        return f"#{verdict.index}: {version}{words}, {kept} of the parameters, {verdict.split} split"

    at = st.selectbox("Verdict", range(len(given)), format_func=label, width=640)
    try:
        document = frame.book().verdict(given[at].digest)
        policy = frame.book().policy(given[at].policy)
    except PruneGuardError as error:
        st.warning(f"The verdict's document cannot be shown: {plain(error)}")
        return
    passed = sum(finding.allows for finding in document.findings)
    st.markdown(
        f"{_said(document)} {count(passed)} of {count(len(document.findings))} rules of policy "
        f"**{plain(policy.name)}** version {policy.version} hold. Candidate {short(document.candidate)}, "
        f"twin {short(document.twin)}, data {short(document.data)}."
    )
    st.table([_finding(f) for f in _worst_first(document)], border="horizontal", alt="Findings, objections first")
    _digests("Digests of this verdict", _names(document, given[at]))


def _said(verdict: Verdict | GivenVerdict) -> str:
    return badge("passed", "✓", "green") if verdict.passed else badge("rejected", "✕", "red")


def _worst_first(document: Verdict) -> list[Finding]:
    return sorted(document.findings, key=lambda finding: finding.allows)


def _finding(finding: Finding) -> dict[str, str]:
    return {
        "Outcome": look(finding.outcome),
        "Rule": plain(finding.rule),
        "Observed": plain(finding.observed),
        "Required": plain(finding.required),
        "What would flip it": plain(finding.flip) or "–",
        "What to do": "–" if finding.allows else plain(finding.remedy),
    }


def _rejected(model: Model, measures: Mapping[str, Measures]) -> None:
    rejected = [verdict for verdict in reversed(model.verdicts) if not verdict.passed]
    if not rejected:
        return
    st.subheader("Rejected candidates, with every reason")
    for verdict in rejected:
        kept = measures[verdict.digest].kept_text
        with st.container(border=True):
            st.markdown(
                f"{_said(verdict)} {short(verdict.candidate)}, {kept} of the parameters, entry #{verdict.index}"
            )
            st.markdown("\n".join(f"- {reason}" for reason in _reasons(frame.book(), verdict)))


def _reasons(book: Book, verdict: GivenVerdict) -> list[str]:
    try:
        found = book.verdict(verdict.digest).objections
    except PruneGuardError:
        told = verdict.objections.items()
        return [
            plain(f"{rule}: {outcome}") for rule, outcome in told
        ]  # the log names them even where the document is lost
    return [
        f"**{plain(f.rule)}** ({f.outcome.value}): {plain(f.observed)}; required {plain(f.required)}" for f in found
    ]


def _data(model: Model) -> None:
    """What was found in the rows before anything was trained on them: the page of the newest admission."""
    st.subheader("Data")
    book = frame.book()
    try:
        lines = book.lines(book.find(types=["data.admitted"], model=model.name).indices[:1])
        digest = lines[0].entry.event.refs.get("page") if lines else None
        content = None if digest is None else book.content(digest)
    except PruneGuardError as error:
        st.warning(f"The page about the data cannot be shown: {plain(error)}")
        return
    if not lines:
        st.caption("None was admitted yet.")
        return
    event = lines[0].entry.event
    st.markdown(f"Newest snapshot: {short(event.refs['data'])}, admitted {clock(event.time)} UTC.")
    if content is not None:
        name = f"{model.name}-data.html"
        st.download_button("Download what was found in it", content, name, "text/html", on_click="ignore")


def _lineage(model: Model) -> None:
    st.subheader("Lineage")
    book = frame.book()
    try:
        cuts = [line.entry.event for line in book.lines(book.find(types=["model.pruned"], model=model.name).indices)]
    except PruneGuardError as error:
        st.warning(f"The lineage cannot be shown: {plain(error)}")
        return
    if not cuts:
        st.caption("Nothing was pruned yet.")
        return
    judged = {verdict.candidate: verdict for verdict in model.verdicts}
    versions = {release.digest: release.number for release in model.releases.values()}
    rows = []
    for event in cuts:
        candidate = event.refs["model"]
        verdict = judged.get(candidate)
        said = "–" if verdict is None else _said(verdict)
        rows.append(
            {
                "Dense twin": short(event.refs["parent"]),
                "How it was cut": f"→ {plain(facts(event.data['recipe']))} →",
                "Candidate": short(candidate),
                "Verdict": said,
                "Version": str(versions.get(candidate, "–")),
                "Cut (UTC)": clock(event.time),
            }
        )
    st.table(rows, border="horizontal", alt="From twin to candidate, newest first")
    _digests(
        "Digests of the lineage",
        {
            f"{name} of #{position}": event.refs[key]
            for position, event in zip(range(len(cuts), 0, -1), cuts, strict=True)
            for name, key in (("twin", "parent"), ("candidate", "model"), ("lineage", "lineage"))
        },
    )


def _names(document: Verdict, given: GivenVerdict) -> dict[str, str]:
    evidence = {f"evidence {n}": digest for n, digest in enumerate(document.evidence, 1)}
    return {
        "verdict": given.digest,
        "candidate": document.candidate,
        "twin": document.twin,
        "data": document.data,
        "policy": document.policy,
        **evidence,
    }


def _digests(title: str, digests: Mapping[str, str]) -> None:
    """Full digests, to be copied."""
    width = max(map(len, digests))
    with st.expander(title):
        st.code("\n".join(f"{name:<{width}}  {digest}" for name, digest in digests.items()), language=None)
