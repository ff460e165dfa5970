"""Markdown as GitHub and GitLab show it in a job's summary."""

from dataclasses import replace

from pruneguard.validation import markdown
from tests.validation.made import BAD, GOOD, LEFT_OUT, validation, without


def test_the_verdict_stands_first_and_every_finding_is_a_row():
    lines = markdown.render(validation(BAD)).splitlines()
    assert lines[0] == "## ❌ out/model 1.onnx refused: 3 of 4 rules of policy mine 3 do not pass"
    rows = [line for line in lines if line.startswith(("| failed", "| underpowered", "| passed"))]
    assert [row.split(" | ")[1] for row in rows] == [
        "`quality.paired`",
        "`quality.slices`",
        "`ood.auroc_drop`",
        "`calibration.ece`",
    ]
    assert "- `quality.slices`: Look at the slice." in lines
    assert markdown.render(validation(GOOD)).startswith("## ✅ out/model 1.onnx passed: all 4 rules")


def test_no_text_breaks_a_table_or_becomes_markup():
    text = markdown.render(validation(BAD))
    heads = {line.count(" | ") for line in text.splitlines() if line.startswith("| ")}
    assert heads == {4, 2}  # five columns of findings, three of files
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    nasty = replace(validation(BAD).sources[0], name="a|b\n# `c` <img> @all.onnx")
    shown = markdown.render(replace(validation(BAD), sources=(nasty,)))
    assert shown.splitlines()[0].startswith("## ❌ a\\|b \\# \\`c\\` &lt;img&gt; &#64;all.onnx refused")


def test_it_says_what_was_not_judged_and_why():
    text = markdown.render(validation(without(GOOD, "calibration.ece"), left_out=(LEFT_OUT,)))
    assert "not judged: `artifact.deviation`." in text
    assert "calibration.ece was not measured: no answers" in text
    assert "leave it out by name: --leave-out calibration.ece" in text
    assert "Calibrate" not in text  # a remedy for what was never measured helps nobody
