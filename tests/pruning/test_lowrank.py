import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import lowrank, weights
from pruneguard.pruning.export import to_onnx
from pruneguard.pruning.lineage import Factors, Lineage
from tests.pruning import networks
from tests.pruning.networks import CLASSES, IMAGES, TABLE, seeded


def mlp():
    return seeded(lambda: nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 3)))


def with_weight(layer, weight):
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(weight, dtype=torch.float32).reshape(layer.weight.shape))
    return layer


def size(model):
    return sum(parameter.numel() for parameter in model.parameters())


def matrix_of(layer, inputs):
    """What a layer without bias does to each unit vector: its weight, measured from outside."""
    with torch.no_grad():
        return layer(torch.eye(inputs)).T


def error(layer, chain, x):
    """Of a convolution, measured from outside: on the impulses of every channel and place of a kernel."""
    with torch.no_grad():
        dense, made = layer(x), chain(x)
    return float((dense - made).norm() / dense.norm())


# -- by hand --------------------------------------------------------------------------------------------------------


def test_a_matrix_of_rank_one_is_made_again_exactly_by_rank_one():
    weight = np.outer([3.0, 0.0, -4.0, 0.0], [1.0, 2.0, 2.0])
    model = nn.Sequential(with_weight(nn.Linear(3, 4, bias=False), weight))
    made = lowrank.factor(model, ratio=0.4, round_to=1)
    assert made.factors["0"].ranks == (1,)
    assert made.factors["0"].error < 1e-7
    first, second = made.model[0]
    # The one singular value is |(3, 0, -4, 0)| |(1, 2, 2)| = 5 * 3; the largest entry of its vector is positive.
    torch.testing.assert_close(second.weight[:, 0], torch.tensor([-0.6, 0.0, 0.8, 0.0]))
    torch.testing.assert_close(first.weight[0], -5 * torch.tensor([1.0, 2.0, 2.0]))


def test_what_a_known_spectrum_loses_can_be_computed_by_hand():
    weight = np.diag([12.0, 5.0, 4.0, 3.0])  # energies 144, 25, 16, 9 of 194
    model = nn.Sequential(with_weight(nn.Linear(4, 4), weight))
    made = lowrank.factor(model, ratio=0.5, round_to=1)  # 16 weights, 8 for each rank
    assert made.factors["0"].ranks == (1,)
    assert made.factors["0"].error == pytest.approx((50 / 194) ** 0.5, rel=1e-6)
    torch.testing.assert_close(
        matrix_of(made.model[0], 4) - model[0].bias[:, None], torch.diag(torch.tensor([12.0, 0, 0, 0]))
    )


def test_a_kernel_of_one_pattern_is_made_again_exactly_by_tucker_of_rank_one():
    pattern = torch.tensor([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]])
    weight = torch.einsum("o,i,hw->oihw", torch.tensor([1.0, -2, 3, 1]), torch.tensor([2.0, 1, 0]), pattern)
    model = nn.Sequential(with_weight(nn.Conv2d(3, 4, 3, padding=1), weight))
    made = lowrank.factor(model, ratio=0.8, round_to=1)
    assert made.factors["0"].ranks == (1, 1)
    assert [tuple(link.weight.shape) for link in made.model[0]] == [(1, 3, 1, 1), (1, 1, 3, 3), (4, 1, 1, 1)]
    assert error(model[0], made.model[0], torch.rand(2, 3, 6, 6)) < 1e-6


# -- what a chain does ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.Conv2d(12, 16, 3, stride=2, padding=1, dilation=2),
        lambda: nn.Conv2d(12, 16, (3, 5), padding="same", padding_mode="circular"),
        lambda: nn.Conv2d(12, 16, 1, stride=2, padding=1, bias=False),
        lambda: nn.Conv2d(12, 16, 3, stride=(1, 2), padding=(0, 1), padding_mode="reflect"),
    ],
    ids=["dilated", "same", "pointwise", "reflected"],
)
def test_at_almost_full_rank_a_chain_answers_almost_as_its_layer(layer):
    model = nn.Sequential(seeded(layer))
    with torch.no_grad():  # one singular value of the sixteen is nearly nothing on either side
        u, s, v = torch.linalg.svd(model[0].weight.flatten(1), full_matrices=False)
        with_weight(model[0], u[:, :3] * s[:3] @ v[:3])
        if model[0].weight[0, 0].numel() > 1:
            u, s, v = torch.linalg.svd(model[0].weight.transpose(0, 1).flatten(1), full_matrices=False)
            low = (u[:, :3] * s[:3] @ v[:3]).reshape(model[0].weight.transpose(0, 1).shape).transpose(0, 1)
            with_weight(model[0], low)
    made = lowrank.factor(model, ratio=0.3, round_to=1)
    x = torch.rand(2, 12, 9, 9)
    assert made.factors["0"].error < 1e-6
    torch.testing.assert_close(made.model(x), model(x), atol=1e-5, rtol=1e-4)
    assert made.model[0][-1].bias is None or torch.equal(made.model[0][-1].bias, model[0].bias)


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.8])
def test_the_error_reported_is_the_one_measured(ratio):
    model = nn.Sequential(
        seeded(lambda: nn.Linear(40, 30, bias=False)), seeded(lambda: nn.Conv2d(16, 24, 3, bias=False))
    )
    made = lowrank.factor(model, ratio=ratio, round_to=1)
    difference = (matrix_of(model[0], 40) - matrix_of(made.model[0], 40)).norm() / model[0].weight.detach().norm()
    assert made.factors["0"].error == pytest.approx(float(difference), rel=1e-4)
    impulses = torch.zeros(16, 16, 5, 5)
    impulses[torch.arange(16), torch.arange(16), 2, 2] = 1  # answered by every entry of the kernel once
    assert made.factors["1"].error == pytest.approx(error(model[1], made.model[1], impulses), rel=1e-4)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.floats(0.05, 0.95), st.sampled_from([1, 2, 4]))
def test_a_network_gets_smaller_by_the_ratio_and_loses_more_the_more_goes(seed, ratio, round_to):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(30, 20), nn.Linear(20, 26), nn.Conv1d(18, 22, 3))
    made = lowrank.factor(model, ratio=ratio, round_to=round_to)
    assert size(made.model) < size(model)
    chained = [model[int(name)] for name in made.factors]
    thinnest = all(max(one.ranks) == round_to for one in made.factors.values())
    matrices = sum(model[k].weight.numel() for k in range(3))
    assert matrices - (size(model) - size(made.model)) <= (1 - ratio) * matrices or thinnest
    for one, layer in zip(made.factors.values(), chained, strict=True):
        assert all(rank % round_to == 0 or rank in layer.weight.shape for rank in one.ranks)
    more = lowrank.factor(model, ratio=min(0.99, ratio + 0.1), round_to=round_to).factors
    for name, one in made.factors.items():
        assert more[name].error >= one.error - 1e-9
        assert all(thinner <= rank for thinner, rank in zip(more[name].ranks, one.ranks, strict=True))


def test_ranks_are_multiples_or_the_width_itself():
    model = seeded(lambda: nn.Sequential(nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3), nn.Conv2d(32, 4, 1)))
    made = lowrank.factor(model, ratio=0.99, round_to=8)
    assert {name: one.ranks for name, one in made.factors.items()} == {"0": (3, 8), "1": (8, 8)}
    assert made.untouched == {"2": "too small: a chain of rank 8 has no fewer weights"}


# -- what is kept, what is told -------------------------------------------------------------------------------------


def test_the_model_is_never_changed_and_its_modes_are_kept():
    model = mlp().train()
    model[2].eval()
    model[2].weight.requires_grad_(False)
    before, state = weights.dump(model), torch.get_rng_state()
    made = lowrank.factor(model, ratio=0.5, round_to=1).model
    assert weights.dump(model) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert [made.training, made[0].training, made[2][1].training] == [True, True, False]
    assert [p.requires_grad for p in made[2].parameters()] == [False, False, True]


def test_the_same_ask_gives_the_same_weights():
    first, second = (lowrank.factor(mlp(), ratio=0.5, round_to=2) for _ in range(2))
    assert weights.dump(first.model) == weights.dump(second.model)
    assert first.factors == second.factors


def test_a_matrix_and_its_negative_have_the_same_basis():
    model = mlp()
    other = copy.deepcopy(model)
    with_weight(other[2], -model[2].weight)
    made, turned = (lowrank.factor(one, ratio=0.5, round_to=1).model[2] for one in (model, other))
    torch.testing.assert_close(made[1].weight, turned[1].weight)
    torch.testing.assert_close(made[0].weight, -turned[0].weight)


def test_factors_give_a_fresh_network_the_shape_for_the_weights():
    made = lowrank.factor(networks.residual(), ratio=0.4, round_to=4)
    fresh = lowrank.reshape(networks.residual(), made.factors)
    weights.load(fresh, weights.dump(made.model))
    x = torch.from_numpy(IMAGES)
    torch.testing.assert_close(fresh(x), made.model(x), atol=0, rtol=0)


def test_shapes_are_the_ones_that_the_lineage_expects():
    model = networks.residual()
    made = lowrank.factor(model, ratio=0.4, round_to=4)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    lineage = Lineage(
        dense="",
        start="",
        weights="",
        recipe=(),
        ratio=0.4,
        seed=0,
        shapes=shapes,
        kept={name: (None,) * len(shape) for name, shape in shapes.items()},
        factored=made.factors,
    )
    assert lineage.final_shapes == {name: tuple(tensor.shape) for name, tensor in made.model.state_dict().items()}
    assert {len(one.ranks) for one in made.factors.values()} == {1, 2}


@pytest.mark.parametrize(("kind", "chained"), [("svd", {"mix", "side"}), ("tucker", {"stem", "first"})])
def test_a_kind_leaves_the_other_layers_alone_and_says_so(kind, chained):
    made = lowrank.factor(networks.residual(), kind=kind, ratio=0.9, round_to=4)
    assert made.factors.keys() == chained
    other = "first" if kind == "svd" else "mix"
    assert made.untouched[other].startswith(f"kind {kind} leaves it alone")


class Assorted(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(1, 16)
        self.memory = nn.GRU(16, 16, batch_first=True)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.grouped = nn.Conv1d(16, 16, 3, groups=2, padding=1)
        self.up = nn.ConvTranspose1d(16, 16, 3)
        self.wide = nn.Linear(16, 64)
        self.last = nn.Linear(64, CLASSES)

    def forward(self, x):
        x = self.memory(self.embed(x[..., None]))[0]
        x = self.up(self.grouped(self.attention(x, x, x)[0].transpose(1, 2)))
        return self.last(torch.relu(self.wide(x.mean(2))))


def test_every_layer_that_stays_whole_is_named_with_the_reason():
    made = lowrank.factor(seeded(Assorted), ratio=0.3, round_to=4)
    assert made.factors.keys() == {"wide"}
    assert made.untouched == {
        "embed": "too small: a chain of rank 4 has no fewer weights",
        "memory": "there is no chain for GRU",
        "attention": "there is no chain for MultiheadAttention",
        "grouped": "there is no chain for a grouped convolution",
        "up": "there is no chain for ConvTranspose1d",
        "last": "too small: a chain of rank 4 has no fewer weights",
    }


def test_a_layer_that_the_ratio_lets_stay_whole_is_named():
    model = nn.Sequential(seeded(lambda: nn.Linear(64, 64)), with_weight(nn.Linear(64, 64), torch.ones(64, 64)))
    made = lowrank.factor(model, ratio=0.3, round_to=1)
    assert made.factors.keys() == {"1"}
    assert "stays whole" in made.untouched["0"]


def test_a_layer_of_zeros_becomes_the_thinnest_chain():
    model = nn.Sequential(with_weight(nn.Linear(16, 16), torch.zeros(16, 16)))
    assert lowrank.factor(model, ratio=0.2, round_to=2).factors == {"0": Factors((2,), 0.0)}


@pytest.mark.parametrize("mask", [False, True])
def test_a_transformer_of_torch_runs_in_eval_mode_and_in_training(mask):
    model = seeded(
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 64, dropout=0.0, batch_first=True), 2)
    )
    made = lowrank.factor(model, ratio=0.4, round_to=1)
    padding = torch.zeros(3, 4, dtype=torch.bool)
    padding[1, 2:] = mask
    x = torch.rand(3, 4, 16)
    with torch.no_grad():
        trained = made.model.train()(x, src_key_padding_mask=padding)
        torch.testing.assert_close(made.model.eval()(x, src_key_padding_mask=padding)[~padding], trained[~padding])
    assert {name.rpartition(".")[2] for name in made.factors} == {"linear1", "linear2"}


@pytest.mark.parametrize(
    ("build", "example"), [(mlp, TABLE), (networks.residual, IMAGES), (networks.transformer, TABLE)]
)
def test_the_factored_network_exports(build, example):
    made = lowrank.factor(build(), ratio=0.3, round_to=2)
    assert made.factors
    to_onnx(made.model, example, classes=CLASSES)


# -- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, float("nan")])
def test_a_ratio_outside_0_and_1_is_refused(ratio):
    with pytest.raises(InvalidInputError, match="between 0 and 1"):
        lowrank.factor(mlp(), ratio=ratio)


def test_an_unknown_kind_or_multiple_is_refused():
    with pytest.raises(InvalidInputError, match="kind='cp'"):
        lowrank.factor(mlp(), kind="cp", ratio=0.5)
    with pytest.raises(InvalidInputError, match="round_to=0"):
        lowrank.factor(mlp(), ratio=0.5, round_to=0)


def test_where_no_layer_gets_smaller_the_step_is_refused():
    with pytest.raises(InvalidInputError, match="no layer of Sequential gets smaller"):
        lowrank.factor(mlp(), ratio=0.5, round_to=64)
    with pytest.raises(InvalidInputError, match="it is the whole network"):
        lowrank.factor(nn.Linear(64, 64), ratio=0.5)


def test_a_weight_that_is_not_finite_is_refused_by_name():
    model = mlp()
    with torch.no_grad():
        model[2].weight[0, 0] = float("inf")
    with pytest.raises(InvalidInputError, match=r"2\.weight has entries that are not finite"):
        lowrank.factor(model, ratio=0.5, round_to=1)


@pytest.mark.parametrize(("name", "ranks"), [("gone", (2,)), ("1", (2,)), ("2", (2, 2))])
def test_factors_of_another_network_are_refused(name, ranks):
    with pytest.raises(InvalidInputError, match=f"'{name}' of Sequential cannot be a chain of ranks"):
        lowrank.reshape(mlp(), {name: Factors(ranks, 0.0)})
