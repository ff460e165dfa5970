import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from pruneguard.plots import Fate, Shown, candidates, candidates_page

AXES = {"objective": "parameters", "accuracy": "difference"}
GOOD = Shown("channels", 0.5, 0.28, -0.004, -0.012, 0.004, Fate.CHOSEN)
BAD = Shown("channels", 0.75, 0.09, -0.02, -0.034, -0.009, Fate.REFUSED, "quality.paired: -2.00 points")
LARGE = Shown("weights", 0.8, 0.8, None, None, None, Fate.STOPPED, "efficiency.size_ratio: 1.001")
NONE = Shown("blocks", 0.98, None, None, None, None, Fate.STOPPED, "nothing would be left")
ALL = (GOOD, BAD, LARGE, NONE)


def marks(shown, **changes):
    """The labelled marks of the figure, by their number."""
    drawn = ET.fromstring(candidates(shown, **AXES, **changes)).iter("g")  # noqa: S314  # our own markup
    return {group.get("aria-label").partition(":")[0]: group for group in drawn}


def place(group):
    """Where a disc stands."""
    disc = group.find("circle")
    return float(disc.get("cx")), float(disc.get("cy"))


def test_every_candidate_that_costs_something_is_drawn_and_says_why_it_went():
    drawn = marks(ALL, margin=-0.025)
    assert list(drawn) == ["1", "2", "3"]
    assert "quality.paired: -2.00 points" in drawn["2"].get("aria-label")
    assert "accuracy not measured" in drawn["3"].get("aria-label")
    assert all(group.find("title").text == group.get("aria-label") for group in drawn.values())


def test_cheaper_is_further_left_and_better_is_higher():
    cheap = replace(GOOD, objective=0.1, outcome=Fate.PASSED)
    better = replace(GOOD, accuracy=0.002, outcome=Fate.PASSED)
    drawn = marks([GOOD, cheap, better], margin=-0.025)
    assert place(drawn["2"])[0] < place(drawn["1"])[0]
    assert place(drawn["3"])[1] < place(drawn["1"])[1]


def test_outcomes_differ_in_shape_and_not_in_colour_alone():
    shapes = {
        fate: frozenset(child.tag for child in marks([replace(GOOD, outcome=fate)])["1"]) - {"title", "line", "text"}
        for fate in (Fate.PASSED, Fate.REFUSED, Fate.STOPPED)
    }
    assert len(set(shapes.values())) == 3
    assert len(marks([GOOD])["1"].findall("circle")) == 2  # the ring


def test_one_wreck_does_not_flatten_the_rest():
    wreck = replace(BAD, accuracy=-0.9, low=-0.95, high=-0.85)
    other = replace(GOOD, accuracy=-0.02, outcome=Fate.PASSED)
    alone, beside = marks([GOOD, other], margin=-0.025), marks([GOOD, other, wreck], margin=-0.025)
    gaps = [place(drawn["2"])[1] - place(drawn["1"])[1] for drawn in (alone, beside)]
    assert gaps[1] > gaps[0] / 2 > 0
    assert beside["3"].find("polygon") is not None


@pytest.mark.parametrize("shown", [(), (NONE,), (LARGE,), (replace(GOOD, low=None, high=None),)])
def test_a_search_without_results_or_accuracies_is_drawn_all_the_same(shown):
    assert ET.fromstring(candidates(shown, **AXES)).tag == "figure"  # noqa: S314
    assert ET.fromstring(candidates(shown, **AXES, margin=-0.02)).tag == "figure"  # noqa: S314


def test_the_page_lists_every_candidate_and_takes_nothing_from_a_name():
    named = replace(NONE, recipe="<script>")
    page = candidates_page((*ALL, named), title="digits", words="what was tried", **AXES).decode()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    for each in ALL:
        assert each.reason in page
    assert page.count("<tr>") == 1 + 5
    assert "http" not in page.replace("http-equiv", "")
