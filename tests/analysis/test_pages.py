import xml.etree.ElementTree as ET

import pytest

from pruneguard.analysis import pages
from pruneguard.analysis.ablation import Ablation, Component
from pruneguard.analysis.bench import Control
from pruneguard.analysis.controls import Controls, Level
from pruneguard.analysis.sensitivity import Cut, Layer, Sensitivity
from pruneguard.analysis.sweep import Made, Point, Sweep
from pruneguard.evidence import PairedTable


def lost(rows, *, gained=0):
    return PairedTable(100 - rows, gained, rows, 10 - gained)


def layer(name, *drops):
    cuts = [Cut(ratio, 0.1, lost(drop)) for ratio, drop in zip((0.25, 0.5), drops, strict=True)]
    return Layer("channels", name, 16, "l2", tuple(cuts))


def point(recipe, ratio, *drops, weights):
    made = [Made(seed, lost(drop), weights, weights, weights, weights) for seed, drop in enumerate(drops)]
    return Point(recipe, ratio, tuple(made))


SENSITIVITY = Sensitivity("m", 110, 0.9, (0.25, 0.5), (layer("<stem>", 0, 1), layer("last", 5, 40)), {"head": "why"})
ABLATION = Ablation(
    "m", 110, 0.9, (Component("heads", "a 0", 0.1, lost(0)), Component("heads", "a 1", 0.1, lost(30))), {}
)
SWEEP = Sweep(
    "m",
    110,
    0.9,
    3,
    (
        point("narrow", 0.5, 1, 3, weights=0.5),
        point("narrow", 0.9, 80, 90, weights=0.1),
        point("other", 0.5, 5, 5, weights=0.6),
        Point("none", 0.5, (), "nothing can leave"),
    ),
)
CONTROLS = Controls(
    "m",
    "narrow",
    110,
    0.9,
    (0, 1),
    (Level(0.5, (Control("as asked", 3, 0.5, (0.0, -0.01)), Control("random", 3, 0.5, (-0.02, -0.02)))),),
)


def marks(analysis):
    """The labelled marks of every figure."""
    drawing = ET.fromstring(f"<all>{pages.figures(analysis)}</all>")  # noqa: S314  # our own markup
    return [group.get("aria-label") for group in drawing.iter("g")]


@pytest.mark.parametrize("analysis", [SENSITIVITY, ABLATION, SWEEP, CONTROLS], ids=lambda each: type(each).__name__)
def test_a_page_stands_alone_and_says_that_it_is_no_evidence(analysis):
    text = pages.page(analysis).decode()
    assert "An analysis is no evidence" in text
    assert "On the 110 rows of the gate split" in text
    assert "http:" not in text.replace("http-equiv", "")
    assert all(len(row) == len(grid.head) for grid in pages.grids(analysis) for row in grid.rows)


def test_names_out_of_a_network_are_text():
    text = pages.page(SENSITIVITY).decode()
    assert "<stem>" not in text
    assert "&lt;stem&gt;" in text


def test_every_cell_of_the_heat_map_tells_what_it_is():
    told = marks(SENSITIVITY)
    assert len(told) == 4
    assert told[1].startswith("<stem>, channels, 50% by l2: -0.91 points (")


def test_what_bears_most_and_least_is_said_and_what_was_not_looked_at():
    assert pages.sentences(SENSITIVITY) == [
        "channels, within 1 point of accuracy: '<stem>' bears most (50%) and 'last' least (0%)"
    ]
    assert pages.grids(SENSITIVITY)[1].rows == (("head", "why"),)


def test_what_is_missed_least_is_named():
    assert pages.sentences(ABLATION)[1] == "not certainly missed: a 0"
    assert [row[0] for row in pages.grids(ABLATION)[0].rows] == ["a 1", "a 0"]  # the dearest first


def test_the_front_is_marked_in_table_and_figures_and_what_failed_keeps_its_reason():
    (grid,) = pages.grids(SWEEP)
    assert [row[2] for row in grid.rows] == ["front", "front", "", ""]
    assert grid.rows[3][-1] == "nothing can leave"
    assert [("on the front" in told) for told in marks(SWEEP)] == 3 * [True, True, False]


def test_one_wreck_does_not_flatten_the_others():
    drawing = ET.fromstring(f"<all>{pages.figures(SWEEP)}</all>")  # noqa: S314  # our own markup
    mild, wreck, other = list(drawing.iter("g"))[:3]
    assert wreck.find("polygon") is not None
    assert float(other.find("circle").get("cy")) - float(mild.find("circle").get("cy")) > 20


def test_every_seed_stands_behind_its_mean():
    drawing = ET.fromstring(f"<all>{pages.figures(CONTROLS)}</all>")  # noqa: S314  # our own markup
    assert [len(group.findall("circle")) for group in drawing.iter("g")] == [3, 3]
    assert pages.sentences(CONTROLS) == [
        "narrow at 50 % against random: +1.50 points, better with 2 of 2 seeds and worse with 0; not shown; "
        "it takes 5 seeds or more"
    ]
