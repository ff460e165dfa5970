"""Every count by hand: one multiplication with one addition."""

import numpy as np
import pytest
import torch
from torch import nn

from pruneguard.evaluation.efficiency.macs import multiply_accumulates

LAYERS = {
    "linear": (nn.Linear(8, 3), (8,), 8 * 3),
    "convolution": (nn.Conv2d(3, 8, 3, padding=1), (3, 8, 8), 64 * 8 * 3 * 9),
    "grouped": (nn.Conv2d(3, 6, 3, padding=1, groups=3), (3, 8, 8), 64 * 6 * 1 * 9),
    "lstm": (nn.LSTM(5, 4, batch_first=True), (7, 5), 7 * 4 * 4 * (5 + 4)),
    "gru": (nn.GRU(5, 4, 2, batch_first=True, bidirectional=True), (7, 5), 7 * 2 * 3 * 4 * (5 + 4 + 8 + 4)),
    "transformer": (
        nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1),
        (7, 8),
        7 * (3 * 8 * 8 + 8 * 8 + 2 * 8 * 16) + 2 * 7 * 7 * 8,
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layers_multiply_accumulates_by_hand(name):
    model, shape, expected = LAYERS[name]
    assert multiply_accumulates(model, np.zeros((1, *shape), np.float32)) == expected


def test_a_weight_of_zero_is_multiplied_like_any_other():
    model = nn.Linear(8, 3)
    nn.init.zeros_(model.weight)
    assert multiply_accumulates(model, np.zeros((1, 8), np.float32)) == 24


def test_counting_leaves_network_and_torch_as_they_were():
    model = nn.Sequential(nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fused, mkldnn = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    multiply_accumulates(model, np.ones((1, 8), np.float32))
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert (torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled) == (fused, mkldnn)
