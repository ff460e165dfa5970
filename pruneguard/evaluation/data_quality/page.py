"""What an admission found, as a page for a person: no script, no font, nothing from the network.

Pure: values in, HTML out. Great Expectations' own pages load their assets from the network.
"""

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from pruneguard.audit.views.drawing import WIDTH, figure, line, page
from pruneguard.audit.views.markup import Content, Markup, joined, table, tag
from pruneguard.evaluation.data_quality.expectations import found
from pruneguard.evaluation.data_quality.papers import QUESTIONS
from pruneguard.evidence import Estimate, Evidence
from pruneguard.gates.measurements import MEASUREMENTS

COLOURS = {"critical": "contradicted", "warning": "stale", "info": "partial"}
CLASSES_MAX = 60
"""Classes that are drawn, those with most odd labels; all are in the document."""

_LEFT, _ROW, _TOP = 170, 22, 28
_LABEL = 190  # "26.8% (12,345 of 67,890)"
_OPEN_MAX = 10


def render(evidence: Evidence, document: Mapping[str, Any], summary: str) -> bytes:
    """The page, in UTF-8; `document` is what `Admission.expectations` holds."""
    failed = [result for result in document["results"] if not result["success"]]
    title = f"Data {evidence.subject.removeprefix('sha256:')[:12]}"
    return page(
        title,
        tag(
            "header",
            tag("h1", title),
            tag("p", summary, "."),
            tag("p", "Snapshot ", tag("code", evidence.subject), ". Numbers of rows count from 0.", class_="quiet"),
        ),
        tag(
            "main",
            _expectations(document["results"], failed),
            _numbers(evidence),
            _labels(document),
            _near(document["near"]),
            _personal(document["personal"]),
            _card(document["card"]),
        ),
    )


def _expectations(results: list[dict[str, Any]], failed: list[dict[str, Any]]) -> Markup:
    met = [result for result in results if result["success"]]
    worst = sorted(failed, key=lambda result: list(COLOURS).index(result["severity"]))
    return tag(
        "section",
        tag("h2", f"{len(failed)} of {len(results)} expectations failed"),
        _listed("What failed; a critical one blocks", worst) if failed else "",
        tag("details", tag("summary", f"{len(met)} that are met"), _listed("What is met", met)) if met else "",
    )


def _listed(caption: str, results: list[dict[str, Any]]) -> Markup:
    return table(caption, ("Severity", "Column", "Expectation", "Where", "Found"), map(_line, results))


def _line(result: dict[str, Any]) -> tuple[Content, ...]:
    arguments = dict(result["kwargs"])
    column, where = str(arguments.pop("column", "")), _condition(arguments.pop("row_condition", None))
    colour = "evidenced" if result["success"] else COLOURS[result["severity"]]
    told = ", ".join(f"{name} {_short(value)}" for name, value in sorted(arguments.items()))
    name = result["expectation_type"].removeprefix("expect_").replace("_", " ")
    severity = tag("span", result["severity"], class_=f"state {colour}")
    return severity, column, f"{name}: {told}" if told else name, where, found(result).removeprefix("found ")


def _condition(condition: object) -> str:
    match condition:
        case {"column": {"name": column}, "operator": operator, "parameter": parameter}:
            return f"{column} {operator} {parameter}"
    return "" if condition is None else str(condition)


def _numbers(evidence: Evidence) -> Markup:
    rows = [
        (tag("code", name), _value(m), _interval(m), f"{m.n:,}", MEASUREMENTS[name].doc if name in MEASUREMENTS else "")
        for name, m in sorted(evidence.measurements.items())
        if isinstance(m, Estimate)
    ]
    how = "; ".join(f"{name} {text}" for name, text in sorted(evidence.context.items()))
    heads = ("Measurement", "Value", "95 % interval", "n", "What it is")
    return tag(
        "section",
        tag("h2", "Numbers"),
        table("Everything a policy can ask", heads, rows),
        tag("p", how, class_="quiet"),
    )


def _value(estimate: Estimate) -> str:
    return _plain(estimate.value) if isfinite(estimate.value) else "unknown"


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return "counted" if estimate.low == estimate.high else f"{_plain(estimate.low)} to {_plain(estimate.high)}"


def _plain(value: float) -> str:
    """A number without an exponent, as a policy's limit is written.

    >>> _plain(0.0911), _plain(0.0000614), _plain(3.0)
    ('0.0911', '0.000061', '3')
    """
    return f"{value:.4g}" if not 0 < abs(value) < 0.0001 else f"{value:.6f}"


def _labels(document: Mapping[str, Any]) -> Markup:
    rows, accuracy = document["labels"]["rows"], document["labels"]["accuracy"]
    mark = document["poisoning"]["mark"]
    by = "" if accuracy is None else f" by a simple model that is right on {accuracy:.1%} of rows it did not see"
    return tag(
        "section",
        tag("h2", "Labels"),
        tag("p", f"Rows of train to look at first, doubted{by}: {', '.join(map(str, rows))}.") if rows else "",
        tag(
            "p",
            f"Column {mark['column']} tells odd rows of class {mark['class']} from their neighbours: look whether they "
            "carry a mark that somebody put there.",
            class_="notice",
        )
        if mark
        else "",
        _odd(document["poisoning"]["odd"]),
    )


def _odd(odd: Mapping[str, list[int]]) -> Markup:
    shares = sorted(((count / rows, label, count, rows) for label, (count, rows) in odd.items()), reverse=True)
    if not shares:
        return Markup("")
    top = max(shares[0][0], 0.01)
    parts: list[Content] = []
    for number, (share, label, count, rows) in enumerate(shares[:CLASSES_MAX]):
        y = _TOP + number * _ROW
        width = (WIDTH - _LEFT - _LABEL) * share / top
        parts += [
            tag("text", f"class {label}", x=_LEFT - 10, y=y + 4, text_anchor="end"),
            tag("rect", x=_LEFT, y=y - 7, width=width, height=14, class_="live"),
            tag("text", f"{share:.1%} ({count:,} of {rows:,})", x=_LEFT + width + 6, y=y + 4, class_="soft"),
        ]
    bottom = _TOP + len(shares[:CLASSES_MAX]) * _ROW
    parts.append(line("zero", _LEFT, _TOP - 12, _LEFT, bottom - 8))
    words = "Share of the drawn rows of train whose nearest neighbours agree on another class."
    return figure(joined(parts), bottom, "Odd labels by class", words)


def _near(near: Mapping[str, list[list[int]]]) -> Markup:
    rows = [(f"{name} row {row}", f"train row {other}") for name, pairs in near.items() for row, other in pairs]
    if not rows:
        return Markup("")
    pairs = table("Pairs that were found first", ("Judged by", "Trained on"), rows)
    shown = pairs if len(rows) <= _OPEN_MAX else tag("details", tag("summary", f"{len(rows)} pairs to look at"), pairs)
    return tag("section", tag("h2", "Nearly the same rows"), shown)


def _personal(personal: Mapping[str, Any]) -> Markup:
    def lines() -> Iterator[tuple[Content, ...]]:
        for column in sorted({*personal["found"], *personal["named"]}):
            counts = personal["found"].get(column, {})
            kinds = ", ".join(f"{kind} in {count} cells" for kind, count in sorted(counts.items()))
            yield column, kinds, "yes" if column in personal["named"] else "no"

    rows = list(lines())
    words = "Nothing looks like personal data. Patterns see what has a form; a person's name in a text has none."
    shown = (
        table("What looks like personal data", ("Column", "Texts", "By its name"), rows) if rows else tag("p", words)
    )
    return tag("section", tag("h2", "Personal data"), shown)


def _card(card: Mapping[str, Any] | None) -> Markup:
    if card is None:
        return tag("section", tag("h2", "Data card"), tag("p", "None was given."))
    rows = [(question, card["answers"].get(question, tag("strong", "no answer"))) for question in QUESTIONS]
    words = "As it stands on the card; nobody here has checked it."
    return tag("section", tag("h2", "Data card"), table(words, ("Question", "Answer"), rows))


def _short(value: object, most: int = 80) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= most else f"{text[:most]}..."
