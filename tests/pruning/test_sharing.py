import numpy as np
import pytest
import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import sharing, weights
from tests.pruning import networks


def linear(values):
    layer = nn.Linear(len(values), 1)
    layer.weight.data = torch.tensor([values])
    return layer


def test_one_bit_finds_the_two_means_worked_out_by_hand():
    values = [1.0, 2.0, 3.0, 7.0, 8.0, 9.0] * 3
    shared = sharing.share(linear(values), bits=1)
    assert shared.weight.tolist() == [([2.0] * 3 + [8.0] * 3) * 3]


def test_zeros_stay_zero_and_take_no_place_in_the_codebook():
    pruned = networks.plain()
    gone = {
        name: weight.abs() < weight.abs().median() for name, weight in pruned.named_parameters() if weight.dim() > 1
    }
    with torch.no_grad():
        for name, mask in gone.items():
            pruned.get_parameter(name).masked_fill_(mask, 0)
    shared = sharing.share(pruned, bits=3)
    for name, mask in gone.items():
        weight = shared.get_parameter(name)
        assert not weight[mask].count_nonzero()
        assert len(weight[~mask].unique()) <= 8
        assert weight[~mask].all()


def test_only_weights_worth_a_codebook_are_shared_and_the_model_stays_as_it_was():
    model = networks.plain()
    before = weights.dump(model)
    shared = sharing.share(model, bits=4)
    assert weights.dump(model) == before
    changed = {n for n, tensor in model.state_dict().items() if not torch.equal(tensor, shared.state_dict()[n])}
    assert changed == {"0.weight", "3.weight", "7.weight"}
    assert {n for n, t in shared.state_dict().items() if n not in changed} >= {"0.bias", "1.weight", "1.running_var"}


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
def test_sharing_is_the_same_every_time_and_nearer_with_more_bits(bits):
    model = nn.Linear(200, 100)
    first, again, finer = (sharing.share(model, bits=b) for b in (bits, bits, bits + 1))
    assert weights.dump(first) == weights.dump(again)
    error, finer_error = ((s.weight - model.weight).square().mean().item() for s in (first, finer))
    assert finer_error < error


def test_every_value_is_the_mean_of_the_weights_that_took_it():
    model = nn.Linear(200, 100)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(np.random.default_rng(0).standard_normal((100, 200))))
    shared = sharing.share(model, bits=3)
    for value in shared.weight.unique():
        assert value.item() == pytest.approx(model.weight[shared.weight == value].mean().item(), abs=1e-6)


@pytest.mark.parametrize("bits", [0, 13])
def test_bits_that_no_codebook_has_are_refused(bits):
    with pytest.raises(InvalidInputError, match=f"bits={bits}; expected 1 to 12"):
        sharing.share(nn.Linear(4, 4), bits=bits)


def test_weights_that_are_not_finite_are_refused():
    model = linear([1.0, float("nan")] * 20)
    with pytest.raises(InvalidInputError, match="weight holds weights that are not finite"):
        sharing.share(model, bits=2)
