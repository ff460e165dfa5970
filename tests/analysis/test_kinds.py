import pytest

from pruneguard.analysis import kinds
from pruneguard.errors import InvalidInputError
from pruneguard.pruning.group import Part
from pruneguard.pruning.recipe import recipe, step


def test_a_recipe_says_what_is_looked_at_and_by_which_criterion():
    asked = kinds.asked(recipe("both", [step({"prune": "heads"}), step({"prune": "weights", "criterion": "random"})]))
    assert asked == {"heads": "taylor", "weights": "random"}


def test_without_a_recipe_every_kind_is_looked_at():
    assert kinds.asked(None).keys() == {*Part, "weights"}


def test_movement_is_learnt_so_magnitude_stands_in_for_it():
    assert kinds.asked(recipe("moving", [step({"prune": "weights", "criterion": "movement"})])) == {
        "weights": "magnitude"
    }


def test_a_recipe_that_prunes_nothing_is_refused():
    with pytest.raises(InvalidInputError, match="'int8' prunes nothing: quantise int8"):
        kinds.asked(recipe("int8", [step({"quantise": "int8"})]))


def test_a_layer_is_looked_at_once_although_two_kinds_reach_it(tiny):
    found, untouched = kinds.teams(tiny, {"channels": "l2", "neurons": "l2"})
    assert [(team.part, team.name, team.width) for team in found] == [(Part.CHANNELS, "0", 16)]
    assert untouched == {"4": "it gives the answer of the network"}


def test_a_kind_that_the_network_has_not_is_no_error_beside_others(tiny):
    assert kinds.teams(tiny, {"heads": "taylor", "channels": "l2"})[0]


def test_nothing_to_look_at_is_an_error_that_says_why(tiny):
    found, untouched = kinds.teams(tiny, {"units": "l2"})
    with pytest.raises(InvalidInputError, match="tiny has nothing that could leave"):
        kinds.require_any(found, untouched, network="tiny")
