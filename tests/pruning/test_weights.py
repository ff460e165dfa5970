import pytest
import torch
from torch import nn

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.pruning import weights
from tests.pruning import networks


def test_loaded_weights_answer_as_the_dumped_ones_did():
    model, other = networks.plain(), networks.plain()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    weights.load(other, weights.dump(model))
    assert weights.dump(other) == weights.dump(model)


def test_the_same_weights_make_the_same_bytes_whatever_their_strides():
    model = networks.plain()
    before = weights.dump(model)
    assert weights.dump(model.to(memory_format=torch.channels_last)) == before
    assert weights.digest(model) == canonical.digest(before)


def test_tied_tensors_are_dumped_under_both_names():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    other = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    weights.load(other, weights.dump(model))
    assert torch.equal(other[1].weight, model[0].weight)


def test_weights_of_other_shapes_are_refused_and_nothing_is_changed():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    before = weights.dump(model)
    with pytest.raises(InvalidInputError, match=r"1\.weight is torch\.float32 \(2, 5\)"):
        weights.load(model, weights.dump(nn.Sequential(nn.Linear(4, 3), nn.Linear(5, 2))))
    assert weights.dump(model) == before


def test_missing_and_unknown_names_are_both_named():
    other = nn.Linear(2, 2, bias=False)
    other.register_buffer("running_mean", torch.zeros(2))
    with pytest.raises(InvalidInputError, match=r"lack \['bias'\] and have the unknown \['running_mean'"):
        weights.load(nn.Linear(2, 2), weights.dump(other))


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"\xff" * 64])
def test_what_is_no_safetensors_is_refused(content):
    with pytest.raises(InvalidInputError, match="not safetensors"):
        weights.load(nn.Linear(2, 2), content)
