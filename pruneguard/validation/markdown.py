"""A validation as Markdown, for the summary of a CI job or a comment on a pull request. Pure."""

from collections.abc import Sequence

from pruneguard.validation.result import Validation
from pruneguard.verdict import Outcome

ALERTS = {True: "✅", False: "❌"}


def render(validation: Validation) -> str:
    """Verdict, every finding with what refuses first, remedies, and the digests of what was judged."""
    findings = validation.findings
    rows = [
        (finding.outcome.value, f"`{finding.rule}`", *map(_cell, (finding.observed, finding.required, finding.flip)))
        for finding in findings
    ]
    lines = [
        f"## {ALERTS[validation.passed]} {_cell(validation.name('model'))} {_cell(validation.headline)}",
        "",
        *_table(("Outcome", "Rule", "Observed", "Required", "Would turn it"), rows),
    ]
    told = [f for f in findings if not f.allows and f.outcome is not Outcome.NO_EVIDENCE]
    lines += ["", "### What to do", ""] if told else []
    lines += [f"- `{finding.rule}`: {_cell(finding.remedy)}" for finding in told]
    lines += ["", _cell(validation.advice)] if validation.advice else []
    if validation.left_out:
        names = ", ".join(f"`{rule.name}`" for rule in validation.left_out)
        lines += ["", f"Left out by whoever ran this, and not judged: {names}."]
    sources = [(source.role, _cell(source.name), f"`{source.digest}`") for source in validation.sources]
    lines += ["", *_table(("File", "Name", "Digest"), sources), ""]
    return "\n".join(lines)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)]


def _cell(text: str) -> str:
    """Text that stays text in a cell: no markup, no new column, no new line."""
    escaped = "".join(f"\\{c}" if c in "\\`*_[]|~#$" else c for c in " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")
