"""The page: it says the verdict first, draws what was measured, and needs nothing from anywhere."""

import re
import xml.etree.ElementTree as ET

from pruneguard.validation import page
from tests.validation.made import BAD, GOOD, LEFT_OUT, RULES, validation, without


def text_of(found):
    return page.render(found).decode()


def figures(text):
    """The drawings by their titles."""
    found = [ET.fromstring(f"<svg{part.partition('</svg>')[0]}</svg>") for part in text.split("<svg")[1:]]  # noqa: S314
    return {figure.find("title").text: figure for figure in found}


def dots(figure):
    return [dot.get("class").removeprefix("dot ") for dot in figure.iter("circle")]


def test_the_verdict_comes_before_anything_else():
    body = text_of(validation(BAD)).partition("<body>")[2]
    assert body.startswith("<header><h1>out/model 1.onnx: refused</h1>")
    assert body.index("refused: 3 of 4 rules") < body.index("Findings") < body.index("<svg") < body.index("Digest")
    assert "out/model 1.onnx: passed</h1>" in text_of(validation(GOOD))


def test_every_finding_stands_there_with_what_would_turn_it():
    found = validation(without(BAD, "calibration.ece"), left_out=(LEFT_OUT,))
    text = text_of(found)
    for finding in found.findings:
        row = re.search(rf'<tr><th scope="row">{re.escape(finding.rule)}</th>.*?</tr>', text)[0]
        assert finding.outcome.value in row
    assert "no answers" in text
    assert "not judged: artifact.deviation" in text
    assert all(rule.because in text for rule in RULES)


def test_the_page_runs_nothing_and_asks_nobody():
    text = text_of(validation(BAD))
    assert "<script" not in text
    assert not re.search(r"(src|href)=", text)
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text
    assert "<b>" not in text  # a slice's name is text


def test_differences_numbers_reliability_and_slices_are_drawn_in_the_colours_of_their_outcomes():
    drawn = figures(text_of(validation(BAD)))
    assert list(drawn) == [
        "Against the twin, in points of accuracy on the same rows",
        "Numbers against their limits",
        "How much of a stated confidence comes true",
        "quality.slices: the worst 2 of 2 slices, in points of accuracy",
    ]
    differences, numbers, reliability, slices = drawn.values()
    assert dots(differences) == ["contradicted"]
    assert dots(numbers) == ["evidenced", "stale"]
    assert dots(reliability) == ["partial"]
    assert dots(slices) == ["contradicted", "evidenced"]


def test_a_slice_with_too_few_rows_is_drawn_as_not_tested():
    small = GOOD | {"quality.paired.slice.site=small": GOOD["quality.paired.slice.site=c"].__class__(5, 0, 5, 0)}
    slices = figures(text_of(validation(small)))["quality.slices: the worst 3 of 3 slices, in points of accuracy"]
    assert dots(slices) == ["none", "evidenced", "evidenced"]


def test_what_was_not_measured_is_not_drawn():
    text = text_of(validation({}))
    assert figures(text) == {}
    assert "Measured" not in text
    assert "Slices" not in text


def test_what_nobody_asked_for_is_not_told_as_missing():
    text = text_of(validation(GOOD))
    assert "calibration: no answers" in text
    assert "not asked" not in text
