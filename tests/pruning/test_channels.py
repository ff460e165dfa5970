import pytest
import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import channels, weights
from tests.pruning import networks


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_ratio_outside_0_and_1_is_refused(ratio):
    with pytest.raises(InvalidInputError, match="between 0 and 1"):
        channels.prune(networks.plain(), networks.IMAGES, ratio=ratio)


@pytest.mark.parametrize(
    ("ratio", "round_to", "widths"),
    [
        (0.5, 8, (8, 16)),
        (0.3, 1, (11, 22)),
        (0.3, 4, (12, 24)),
        (0.99, 8, (8, 8)),
        (0.99, 4, (4, 4)),
        (0.99, 1, (1, 1)),
    ],
)
def test_widths_are_the_nearest_multiple_and_never_below_one(ratio, round_to, widths):
    pruned, _ = channels.prune(networks.plain(), networks.IMAGES, ratio=ratio, round_to=round_to)
    assert (pruned[0].out_channels, pruned[3].out_channels) == widths


def test_the_twin_is_never_touched():
    model = networks.plain().train()
    model[0].weight.requires_grad_(False)
    before = weights.dump(model)
    pruned, _ = channels.prune(model, networks.IMAGES, ratio=0.5)
    assert weights.dump(model) == before
    assert model.training
    assert pruned.training
    assert [p.requires_grad for p in pruned.parameters()] == [p.requires_grad for p in model.parameters()]


def test_the_weakest_channels_go():
    model = networks.plain()
    with torch.no_grad():
        model[0].weight[3] *= 1e-3
        model[0].bias[3] = 0
        model[1].weight[3] = 1e-3
        model[3].weight[:, 3] *= 1e-3
    _, lineage = channels.prune(model, networks.IMAGES, ratio=1 / 16, round_to=1)
    assert lineage.removed["0"] == (3,)


def test_a_removed_channel_that_did_nothing_changes_no_answer():
    model = networks.plain().eval()
    with torch.no_grad():
        for channel in (2, 5, 7, 11):
            model[1].weight[channel] = model[1].bias[channel] = 0
            model[0].weight[channel] *= 1e-6
    pruned = channels.cut(model, networks.IMAGES, {"0": (2, 5, 7, 11)})
    rows = torch.from_numpy(networks.IMAGES)
    torch.testing.assert_close(pruned(rows), model(rows))
    assert pruned[0].out_channels == 12


def test_the_same_ask_gives_the_same_cut():
    first = channels.prune(networks.residual(), networks.IMAGES, ratio=0.5)[1]
    assert channels.prune(networks.residual(), networks.IMAGES, ratio=0.5)[1] == first


def test_the_random_control_follows_its_seed():
    def removed(seed):
        return channels.prune(networks.plain(), networks.IMAGES, ratio=0.5, criterion="random", seed=seed)[1].removed

    assert removed(1) == removed(1)
    assert removed(1) != removed(2)


def test_skips_concatenations_and_depthwise_layers_stay_consistent_and_grouped_ones_whole():
    pruned, lineage = channels.prune(networks.residual(), networks.IMAGES, ratio=0.5)
    assert pruned(torch.from_numpy(networks.IMAGES)).shape == (6, networks.CLASSES)
    assert pruned.stem.out_channels == pruned.depthwise.groups == 8
    assert "grouped" in lineage.untouched


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.inner = nn.Linear(5, 16)
        self.recurrent = kind(16, 16, batch_first=True)
        self.wide = nn.Linear(16, 32)
        self.last = nn.Linear(32, networks.CLASSES)

    def forward(self, x):
        state, _ = self.recurrent(self.inner(x)[:, None])
        return self.last(torch.relu(self.wide(state[:, 0])))


@pytest.mark.parametrize("kind", [nn.GRU, nn.RNN])
def test_a_layer_that_no_rule_reaches_is_named_and_the_others_are_pruned(kind):
    _, lineage = channels.prune(networks.seeded(lambda: Recurrent(kind)), networks.TABLE, ratio=0.5)
    assert "recurrent" in lineage.untouched
    assert "wide" not in lineage.untouched


class Unrolled(Recurrent):
    def forward(self, x):
        state, _ = self.recurrent(self.inner(x.expand(4, -1, -1).transpose(0, 1)))
        return self.last(torch.relu(self.wide(state[:, -1])))


def test_a_network_that_the_graph_misreads_is_refused_and_no_crash():
    with pytest.raises(InvalidInputError, match="Unrolled cannot be traced for pruning"):
        channels.prune(networks.seeded(lambda: Unrolled(nn.GRU)), networks.TABLE, ratio=0.5)


class Scaled(nn.Module):
    """A parameter that belongs to no layer, as wide as the channels it scales."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3)
        self.scale = nn.Parameter(torch.rand(16, 1, 1))
        self.last = nn.Linear(16, networks.CLASSES)

    def forward(self, x):
        return self.last((self.stem(x) * self.scale).mean((2, 3)))


def test_a_free_parameter_loses_the_channels_that_its_layer_lost():
    pruned, lineage = channels.prune(networks.seeded(Scaled), networks.IMAGES, ratio=0.5)
    assert pruned.scale.shape == (8, 1, 1)
    assert lineage.kept["scale"][0] == lineage.kept["stem.weight"][0]


def test_tied_weights_are_refused_by_name():
    model = networks.table()
    model[4] = nn.Linear(16, 32)
    model.append(nn.Linear(32, 16))
    model[5].weight = model[3].weight
    with pytest.raises(InvalidInputError, match=r"3\.weight and 5\.weight share one weight"):
        channels.prune(model, networks.TABLE, ratio=0.5)


def test_a_network_too_narrow_for_its_rounding_is_refused():
    with pytest.raises(InvalidInputError, match="nothing can be removed"):
        channels.prune(networks.plain(), networks.IMAGES, ratio=0.5, round_to=64)


def test_the_output_is_never_pruned():
    with pytest.raises(InvalidInputError, match="nothing can be removed"):
        channels.prune(nn.Linear(5, 32), networks.TABLE, ratio=0.5)
    with pytest.raises(InvalidInputError, match="would change the output"):
        channels.cut(networks.plain(), networks.IMAGES, {"7": (0,)})


def test_a_network_that_fails_on_the_example_is_refused():
    with pytest.raises(InvalidInputError, match="Sequential cannot be traced"):
        channels.prune(networks.plain(), networks.TABLE, ratio=0.5)


def test_removed_channels_give_a_fresh_network_the_pruned_widths():
    pruned, lineage = channels.prune(networks.plain(), networks.IMAGES, ratio=0.5)
    fresh = channels.cut(networks.plain(), networks.IMAGES, lineage.removed)
    weights.load(fresh, weights.dump(pruned))
    assert weights.digest(fresh) == lineage.weights


def test_one_models_layers_do_not_leak_into_the_next_pruning():
    alone = channels.prune(networks.plain(), networks.IMAGES, ratio=0.5)[1]
    channels.prune(networks.residual(), networks.IMAGES, ratio=0.5)
    assert channels.prune(networks.plain(), networks.IMAGES, ratio=0.5)[1] == alone
