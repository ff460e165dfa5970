import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import criteria, watching, weights
from pruneguard.pruning.criteria import CRITERIA, default, scores
from pruneguard.pruning.group import Group, Observed, Part, Slice
from pruneguard.pruning.recipe import METHODS
from pruneguard.workload import Split
from tests.pruning import networks


def singles(width):
    return tuple((number,) for number in range(width))


def hidden(width=3, **more):
    """The group of the hidden neurons of `mlp`."""
    owned = (
        Slice("0.weight", 0, singles(width)),
        Slice("0.bias", 0, singles(width)),
        Slice("2.weight", 1, singles(width)),
    )
    return Group(Part.NEURONS, "0", singles(width), owned, observed=Observed("1", "output", 1, singles(width)), **more)


def mlp(first, bias, last):
    """Linear, ReLU, linear without a bias, with these weights."""
    model = nn.Sequential(nn.Linear(2, len(first)), nn.ReLU(), nn.Linear(len(first), len(last), bias=False))
    with torch.no_grad():
        for parameter, values in zip(model.parameters(), (first, bias, last), strict=True):
            parameter.copy_(torch.tensor(values))
    return model


def small():
    return mlp([[1.0, -2.0], [0.0, 3.0], [1.0, 1.0]], [0.0, -1.0, 2.0], [[1.0, 0.0, 2.0], [-1.0, 2.0, 0.0]])


def ask(model, groups, criterion, rows=None, seed=0):
    return [found.tolist() for found in scores(model, groups, criterion=criterion, rows=rows, seed=seed)]


ROWS = Split(np.array([[1, 0], [0, 1], [1, 1], [0.5, -1]], dtype=np.float32), np.array([0, 1, 1, 0]))


# -- weights ------------------------------------------------------------------------------------------------------


def test_l1_and_l2_by_hand():
    # |w|: 1+2+0+1+1, 0+3+1+0+2, 1+1+2+2+0; squares: 1+4+1+1, 9+1+4, 1+1+4+4
    assert ask(small(), [hidden()], "l1") == [pytest.approx([5 * 3 / 17, 6 * 3 / 17, 6 * 3 / 17])]
    assert ask(small(), [hidden()], "l2") == [pytest.approx([7 * 3 / 31, 14 * 3 / 31, 10 * 3 / 31])]


def test_groups_compare_whatever_the_scale_of_their_weights():
    model = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 5, bias=False))
    with torch.no_grad():
        model[1].weight.mul_(100)
    groups = [Group(Part.NEURONS, str(at), singles(3), (Slice(f"{at}.weight", at, singles(3)),)) for at in (0, 1)]
    for criterion in ("l1", "l2", "fpgm"):
        assert [np.mean(found) for found in ask(model, groups, criterion)] == pytest.approx([1, 1])


def test_the_statistics_of_a_normalisation_are_no_weights():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    owned = tuple(
        Slice(name, 0, singles(2))
        for name in ("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var")
    )
    group = Group(Part.CHANNELS, "0", singles(2), owned)
    before = ask(model, [group], "l2"), ask(model, [group], "fpgm")
    model[1].running_var[0] = 1e6
    assert (ask(model, [group], "l2"), ask(model, [group], "fpgm")) == before


def test_an_entry_in_a_row_and_a_column_of_one_part_counts_once():
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0], [4.0, 8.0]]))
    group = Group(
        Part.UNITS, "", singles(2), (Slice("weight", 0, singles(2)), Slice("weight", 1, singles(2)))
    )  # part 0: 1+2+4, part 1: 4+8+2
    assert ask(model, [group], "l1") == [pytest.approx([7 * 2 / 21, 14 * 2 / 21])]


def test_tensors_that_vanish_whole_count_and_bundles_are_summed():
    model = nn.ModuleList([nn.Linear(1, 2, bias=False), nn.Linear(1, 2, bias=False), nn.Linear(1, 4, bias=False)])
    for layer, values in zip(model, ([1.0, 2.0], [3.0, -4.0], [1.0, 1.0, 5.0, 5.0]), strict=True):
        layer.weight.data = torch.tensor(values)[:, None]
    group = Group(
        Part.EXPERTS,
        "",
        singles(2),
        (Slice("2.weight", 0, ((0, 1), (2, 3))),),
        whole=(("0.weight",), ("1.weight",)),
    )
    assert ask(model, [group], "l1") == [pytest.approx([5 * 2 / 22, 17 * 2 / 22])]


def test_taylor_is_the_squared_product_of_weight_and_gradient_over_the_part():
    model, rows = small(), ROWS
    loss = F.cross_entropy(model(torch.from_numpy(rows.x)), torch.from_numpy(rows.y))
    loss.backward()
    product = {name: (parameter.grad * parameter.detach()).double() for name, parameter in model.named_parameters()}
    expected = (product["0.weight"].sum(1) + product["0.bias"] + product["2.weight"].sum(0)) ** 2
    assert ask(small(), [hidden()], "taylor", rows) == [pytest.approx(expected.tolist())]


def test_taylor_averages_the_squares_over_batches():
    rows = Split(np.repeat(ROWS.x, 40, axis=0), np.repeat(ROWS.y, 40))  # batches of 64, 64 and 32 rows
    parts = [Split(rows.x[at : at + 64], rows.y[at : at + 64]) for at in (0, 64, 128)]
    alone = [np.array(ask(small(), [hidden()], "taylor", part)[0]) * len(part) for part in parts]
    assert ask(small(), [hidden()], "taylor", rows)[0] == pytest.approx((sum(alone) / 160).tolist())


def test_taylor_sees_frozen_weights_and_finds_a_dead_neuron_worthless():
    model = mlp([[1.0, 1.0], [-9.0, -9.0], [1.0, 0.5]], [0.0, -9.0, 0.0], [[1.0, 5.0, 2.0], [0.0, 5.0, 1.0]])
    free = ask(model, [hidden()], "taylor", Split(np.abs(ROWS.x), ROWS.y))
    assert free[0][1] == 0 < min(free[0][0], free[0][2])
    assert ask(model.requires_grad_(False), [hidden()], "taylor", Split(np.abs(ROWS.x), ROWS.y)) == free


def test_fpgm_by_hand_what_lies_in_the_midst_goes_first():
    model = nn.Linear(2, 3, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]))
    group = Group(Part.NEURONS, "", singles(3), (Slice("weight", 0, singles(3)),))
    # Distances 5, 5 and 10; the largest norm is not the most worth, the middle is the least.
    assert ask(model, [group], "fpgm") == [pytest.approx([15 * 3 / 40, 10 * 3 / 40, 15 * 3 / 40])]


def test_fpgm_refuses_parts_of_different_sizes():
    group = Group(Part.NEURONS, "", ((0,), (1, 2)), (Slice("weight", 0, ((0,), (1, 2))),))
    with pytest.raises(InvalidInputError, match="different sizes"):
        ask(nn.Linear(2, 3), [group], "fpgm")


# -- activations --------------------------------------------------------------------------------------------------


def told(n=400):
    """Labels, and three features: two that are the same and nearly the label, one that is weaker and its own."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    strong = np.where(rng.random(n) < 0.1, 1 - y, y)
    weak = np.where(rng.random(n) < 0.3, 1 - y, y)
    return np.stack([strong, strong, weak], 1).astype(np.float32), y


def test_mrmr_takes_the_weaker_different_neuron_before_the_twin_of_the_best():
    x, y = told()
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(3))
        model[0].bias.zero_()
    (found,) = ask(model, [hidden()], "mrmr", Split(x, y))
    assert found == [1.5, 0.5, 1.0]  # 3, 1 and 2, with mean one


def test_mutual_information_of_a_coin_with_itself_is_log_2_and_with_another_zero():
    coin = F.one_hot(torch.tensor([0, 0, 1, 1]), 8).float()
    spread = torch.stack([coin, F.one_hot(torch.tensor([0, 1, 0, 1]), 8).float()], 1)
    torch.testing.assert_close(watching._information(spread, coin), torch.tensor([np.log(2), 0.0]).float())


def test_mrmr_reads_channels_by_their_mean_and_the_input_of_a_layer_as_well():
    x, y = told()
    images = np.repeat(x[:, :, None], 4, axis=2).reshape(-1, 3, 2, 2)
    images += np.array([[2, -2], [0.5, -0.5]], dtype=np.float32)  # the mean is the feature again
    model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(12, 2))
    for side in ("input", "output"):
        group = Group(Part.CHANNELS, "0", singles(3), observed=Observed("0", side, 1, singles(3)))
        assert ask(model, [group], "mrmr", Split(images, y)) == [[1.5, 0.5, 1.0]]


def test_mrmr_reads_a_recurrent_layer():
    model = networks.recurrent()
    group = Group(Part.UNITS, "recurrent", singles(8), observed=Observed("recurrent", "output", 2, singles(8)))
    rng = np.random.default_rng(0)
    rows = Split(rng.random((70, 5), dtype=np.float32), np.arange(70) % 3)
    assert sorted(ask(model, [group], "mrmr", rows)[0]) == pytest.approx([rank / 4.5 for rank in range(1, 9)])


def test_mrmr_says_where_nothing_can_be_read():
    rows = Split(networks.TABLE, np.arange(6) % 3)
    group = Group(Part.NEURONS, "0", singles(32))
    with pytest.raises(InvalidInputError, match="what 0 computes cannot be read"):
        ask(networks.table(), [group], "mrmr", rows)
    model = networks.transformer()
    group = Group(
        Part.HEADS,
        "encoder.self_attn",
        singles(2),
        observed=Observed("encoder.self_attn.out_proj", "input", 2, singles(2)),
    )
    assert len(ask(model, [group], "mrmr", rows)[0]) == 2  # torch's own attention would call past its projection
    group = Group(
        Part.NEURONS, "encoder.linear1", singles(32), observed=Observed("encoder.linear1", "output", 2, singles(32))
    )
    assert len(ask(model, [group], "mrmr", rows)[0]) == 32


class Scaled(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by))

    def forward(self, x):
        return x * self.by


class Stack(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x.reshape(len(x), -1)[:, :2]


def blocks(width):
    return Group(Part.BLOCKS, "blocks", singles(width))


def test_the_influence_of_a_block_is_how_far_it_turns_what_goes_through_it():
    model = Stack([Scaled([1.0, -1.0]), Scaled([2.0, 2.0]), Scaled([1.0, 0.0])])
    x = np.array([[1, 0], [1, 1]], dtype=np.float32)
    # Cosines: (1, 0); (1, 1); then (1, 0), and between [1, -1] and [1, 0] the root of a half.
    (found,) = ask(model, [blocks(3)], "influence", Split(x, np.array([0, 1])))
    assert found == pytest.approx([0.5, 0.0, (1 - 0.5**0.5) / 2], abs=1e-9)


def test_influence_looks_at_the_channels_of_images_and_at_the_features_of_sequences():
    class Turned(nn.Module):
        def forward(self, x):
            return x[:, [1, 0]]  # swaps two channels, or two positions

    def influence(shape):
        x = np.zeros((2, *shape), dtype=np.float32)
        x[:, 0] = 1
        return ask(Stack([Turned()]), [blocks(1)], "influence", Split(x, np.array([0, 1])))[0]

    assert influence((2, 3, 3)) == [1.0]
    assert influence((2, 4)) == [1.0]


def test_a_block_that_changes_the_shape_has_no_influence_score():
    with pytest.raises(InvalidInputError, match=r"blocks\.0 turns \(2, 2, 3\) into \(2, 6\)"):
        ask(Stack([nn.Flatten()]), [blocks(1)], "influence", Split(np.ones((2, 2, 3), np.float32), np.array([0, 1])))


class Mixture(nn.Module):
    """Two-feature experts that multiply; the best one by the router answers each row."""

    def __init__(self, router, factors, name="gate"):
        super().__init__()
        self.experts = nn.ModuleList(Scaled(factor) for factor in factors)
        setattr(self, name, nn.Linear(2, len(factors), bias=False))
        self.name = name
        with torch.no_grad():
            getattr(self, name).weight.copy_(torch.tensor(router))

    def forward(self, x):
        weight, which = getattr(self, self.name)(x).softmax(-1).max(-1)
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            mine = which == number
            out[mine] = expert(x[mine]) * weight[mine, None]
        return out


def experts(router):
    return Group(Part.EXPERTS, "", singles(3), observed=Observed(router, "output", -1, singles(3)))


EXPERTS = experts("gate")


@pytest.mark.parametrize("name", ["router", "gate"])
def test_usage_is_router_mass_times_output_norm(name):
    model = Mixture([[0.0, 0.0], [np.log(2.0), 0.0], [0.0, 0.0]], [[1.0, 1.0], [3.0, 4.0], [1.0, 1.0]], name)
    rows = Split(np.array([[1, 1], [1, -1]], dtype=np.float32), np.array([0, 1]))
    # Every row: probabilities 1/4, 1/2, 1/4, all rows to expert 1, whose answers have norm 5.
    assert ask(model, [experts(name)], "usage", rows) == [pytest.approx([0, 3, 0])]


def test_an_expert_that_is_asked_more_is_worth_more():
    model = Mixture([[4.0, 0.0], [0.0, 4.0], [-9.0, -9.0]], [[1.0, 1.0]] * 3)
    rows = Split(np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32), np.array([0, 1, 0]))
    first, second, third = ask(model, [EXPERTS], "usage", rows)[0]
    assert first > second > third == 0


def test_a_mixture_whose_router_cannot_be_seen_is_refused():
    model = Mixture([[1.0, 1.0]] * 3, [[1.0, 1.0]] * 3)
    with pytest.raises(InvalidInputError, match="cannot be seen"):
        ask(model, [Group(Part.EXPERTS, "", singles(3))], "usage", ROWS)


# -- all of them --------------------------------------------------------------------------------------------------


def test_the_random_control_follows_its_seed_alone():
    first = ask(small(), [hidden(), hidden()], "random", seed=1)
    assert (
        first
        == ask(small(), [hidden(), hidden()], "random", seed=1)
        != ask(small(), [hidden(), hidden()], "random", seed=2)
    )
    assert first[0] != first[1]


FITTING = [
    (criterion, part)
    for criterion, known in CRITERIA.items()
    for part in known.parts
    if part in (Part.NEURONS, Part.BLOCKS, Part.EXPERTS)
]


@pytest.mark.parametrize(("criterion", "part"), FITTING)
def test_the_model_is_left_as_it_was(criterion, part):
    model, group, x = {
        Part.NEURONS: lambda: (small(), hidden(), ROWS.x),
        Part.BLOCKS: lambda: (
            Stack([Scaled([1.0, -1.0]), Scaled([1.0, 0.0])]),
            Group(Part.BLOCKS, "blocks", singles(2), whole=(("blocks.0.by",), ("blocks.1.by",))),
            ROWS.x,
        ),
        Part.EXPERTS: lambda: (Mixture([[1.0, 1.0]] * 3, [[1.0, 1.0]] * 3), EXPERTS, ROWS.x),
    }[part]()
    first = next(model.parameters())
    first.grad = torch.ones_like(first)
    model.train()
    next(model.children()).eval()
    first.requires_grad_(False)
    before = weights.dump(model), [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]
    state = torch.random.get_rng_state()
    found = scores(model, [group], criterion=criterion, rows=Split(x, ROWS.y), seed=0)
    assert [(score.dtype, score.shape) for score in found] == [(torch.float64, (group.width,))]
    after = weights.dump(model), [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]
    assert after == before
    assert torch.equal(first.grad, torch.ones_like(first))
    assert [p.grad for p in list(model.parameters())[1:]] == [None] * (len(list(model.parameters())) - 1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(module._forward_hooks for module in model.modules())


def test_dropout_is_off_and_the_answer_the_same_twice():
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.9), nn.Linear(3, 2)).train()
    for criterion in ("taylor", "mrmr"):
        assert ask(model, [hidden()], criterion, ROWS) == ask(copy.deepcopy(model), [hidden()], criterion, ROWS)


def test_of_many_rows_a_sample_is_looked_at():
    rows = Split(np.repeat(ROWS.x, 1000, axis=0), np.repeat(ROWS.y, 1000))
    sampled = criteria._sample(rows, 3)
    assert len(sampled) == criteria.ROWS_MAX
    assert ask(small(), [hidden()], "taylor", rows, seed=3) == ask(small(), [hidden()], "taylor", sampled)
    assert ask(small(), [hidden()], "taylor", rows, seed=3) != ask(small(), [hidden()], "taylor", rows, seed=4)


@pytest.mark.parametrize("part", Part)
def test_the_default_fits_its_part(part):
    assert part in CRITERIA[default(part)].parts


def test_every_criterion_says_what_it_does_and_who_found_it():
    assert all(known.doc and ("arXiv" in known.paper or "doi" in known.paper) for known in CRITERIA.values())


# -- what is refused ----------------------------------------------------------------------------------------------


def test_an_unknown_criterion_is_told_which_there_are():
    with pytest.raises(InvalidInputError, match=r"no criterion is called 'l3'; .*'taylor'"):
        ask(small(), [hidden()], "l3")


def test_a_criterion_that_does_not_fit_says_which_do():
    with pytest.raises(InvalidInputError, match=r"'influence' does not fit neurons; expected one of \['fpgm', 'l1',"):
        ask(small(), [hidden()], "influence", ROWS)


@pytest.mark.parametrize("rows", [None, Split(ROWS.x[:0], ROWS.y[:0])])
def test_a_criterion_that_needs_rows_says_so(rows):
    with pytest.raises(InvalidInputError, match=r"was given none; .*\['fpgm', 'l1', 'l2', 'random'\]"):
        ask(small(), [hidden()], "taylor", rows)


@pytest.mark.parametrize("criterion", ["l2", "random", "taylor"])
def test_weights_that_are_not_finite_are_named(criterion):
    model = small()
    model[2].weight.data[0, 0] = torch.nan
    with pytest.raises(InvalidInputError, match=r"2\.weight has weights that are not finite"):
        ask(model, [hidden()], criterion, ROWS)


def test_gradients_that_are_not_finite_are_refused():
    with pytest.raises(InvalidInputError, match="not finite"):
        ask(small(), [hidden()], "taylor", Split(ROWS.x * np.float32(1e38), ROWS.y))


def test_rows_that_do_not_fit_the_network_are_refused():
    with pytest.raises(InvalidInputError, match=r"Sequential fails on 3 rows \[5\]"):
        ask(small(), [hidden()], "taylor", Split(networks.TABLE[:3], np.array([0, 1, 0])))
    with pytest.raises(InvalidInputError, match="the labels go from 0 to 2"):
        ask(small(), [hidden()], "mrmr", Split(ROWS.x, np.array([0, 1, 2, 0])))


def test_a_recipe_offers_just_the_criteria_that_fit():
    for part in Part:
        method = next(method for method in METHODS if (method.verb, method.what) == ("prune", part.value))
        knob = next(knob for knob in method.knobs if knob.name == "criterion")
        assert {name for name in CRITERIA if knob.fits(name)} == {
            n for n, known in CRITERIA.items() if part in known.parts
        }
        assert knob.default == default(part)
