import copy
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import parts, surgery, weights
from pruneguard.pruning.export import to_onnx
from pruneguard.pruning.group import Found, Observed
from pruneguard.pruning.parts import recurrent
from tests.pruning.networks import CLASSES, seeded

ROWS, STEPS, FEATURES, HIDDEN = 5, 4, 3, 6
SEQUENCES = np.random.default_rng(0).standard_normal((ROWS, STEPS, FEATURES)).astype(np.float32)

KINDS = {
    "tanh": nn.RNN,
    "relu": lambda *args, **options: nn.RNN(*args, nonlinearity="relu", **options),
    "gru": nn.GRU,
    "lstm": nn.LSTM,
}


class Network(nn.Module):
    """A recurrent layer, `read` on what it answers, and a linear layer on that."""

    def __init__(self, kind=nn.LSTM, *, read=lambda outputs, states: outputs[:, -1], wide=HIDDEN, **options):
        super().__init__()
        self.layer = kind(FEATURES, HIDDEN, **{"batch_first": True} | options)
        self.read = read
        self.last = nn.Linear(wide, CLASSES)

    def forward(self, x):
        outputs, states = self.layer(x if self.layer.batch_first else x.transpose(0, 1))
        return self.last(self.read(outputs if self.layer.batch_first else outputs.transpose(0, 1), states))


def halved(groups, seed=3):
    """Half of the parts of each group, others in each."""
    generator = torch.Generator().manual_seed(seed)
    return {
        number: torch.randperm(group.width, generator=generator)[: group.width // 2].tolist()
        for number, group in enumerate(groups)
    }


def cut(model, groups, chosen):
    return parts.cut(model, removed=surgery.removal(groups, chosen), kept=surgery.consequence(model, groups, chosen))[0]


def answer(model, x=SEQUENCES):
    with torch.no_grad():
        return model.eval()(torch.from_numpy(x))


def require_exact(model, example=SEQUENCES):
    """Cut by half, and again: each time as with zeros in the same place. Gives the groups found first."""
    first = recurrent.find(model, example)
    assert first.untouched == {}
    groups = first.groups
    for _ in range(2):
        chosen = halved(groups)
        expected = answer(zeros(model, groups, chosen), example)
        model = cut(model, groups, chosen)
        assert (answer(model, example) - expected).abs().max() <= 1e-6
        assert expected.std() > 1e-3
        groups = recurrent.find(model, example).groups
    return first.groups


def zeros(model, groups, chosen):
    model = copy.deepcopy(model)
    tensors = model.state_dict()
    for number, gone in chosen.items():
        for owned in groups[number].owned:
            for part in gone:
                for index in owned.indices[part]:
                    tensors[owned.tensor].select(owned.dim, index).zero_()
    return model


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "plain"])
@pytest.mark.parametrize("batch_first", [True, False], ids=["rows", "steps"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "two-way"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_without_units_answers_as_one_with_zeros_for_them_twice(
    kind, layers, bidirectional, batch_first, bias
):
    directions = 1 + bidirectional
    model = seeded(
        lambda: Network(
            KINDS[kind],
            wide=HIDDEN * directions,
            num_layers=layers,
            bidirectional=bidirectional,
            batch_first=batch_first,
            bias=bias,
        )
    )
    groups = require_exact(model)
    assert [group.numbers for group in groups] == [
        tuple((row * HIDDEN + unit,) for unit in range(HIDDEN)) for row in range(layers * directions)
    ]
    assert {(group.root, group.level) for group in groups} == {("layer", "layer")}


def test_one_unit_of_a_small_lstm_owns_what_can_be_counted_by_hand():
    model = seeded(lambda: Network(num_layers=2, bidirectional=True, wide=2 * HIDDEN))
    groups = recurrent.find(model, SEQUENCES).groups
    inner = {(owned.tensor, owned.dim): owned.indices[2] for owned in groups[1].owned}
    assert inner == {
        ("layer.weight_ih_l0_reverse", 0): (2, 8, 14, 20),
        ("layer.weight_hh_l0_reverse", 0): (2, 8, 14, 20),
        ("layer.bias_ih_l0_reverse", 0): (2, 8, 14, 20),
        ("layer.bias_hh_l0_reverse", 0): (2, 8, 14, 20),
        ("layer.weight_hh_l0_reverse", 1): (2,),
        ("layer.weight_ih_l1", 1): (8,),
        ("layer.weight_ih_l1_reverse", 1): (8,),
    }
    outer = {(owned.tensor, owned.dim): owned.indices[2] for owned in groups[3].owned}
    assert outer[("last.weight", 1)] == (8,)
    assert (groups[1].observed, groups[3].observed.module, groups[3].observed.indices[2]) == (None, "last", (8,))


def test_sizes_that_the_modules_keep_follow():
    model = seeded(lambda: Network(nn.GRU, num_layers=2, bidirectional=True, wide=2 * HIDDEN))
    groups = recurrent.find(model, SEQUENCES).groups
    small = cut(model, groups, halved(groups))
    assert (small.layer.input_size, small.layer.hidden_size, small.last.in_features) == (FEATURES, 3, 6)
    assert model.layer.hidden_size == HIDDEN


def masked_mean(outputs, states):
    mask = torch.tensor([1.0, 1.0, 0.0, 1.0])[:, None]
    return (outputs * mask).sum(1) / mask.sum()


READS = {
    "mean": (lambda outputs, states: outputs.mean(1), 12),
    "masked mean": (masked_mean, 12),
    "max": (lambda outputs, states: outputs.amax(1), 12),
    "every step": (lambda outputs, states: outputs.flatten(1), 12 * STEPS),
    "mean and max": (lambda outputs, states: torch.cat([outputs.mean(1), outputs.amax(1)], 1), 24),
    "both ends": (lambda outputs, states: torch.cat([states[0][-2], states[0][-1]], 1), 12),
    "all states": (lambda outputs, states: states[0].transpose(0, 1).flatten(1), 24),
    "states and cells": (lambda outputs, states: torch.cat([states[0][-1], states[1][-1]], 1), 12),
    "beside the input": (lambda outputs, states: torch.cat([torch.ones(ROWS, 5), outputs[:, 0]], 1), 17),
}


@pytest.mark.parametrize("how", READS)
def test_readers_are_found_behind(how):
    read, wide = READS[how]
    require_exact(seeded(lambda: Network(read=read, wide=wide, num_layers=2, bidirectional=True)))


class Attentive(nn.Module):
    """Two readers, a score and a value, and a batch norm that both read through."""

    def __init__(self):
        super().__init__()
        self.layer = nn.GRU(FEATURES, HIDDEN, batch_first=True)
        self.norm = nn.BatchNorm1d(HIDDEN)
        self.score, self.value = nn.Linear(HIDDEN, 1), nn.Linear(HIDDEN, 7)
        self.last = nn.Linear(7, CLASSES)

    def forward(self, x):
        seen = self.norm(self.layer(x)[0].transpose(1, 2)).transpose(1, 2)
        return self.last((torch.softmax(self.score(seen), 1) * self.value(input=seen)).sum(1))


def test_several_readers_and_a_norm_on_the_way_lose_their_columns_too():
    groups = require_exact(seeded(Attentive))
    assert {owned.tensor.split(".")[0] for owned in groups[0].owned} == {"layer", "norm", "score", "value"}


class Stacked(nn.Module):
    """Packed sequences from one recurrent layer into the next, and a convolution over time."""

    def __init__(self):
        super().__init__()
        self.lower = nn.LSTM(FEATURES, HIDDEN, batch_first=True, bidirectional=True)
        self.upper = nn.GRU(2 * HIDDEN, 8, batch_first=True, bidirectional=True)
        self.over = nn.Conv1d(16, 5, 2)
        self.last = nn.Linear(5, CLASSES)

    def forward(self, x):
        packed = pack_padded_sequence(x, torch.tensor([2, 4, 1, 3, 2]), batch_first=True, enforce_sorted=False)
        outputs, _ = pad_packed_sequence(self.upper(self.lower(packed)[0])[0], batch_first=True)
        return self.last(torch.relu(self.over(outputs.transpose(1, 2))).amax(2))


def test_packed_sequences_are_followed_from_layer_to_layer():
    groups = require_exact(seeded(Stacked))
    assert [group.root for group in groups] == ["lower", "lower", "upper", "upper"]
    seen = [group.observed for group in groups]  # nowhere row by row, then channels 8 to 15 of the convolution's input
    assert seen[:2] == [None, None]
    assert seen[3] == Observed("over", "input", -2, tuple((channel,) for channel in range(8, 16)))


class StepsFirst(Network):
    """Its last layer reads steps by rows, and so where dimension 0 is not the batch."""

    def forward(self, x):
        return self.last(self.layer(x.transpose(0, 1))[0])[-1]


def test_units_are_observed_only_where_the_first_dimension_is_the_batch():
    assert require_exact(seeded(lambda: StepsFirst(batch_first=False)))[0].observed is None


class Cells(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.last = nn.LSTMCell(FEATURES, HIDDEN), nn.Linear(HIDDEN, CLASSES)

    def forward(self, x):
        state = None
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return self.last(state[0])


class Normed(Network):
    def __init__(self):
        super().__init__()
        self.norm, self.upper = nn.LayerNorm(HIDDEN), nn.GRU(HIDDEN, HIDDEN, batch_first=True)

    def forward(self, x):
        return self.last(self.upper(self.norm(self.layer(x)[0]))[0][:, -1])


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.reader, self.writer = nn.GRU(FEATURES, HIDDEN), nn.GRU(FEATURES, HIDDEN)
        self.last = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x):
        return self.last(self.writer(x, self.reader(x)[1])[0][:, -1])


class Started(Network):
    def forward(self, x):
        state = torch.zeros(1, len(x), HIDDEN)
        return self.last(self.layer(x, (state, state))[0][:, -1])


class Residual(Network):
    def forward(self, x):
        return self.last(self.layer(x)[0][:, -1] + x.repeat(1, 1, 2)[:, -1])


class Unread(Network):
    def forward(self, x):
        return self.last(x.repeat(1, 1, 2)[:, -1])


class Gated(Network):
    """What passes a comparison is no NaN any more: only trying tells that the units were read."""

    def forward(self, x):
        outputs = self.layer(x)[0][:, -1]
        return self.last(torch.ones(len(x), HIDDEN)) + (outputs >= 0).sum(1, keepdim=True)


UNTOUCHED = {
    "a loop of cells": (Cells, "cell", "loop of forward"),
    "projected units": (lambda: Network(proj_size=2, wide=2), "layer", "proj_size"),
    "a layer norm": (Normed, "layer", r"norm \(LayerNorm\) reads it"),
    "halves added": (
        lambda: Network(bidirectional=True, read=lambda o, s: o[:, -1, :HIDDEN] + o[:, -1, HIDDEN:]),
        "layer",
        r"last \(Linear\) reads several units in one column",
    ),
    "a state handed on": (Decoder, "reader", r"writer \(GRU\) starts from its state"),
    "the answer itself": (lambda: nn.Sequential(nn.LSTM(FEATURES, HIDDEN)), "0", "reach the answer"),
    "a fixed first state": (Started, "layer", "does not run with fewer units: RuntimeError: .*read hidden_size"),
    "a sum with the input": (Residual, "layer", "does not run with fewer units"),
    "no call": (Unread, "layer", "never calls it"),
    "a comparison": (Gated, "layer", "answers differently"),
    "weight norm": (
        lambda: Network(
            lambda *args, **options: nn.utils.parametrizations.weight_norm(nn.LSTM(*args, **options), "weight_hh_l0")
        ),
        "layer",
        "computed from other tensors",
    ),
    "a reader with weight norm": (lambda: reader_normed(), "layer", r"last \(ParametrizedLinear\) reads it"),
}


def reader_normed():
    model = Network()
    nn.utils.parametrizations.weight_norm(model.last)
    return model


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")  # torch has no fast kernel for them
@pytest.mark.parametrize("what", UNTOUCHED)
def test_a_layer_that_cannot_lose_units_is_named_with_the_reason(what):
    build, name, reason = UNTOUCHED[what]
    found = recurrent.find(seeded(build), SEQUENCES)
    assert re.search(reason, found.untouched[name]), found.untouched
    assert name not in {group.root for group in found.groups}


def test_where_one_layer_must_stay_the_others_may_go():
    found = recurrent.find(seeded(Normed), SEQUENCES)
    assert ({group.root for group in found.groups}, list(found.untouched)) == ({"upper"}, ["layer"])


def test_the_model_is_left_as_it_was():
    model = seeded(Attentive).train()
    model.value.eval()
    model.score.weight.requires_grad_(False)
    before = weights.dump(model)
    recurrent.find(model, SEQUENCES)
    assert weights.dump(model) == before
    assert [module.training for module in (model, model.layer, model.value)] == [True, True, False]
    assert [name for name, tensor in model.named_parameters() if not tensor.requires_grad] == ["score.weight"]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_network_that_does_not_run_or_answers_nan_is_refused():
    with pytest.raises(InvalidInputError, match="Network does not run on its example rows"):
        recurrent.find(Network(wide=5), SEQUENCES)
    with pytest.raises(InvalidInputError, match="answers its example rows with NaN"):
        recurrent.find(Network(), SEQUENCES * np.float32("nan"))


def test_a_network_without_recurrent_layers_is_not_even_run():
    assert recurrent.find(nn.Linear(99, 1), SEQUENCES) == Found((), {})


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_the_cut_network_exports(kind):
    model = seeded(lambda: Network(kind, num_layers=2, bidirectional=True, wide=2 * HIDDEN)).eval()
    groups = recurrent.find(model, SEQUENCES).groups
    small = cut(model, groups, halved(groups))
    assert len(to_onnx(small, SEQUENCES, classes=CLASSES)) < len(to_onnx(model, SEQUENCES, classes=CLASSES))
