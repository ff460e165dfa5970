"""A validation as a page that stands alone and prints: verdict, findings, drawings, what it rests on. Pure."""

from collections.abc import Iterator

from pruneguard import __version__
from pruneguard.audit.views.drawing import page
from pruneguard.audit.views.markup import Markup, table, tag
from pruneguard.audit.views.report_plots import OUTCOMES
from pruneguard.evidence import Estimate, Measurement
from pruneguard.gates.gate import points
from pruneguard.validation import drawings
from pruneguard.validation.result import Validation
from pruneguard.verdict import Finding, Outcome


def render(validation: Validation) -> bytes:
    """The page, in UTF-8."""
    title = f"{validation.name('model')}: {validation.headline}"
    sections = (_findings(validation), _drawn(validation), _slices(validation), _ground(validation))
    foot = f"Made by pruneguard {__version__} validate. Nothing was recorded: the verdict is as good as whoever ran it."
    return page(title, _top(validation), tag("main", sections), tag("footer", tag("p", foot)))


def _top(validation: Validation) -> Markup:
    said = tag("p", tag("strong", validation.headline, "."), class_="notice" if validation.passed else "notice alert")
    gone = ", ".join(rule.name for rule in validation.left_out)
    without = tag("p", f"Left out by whoever ran this, and not judged: {gone}.", class_="notice") if gone else ""
    return tag(
        "header",
        tag("h1", f"{validation.name('model')}: {'passed' if validation.passed else 'refused'}"),
        tag("p", validation.policy.purpose, class_="quiet"),
        said,
        without,
    )


def _findings(validation: Validation) -> Markup:
    head = ("Rule", "Outcome", "Observed", "Required", "What would turn it")
    rows = [
        (finding.rule, _outcome(finding), finding.observed, finding.required, finding.flip)
        for finding in validation.findings
    ]
    advice = [
        tag("li", tag("strong", finding.rule), f": {finding.remedy}")
        for finding in validation.findings
        if not finding.allows and finding.outcome is not Outcome.NO_EVIDENCE
    ]
    reasons = [(rule.name, rule.because) for rule in validation.policy.rules]
    return tag(
        "section",
        tag("h2", "Findings"),
        table("Every rule of the policy, what refuses first", head, rows),
        [] if validation.passed else [tag("h3", "What to do"), tag("ul", advice), tag("p", validation.advice)],
        tag(
            "details",
            tag("summary", "Why the policy asks for these"),
            table("The reason that the policy gives for each rule", ("Rule", "Because"), reasons),
        ),
    )


def _outcome(finding: Finding) -> Markup:
    return tag("span", finding.outcome.value, class_=f"state {OUTCOMES[finding.outcome]}")


def _drawn(validation: Validation) -> Markup:
    figures = [draw(validation) for draw in (drawings.differences, drawings.numbers, drawings.reliability)]
    return tag("section", tag("h2", "Measured"), figures) if any(figures) else Markup()


def _slices(validation: Validation) -> Markup:
    rules = [rule for rule in validation.policy.rules if rule.gate == "slices_non_inferior"]
    parts = [part for rule in rules for part in _of_slices(validation, rule.name)]
    return tag("section", tag("h2", "Slices"), parts) if parts else Markup()


def _of_slices(validation: Validation, name: str) -> Iterator[Markup]:
    rule = validation.rule(name)
    found = drawings.sliced(validation, rule)
    if not found:
        return
    yield drawings.slices(rule, found)
    rows = [
        (
            each.measurement,
            points(each.table.difference),
            *map(str, (each.table.n, each.table.candidate_only, each.table.twin_only)),
        )
        for each in found
    ]
    listed = table("Every slice, the worst first", ("Slice", "Difference", "Rows", "Won", "Lost"), rows)
    yield tag("details", tag("summary", f"All {len(found)} slices"), listed)


def _ground(validation: Validation) -> Markup:
    files = [(each.role, each.name, tag("code", each.digest)) for each in validation.sources]
    context = sorted({**validation.context, "left out": _with_a_reason(validation.context.get("left out", ""))}.items())
    numbers = [(name, *_told(value)) for name, value in sorted(validation.measured.items()) if ".slice." not in name]
    return tag(
        "section",
        tag("h2", "What it rests on"),
        table("What was judged, by what", ("File", "Name", "Digest"), files),
        table("How it was measured", ("", ""), context),
        tag(
            "details",
            tag("summary", f"All {len(numbers)} measurements"),
            table("Everything measured but slices", ("Measurement", "Value", "Interval", "n"), numbers),
        ),
    )


def _with_a_reason(left_out: str) -> str:
    """What could not be measured, without what nobody asked for."""
    return "; ".join(each for each in left_out.split("; ") if not each.endswith(": not asked")) or "nothing asked for"


def _told(value: Measurement) -> tuple[str, str, str]:
    if not isinstance(value, Estimate):
        return f"{points(value.difference)} to the twin", "", str(value.n)
    unit = "" if value.unit == "1" else f" {value.unit}"
    known = value.low is not None and value.high is not None and value.low < value.high
    return f"{value.value:.6g}{unit}", f"{value.low:.4g} to {value.high:.4g}" if known else "", str(value.n)
