import pytest

from pruneguard.analysis import sweep
from pruneguard.analysis.subject import interval
from pruneguard.analysis.sweep import Made, Point, Sweep
from pruneguard.errors import InvalidInputError
from pruneguard.evidence import PairedTable
from pruneguard.pruning.recipe import recipe, step


def made(seed, *, gained=0, lost=0, latency=0.5, nonzero=0.4):
    table = PairedTable(200 - lost, gained, lost, 20 - gained)
    return Made(seed, table, latency=latency, latency_b64=latency, nonzero=nonzero, stored=nonzero)


def test_a_point_is_as_good_as_its_worst_seed_and_its_mean_is_told():
    point = Point("narrow", 0.5, (made(0, lost=2), made(1, lost=6, latency=0.7), made(2, gained=2, latency=0.6)))
    assert point.difference == pytest.approx((-2 - 6 + 2) / 3 / 220)
    assert point.low == interval(PairedTable(194, 0, 6, 20))[0] < -6 / 220
    assert point.high == interval(PairedTable(200, 2, 0, 18))[1] > 2 / 220
    assert point.latency == 0.6
    assert point.spread == pytest.approx(4 / 220)


def test_one_seed_has_no_spread():
    assert Point("narrow", 0.5, (made(0),)).spread is None


def test_the_front_weighs_accuracy_time_and_weights():
    mild = Point("narrow", 0.3, (made(0, lost=1, latency=0.8, nonzero=0.7),))
    bold = Point("narrow", 0.9, (made(0, lost=30, latency=0.3, nonzero=0.1),))
    beaten = Point("other", 0.5, (made(0, lost=30, latency=0.9, nonzero=0.8),))
    # A tenth of a percent of time is noise, and takes nothing from the front.
    noisy = Point("other", 0.3, (made(0, lost=2, latency=0.7991, nonzero=0.7),))
    none = Point("none", 0.5, (), "nothing can leave")
    swept = Sweep("m", 220, 0.9, 3, (mild, beaten, noisy, bold, none))
    assert swept.best == (mild, bold)
    assert [point["on_front"] for point in swept.to_document()["points"]] == [True, False, False, True, False]


@pytest.fixture(scope="module")
def measured(tiny):
    narrow = recipe("narrow", [step({"prune": "channels"})])
    coded = recipe("coded", [step({"encode": "huffman", "bits": 4})])
    return sweep.measure(tiny, recipes=[narrow, coded], ratios=(0.5, 0.25), seeds=1, epochs=1)


def test_every_recipe_is_made_at_every_ratio(measured):
    assert [(point.recipe, point.ratio) for point in measured.points] == [
        ("narrow", 0.25),
        ("narrow", 0.5),
        ("coded", 0.0),  # it leaves no ratio open
    ]


def test_sizes_are_those_of_the_networks(measured):
    mild, half, coded = measured.points
    assert (mild.nonzero, half.nonzero) == pytest.approx(((2730 - 4 * 170) / 2730, (2730 - 8 * 170) / 2730), abs=0.002)
    assert half.nonzero < half.stored < 1
    assert coded.stored < 0.4
    assert all(point.latency > 0 and point.latency_b64 > 0 for point in measured.points)


def test_a_recipe_that_makes_no_network_is_told_and_the_others_go_on_with_every_seed(tiny):
    heads, narrow = (recipe(what, [step({"prune": what})]) for what in ("heads", "channels"))
    found = sweep.measure(tiny, recipes=[heads, narrow], ratios=(0.5,), seeds=2, epochs=1)
    assert "has no heads that can leave" in found.points[0].reason
    assert found.best == found.points[1:]
    assert [each.seed for each in found.points[1].made] == [3, 4]


def test_no_network_at_all_is_an_error(tiny):
    heads = recipe("heads", [step({"prune": "heads"})])
    with pytest.raises(InvalidInputError, match=r"no candidate could be made: heads at 50 %: .* has no heads"):
        sweep.measure(tiny, recipes=[heads], ratios=(0.5,), seeds=1, epochs=1)


@pytest.mark.parametrize("bad", [{"seeds": 0}, {"epochs": 0}, {"ratios": (1.0,)}])
def test_what_cannot_be_is_refused(tiny, bad):
    with pytest.raises(InvalidInputError, match="expected"):
        sweep.measure(tiny, recipes=tiny.manifest.recipes, **bad)
