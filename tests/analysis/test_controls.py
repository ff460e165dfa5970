from dataclasses import replace

import pytest
import torch
from torch import nn

from pruneguard.analysis import bench, controls
from pruneguard.analysis.bench import Control
from pruneguard.analysis.controls import Level
from pruneguard.errors import InvalidInputError
from pruneguard.pruning.recipe import recipe, step

NARROW = recipe("narrow", [step({"prune": "channels", "criterion": "taylor"})])


def side(name, *differences):
    return Control(name, 3, 0.5, differences)


def test_mean_and_spread_are_those_of_the_seeds():
    control = side("random", -0.01, -0.03)
    assert control.mean == pytest.approx(-0.02)
    assert control.spread == pytest.approx(0.0141421, rel=1e-5)  # divided by n - 1
    assert side("random", -0.01).spread is None


@pytest.mark.parametrize(
    ("ours", "theirs", "wins", "losses", "p"),
    [
        ((0.0, 0.0), (0.0, 0.0), 0, 0, 1.0),
        ((0.1, 0.1, 0.1), (0.0, 0.0, 0.0), 3, 0, 1 / 8),
        ((0.1, 0.1, 0.0), (0.0, 0.0, 0.1), 2, 1, 4 / 8),
        ((0.1, 0.0, 0.0), (0.0, 0.0, 0.1), 1, 1, 3 / 4),  # a tie counts for neither
        ((0.1,) * 5, (0.0,) * 5, 5, 0, 1 / 32),
    ],
)
def test_the_sign_test_counts_seeds(ours, theirs, wins, losses, p):
    found = controls.compared("random", ours, theirs)
    assert (found.wins, found.losses, found.p) == (wins, losses, p)
    assert controls.compared("random", theirs, ours).p_worse == p


def test_five_seeds_can_show_a_difference_and_three_say_that_they_cannot():
    five = controls.compared("random", (0.1,) * 5, (0.0,) * 5)
    three = controls.compared("random", (0.1,) * 3, (0.0,) * 3)
    assert five.words.endswith("; shown better (p = 0.031)")
    assert controls.compared("random", (0.0,) * 5, (0.1,) * 5).words.endswith("; shown worse (p = 0.031)")
    assert three.words.endswith("; not shown; it takes 5 seeds or more")


def test_a_control_without_all_its_seeds_is_compared_with_nothing():
    level = Level(0.5, (side("as asked", 0.0, 0.0), side("random", 0.0), Control("dense", 0, 0.0, (), "why")))
    assert level.comparisons == ()


def test_chance_replaces_every_criterion_and_nothing_else():
    both = recipe("both", [step({"prune": "heads"}), step({"prune": "weights", "budget": "lamp"})])
    heads, weights = controls.randomised(both).steps
    assert heads.knobs == {**both.steps[0].knobs, "criterion": "random"}
    assert weights.knobs == {**both.steps[1].knobs, "criterion": "random"}


@pytest.mark.parametrize("given", [{"criterion": "movement"}, {"schedule": "gradual"}, {"schedule": "splicing"}])
def test_where_training_chooses_the_weights_chance_does_so_at_once(given):
    (random,) = controls.randomised(recipe("learnt", [step({"prune": "weights", **given})])).steps
    assert (random.knobs["criterion"], random.knobs["schedule"]) == ("random", "one-shot")


def test_a_recipe_without_a_criterion_has_no_chance():
    assert controls.randomised(recipe("thin", [step({"factor": "layers"})])) is None


def test_what_only_stores_or_chooses_rows_is_left_out():
    whole = recipe("all", [step({"select": "rows"}), step({"prune": "channels"}), step({"quantise": "int8"})])
    assert [each.name for each in controls.bared(whole).steps] == ["prune channels"]
    with pytest.raises(InvalidInputError, match=r"'int8' .* removes nothing"):
        controls.bared(recipe("int8", [step({"quantise": "int8"})]))


def test_layers_are_drawn_anew_for_the_width_that_they_have():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 64), nn.BatchNorm1d(64))
        nn.init.constant_(model[0].weight, 9.0)
        nn.init.constant_(model[1].weight, 9.0)
        bench.fresh(model)
    assert 0.4 < float(model[0].weight.detach().abs().max()) <= 0.5  # 1 / sqrt(fan in)
    assert model[1].weight.unique().tolist() == [1.0]


@pytest.fixture(scope="module")
def measured(tiny):
    return controls.measure(tiny, NARROW, ratios=(0.5,), seeds=2, epochs=1)


def test_every_side_is_there_with_every_seed(measured):
    (level,) = measured.levels
    names = [control.name for control in level.controls]
    assert names == ["as asked", "random", "from scratch", "from scratch, long", "dense, longer"]
    assert all(len(control.differences) == 2 for control in level.controls)
    # Half of the 16 channels, at 170 weights each, leave 1370 of 2730; the dense network keeps all.
    assert [round(control.left, 3) for control in level.controls] == [0.502, 0.502, 0.502, 0.502, 1.0]
    # 2 epochs for the twin, 1 for the pruned; half the computation allows twice the epochs.
    assert [control.epochs for control in level.controls] == [1, 1, 2, 4, 1]
    assert [comparison.control for comparison in level.comparisons] == names[1:]


def test_masks_hold_while_their_network_is_trained_from_scratch(tiny):
    sparse = recipe("sparse", [step({"prune": "weights"})])
    (level,) = controls.measure(tiny, sparse, ratios=(0.75,), seeds=1, epochs=1).levels
    # 676 of 2704 weights stay, and 26 biases.
    assert {control.name: round(control.left, 3) for control in level.controls[2:4]} == dict.fromkeys(
        ("from scratch", "from scratch, long"), round((676 + 26) / 2730, 3)
    )


def test_a_recipe_that_makes_no_network_is_told_beside_the_dense_control(tiny):
    heads = recipe("heads", [step({"prune": "heads"})])
    (level,) = controls.measure(tiny, heads, ratios=(0.5,), seeds=1, epochs=1).levels
    ours, *_, dense = level.controls
    assert "has no heads that can leave" in ours.reason
    assert len(dense.differences) == 1
    assert level.comparisons == ()
    assert level.to_document()["controls"][0]["mean"] is None


@pytest.mark.parametrize(
    ("bad", "why"), [({"seeds": 0}, "seeds"), ({"epochs": 0}, "epochs"), ({"ratios": (2,)}, "ratios")]
)
def test_what_cannot_be_is_refused(tiny, bad, why):
    with pytest.raises(InvalidInputError, match=f"^{why}: expected"):
        controls.measure(replace(tiny), NARROW, **bad)
