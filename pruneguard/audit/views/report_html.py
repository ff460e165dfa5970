"""report.html: what answered, on what grounds, and in what state each control is, on one page without needs."""

from collections.abc import Iterator

from pruneguard.audit import bundle
from pruneguard.audit.controls import Row
from pruneguard.audit.frameworks import Automation
from pruneguard.audit.views import report_plots as plots
from pruneguard.audit.views.assessed import NOTICE, Assessed
from pruneguard.audit.views.drawing import page
from pruneguard.audit.views.markup import Markup, table, tag
from pruneguard.audit.views.oscal import token
from pruneguard.audit.views.story import Course, read, spans
from pruneguard.ledger.events import Event
from pruneguard.verdict import Finding, Outcome

SHOWN = 40
"""Versions and stretches of traffic that the page lists, the newest; the log holds all."""
DOCUMENTS_SHOWN = 6
HALVES = {
    Automation.SYSTEM: "by records alone",
    Automation.SHARED: "by records and a person's statement",
    Automation.HUMAN: "by a person alone",
}


def render(assessed: Assessed) -> bytes:
    """The page, in UTF-8."""
    title = f"{assessed.selection.model}: {assessed.framework.title}"
    sections = (_grounds(assessed), _traffic(assessed), _releases(assessed), _controls(assessed), _checking(assessed))
    return page(title, _top(assessed), tag("main", sections), tag("footer", tag("p", NOTICE)))


def _top(assessed: Assessed) -> Markup:
    selection, framework = assessed.selection, assessed.framework
    facts = (
        ("Model", selection.model),
        ("Span", f"{selection.start or 'the first entry'} to {selection.end or 'the last entry'}"),
        ("As of", assessed.at),
        ("Log", f"{selection.checkpoint.origin}, {selection.checkpoint.size} entries"),
        ("Root", tag("code", selection.checkpoint.root.hex())),
        ("Framework", _anchor(framework.title, assessed.link(bundle.framework_path(framework.name)))),
        ("Its file", tag("code", framework.digest)),
    )
    dates = [(milestone.date, milestone.what, milestone.source) for milestone in framework.dates]
    return tag(
        "header",
        tag("h1", f"{selection.model}: what was in production, on what grounds"),
        tag("p", f"{framework.title}. {framework.source}.", class_="quiet"),
        tag("p", tag("strong", NOTICE), class_="notice"),
        tag("dl", [(tag("dt", name), tag("dd", value)) for name, value in facts]),
        table("Dates of the framework, as data; have somebody confirm them", ("Date", "What", "Source"), dates)
        if dates
        else "",
    )


def _grounds(assessed: Assessed) -> Markup:
    return tag(
        "section",
        tag("h2", "What this page rests on"),
        tag(
            "p",
            "Every statement here is made from entries of an append-only log and from documents that those entries "
            "name by digest. The page is a function of both: whoever verifies the bundle makes it again and compares "
            "it byte for byte. Numbers in brackets are positions in the log; each leads to the file that proves it.",
        ),
        tag(
            "p",
            tag("strong", "Signed"),
            " means that a person's own key signed the act. ",
            tag("strong", "Server-attested"),
            " is less: the service says that somebody clicked, and no key of theirs shows it.",
        ),
        tag(
            "p",
            "What a page cannot say of itself is how far the log can be believed. That is the guarantee which the "
            "verifier prints: ",
            tag("strong", "self-signed only"),
            " (its operator could have shown somebody else another history), ",
            tag("strong", "held"),
            " (it continues a checkpoint that you kept), ",
            tag("strong", "witnessed in the same trust domain"),
            ", or ",
            tag("strong", "k of n independent"),
            ", by witnesses whom you name.",
        ),
    )


# -- what answered --------------------------------------------------------------------------------------------------


def _traffic(assessed: Assessed) -> Markup:
    selection = assessed.selection
    found = spans(selection, assessed.at)
    heading = tag("h2", "What answered")
    if not found:
        return tag("section", heading, tag("p", "No version of this model took traffic in the span."))
    begin = max(selection.start or found[0].start, found[0].start)
    newest = found[-SHOWN:][::-1]
    rows = [
        (
            f"version {s.number}",
            "live" if s.share >= 1 else f"canary, {s.share:.0%}",
            s.start,
            s.end or "still answering",
            _entry(assessed, s.index),
        )
        for s in newest
    ]
    return tag(
        "section",
        heading,
        plots.timeline(found, assessed.courses, begin=begin, at=assessed.at),
        table(
            f"Stretches of traffic, the newest first; what is live answers what a canary does not{_more(len(found))}",
            ("What", "Share", "From", "Until", "Entry"),
            rows,
        ),
    )


def _releases(assessed: Assessed) -> Markup:
    found = assessed.courses
    heading = tag("h2", f"Versions and their gates{_more(len(found))}")
    if not found:
        return tag("section", heading, tag("p", "No version of this model was proposed in the span."))
    return tag("section", heading, [_release(read(assessed.selection, course), assessed) for course in found[:SHOWN]])


def _release(course: Course, assessed: Assessed) -> Markup:
    index, event = course.proposed
    facts = [
        ("Artefact", tag("code", course.digest)),
        ("Proposed", [f"{event.time} by {event.actor} ", _entry(assessed, index)]),
        *(("Approved", _approval(assessed, *entry)) for entry in course.approvals),
        *(("Waived", _waiver(assessed, *entry)) for entry in course.waivers),
        *(
            ("Alarm", [f"{e.time} {e.data['detector']}: {e.data['cause']} ", _entry(assessed, i)])
            for i, e in course.alarms
        ),
        *(
            ("Rolled back", [f"{e.time} to version {e.data['to']}: {e.data['reason']} ", _entry(assessed, i)])
            for i, e in course.rollbacks
        ),
        ("Measured", plots.accuracies(course) or "accuracy: not in the evidence of this bundle"),
    ]
    return tag(
        "article",
        tag("h3", f"Version {course.number}"),
        tag("dl", [(tag("dt", name), tag("dd", value)) for name, value in facts]),
        plots.gates(course) if not course.is_twin else tag("p", "This version is the dense twin itself."),
        _findings(course, assessed),
    )


def _approval(assessed: Assessed, index: int, event: Event) -> list[Markup | str]:
    how = event.data.get("assurance") or "signed"
    return [f"{event.time} by {event.actor}, {how}: {event.data['reason']} ", _entry(assessed, index)]


def _waiver(assessed: Assessed, index: int, event: Event) -> list[Markup | str]:
    data = event.data
    over = "expired" if data["expires"] <= assessed.at else "until"
    said = f"{data['rule']}, {over} {data['expires']}, by {event.actor}: {data['reason']}; instead: {data['control']}; "
    return [said, f"{data['before']} rules passed, {data['after']} with it ", _entry(assessed, index)]


def _findings(course: Course, assessed: Assessed) -> Markup:
    if course.verdict is None:
        return tag("p", "The verdict's document is not in this bundle.", class_="notice alert")
    waived = {event.data["rule"] for _, event in course.waivers}
    rows = [
        (finding.rule, _outcome(finding, waived), finding.observed, finding.required, finding.flip)
        for finding in course.verdict.findings
    ]
    link = _anchor("the verdict's document", assessed.link(bundle.document_path(course.verdict.digest)))
    listed = table("Every rule of the policy", ("Rule", "Outcome", "Observed", "Required", "What would turn it"), rows)
    return tag("details", tag("summary", f"All {len(rows)} findings"), listed, tag("p", link))


def _outcome(finding: Finding, waived: set[str]) -> Markup:
    words = (
        f"{finding.outcome.value}, waived" if finding.rule in waived and not finding.allows else finding.outcome.value
    )
    if finding.outcome is Outcome.WAIVED:
        words = "failed, waived"
    return tag("span", words, class_=f"state {plots.OUTCOMES[finding.outcome]}")


# -- controls -------------------------------------------------------------------------------------------------------


def _controls(assessed: Assessed) -> Markup:
    framework = assessed.framework
    anchors = {row.control.id: token(row.control.id) for row in assessed.rows}
    parts: list[Markup] = []
    for group in framework.groups:
        rows = [row for row in assessed.rows if row.control.group == group.id]
        if group.parent is None:
            parts.append(tag("h3", f"{group.id}: {group.text}"))
        if rows:
            caption = f"{group.id}: {group.text}" if group.parent else f"Controls of {group.id}"
            parts.append(_rows(caption, rows, anchors, assessed))
    return tag(
        "section",
        tag("h2", "Controls"),
        tag("p", framework.note, class_="quiet"),
        plots.legend(),
        plots.states(framework, assessed.rows, anchors),
        parts,
    )


def _rows(caption: str, rows: list[Row], anchors: dict[str, str], assessed: Assessed) -> Markup:
    head = tag(
        "tr", [tag("th", name, scope="col") for name in ("Control", "State", "What the entries show", "Entries")]
    )
    body = [
        tag(
            "tr",
            tag(
                "th",
                row.control.id,
                tag("span", f"{row.control.automation.value}, {HALVES[row.control.automation]}", class_="quiet"),
                scope="row",
            ),
            tag("td", plots.mark(row.state)),
            tag("td", tag("p", row.control.asks), list(_said(row))),
            tag("td", list(_entries(row, assessed)) or _why_none(row), class_="entries"),
            id=anchors[row.control.id],
        )
        for row in rows
    ]
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", body), class_="controls")
    return tag("div", whole, class_="wide")


def _said(row: Row) -> Iterator[Markup]:
    for found in row.against:
        yield tag("p", found.why, class_="contradicted")
    if row.shown:
        yield tag("p", tag("strong", "Shown. "), row.shown)
    if row.missing:
        yield tag("p", tag("strong", "Missing. "), "; ".join(row.missing), ".", class_="quiet")
    for item in row.attached:
        over = f", until {item.expires}" if item.expires else ""
        said = f"{item.title}. {item.statement}" if item.statement else item.title
        yield tag("p", tag("strong", "Attached" if item.current else "Expired"), f" by {item.by}{over}: {said}")


def _entries(row: Row, assessed: Assessed) -> Iterator[Markup]:
    kinds = {entry.index: entry.type for entry in row.cited} | {
        entry.index: "document.attached" for entry in row.attached
    }
    for index in row.positions:
        yield tag("div", _entry(assessed, index), f" {kinds.get(index, 'broke a rule')}")
    documents = {digest for entry in row.cited for digest in entry.documents}
    documents |= {entry.document for entry in row.attached if entry.document}
    if documents:
        links = [
            _anchor(digest[7:15], assessed.link(bundle.document_path(digest)), title=digest)
            for digest in sorted(documents)[:DOCUMENTS_SHOWN]
        ]
        more = f" and {len(documents) - len(links)} more" if len(documents) > len(links) else ""
        yield tag("div", "documents ", links, more)


def _why_none(row: Row) -> str:
    return "none: only a person can attach one" if row.control.automation is Automation.HUMAN else "none yet"


# -- how to check ---------------------------------------------------------------------------------------------------


def _checking(assessed: Assessed) -> Markup:
    return tag(
        "section",
        tag("h2", "How to check it"),
        tag("pre", tag("code", "pruneguard audit verify BUNDLE.tar --held CHECKPOINT --trust WITNESSES")),
        tag(
            "p",
            "It checks files, signatures, the tree, anchoring, every decision again from its evidence, the artefacts, "
            "and that nothing is missing, with an exit code of its own for each. ",
            _anchor("VERIFY.md", assessed.link(bundle.GUIDE)),
            " names, for every layer, a tool by somebody else; ",
            _anchor("tools/verify.py", assessed.link(bundle.PROGRAM)),
            " needs nothing but Python.",
        ),
    )


def _entry(assessed: Assessed, index: int) -> Markup:
    return _anchor(f"[{index}]", assessed.link(assessed.source(index)))


def _anchor(words: str, href: str, title: str | None = None) -> Markup:
    return tag("a", words, href=href, title=title)


def _more(count: int) -> str:
    return f", the newest {SHOWN} of {count}" if count > SHOWN else ""
