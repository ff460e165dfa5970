import copy

import pytest
import torch

from pruneguard.analysis import sensitivity
from pruneguard.analysis.sensitivity import Cut, Layer
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.correctness.quality import paired
from pruneguard.evidence import PairedTable
from pruneguard.pruning.recipe import recipe, step
from pruneguard.pruning.shop import right

CHANNELS = recipe("narrow", [step({"prune": "channels"})])
WEIGHTS = recipe("sparse", [step({"prune": "weights"})])


def lost(points):
    return PairedTable(both_right=100 - points, candidate_only=0, twin_only=points, both_wrong=0)


@pytest.mark.parametrize(
    ("drops", "bears"),
    [((0, 1, 5), 0.5), ((2, 0, 0), 0.0), ((0, 2, 0), 0.1), ((None, 0, 9), 0.5), ((0, 0, 1), 0.9), ((None,) * 3, 0.0)],
)
def test_a_layer_bears_what_comes_before_its_first_large_drop(drops, bears):
    cuts = tuple(
        Cut(ratio, 0.1, None if drop is None else lost(drop))
        for ratio, drop in zip((0.1, 0.5, 0.9), drops, strict=True)
    )
    assert Layer("channels", "0", 16, "l2", cuts).bearable(0.01) == bears


def test_one_tensor_of_weights_is_cut_and_nothing_else(tiny):
    found = sensitivity.measure(tiny, recipe=WEIGHTS, ratios=(0.5,))
    assert [(layer.name, layer.width) for layer in found.layers] == [("0.weight", 144), ("4.weight", 2560)]
    by_hand = copy.deepcopy(tiny.twin.model)
    weight = by_hand[0].weight.data
    weight[weight.abs() < weight.abs().flatten().sort().values[72]] = 0
    assert int(torch.count_nonzero(weight)) == 72
    (cut,) = found.layers[0].cuts
    assert cut.table == paired(right(by_hand, tiny.rows), tiny.right)
    assert cut.saved == pytest.approx(72 / (144 + 16 + 2560 + 10))


def test_channels_take_along_what_reads_them(tiny):
    (layer,) = sensitivity.measure(tiny, recipe=CHANNELS, ratios=(0.25, 0.75)).layers
    # A channel has nine weights, a bias and 16 columns of the ten answers.
    assert [cut.saved for cut in layer.cuts] == pytest.approx([k * (10 + 160) / 2730 for k in (4, 12)])
    assert layer.cuts[0].table.difference >= layer.cuts[1].table.difference


def test_without_a_recipe_parts_and_weights_are_cut_and_the_twin_stays_as_it_was(tiny):
    before = copy.deepcopy(tiny.twin.model.state_dict())
    found = sensitivity.measure(tiny, ratios=(0.5,))
    assert [layer.kind for layer in found.layers] == ["channels", "weights", "weights"]
    assert found.untouched == {"4": "it gives the answer of the network"}
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny.twin.model.state_dict().items())


def test_a_ratio_at_which_nothing_leaves_is_told_and_the_others_are_measured(tiny):
    (layer,) = sensitivity.measure(tiny, recipe=CHANNELS, ratios=(0.01, 0.5)).layers
    none, half = layer.cuts
    assert none.table is None
    assert "nothing can leave" in none.reason
    assert half.table is not None
    assert layer.to_document()["cuts"][0]["accuracy_difference"] is None


@pytest.mark.parametrize("ratios", [(), (0.0,), (1.0,), (0.5, -0.1), (float("nan"),)])
def test_ratios_that_cannot_be_are_refused(tiny, ratios):
    with pytest.raises(InvalidInputError, match="shares above 0 and below 1"):
        sensitivity.measure(tiny, ratios=ratios)
