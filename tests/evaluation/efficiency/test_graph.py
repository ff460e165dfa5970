"""Counts on a file are those on the network that it was exported from."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from pruneguard.evaluation.contender import Contender, Pair
from pruneguard.evaluation.efficiency import footprint, graph
from pruneguard.evaluation.efficiency.macs import multiply_accumulates
from pruneguard.pruning.export import to_onnx
from tests.evaluation.small import linear, linear_onnx


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.read = kind(5, 7, num_layers=2, batch_first=True, bidirectional=True)
        self.say = nn.Linear(14, 3)

    def forward(self, x):
        return self.say(self.read(x)[0][:, -1])


NETWORKS = {
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, groups=4),
            nn.Flatten(),
            nn.Linear(72, 3),
        ),
        (1, 8, 8),
    ),
    "transposed": (
        lambda: nn.Sequential(nn.ConvTranspose2d(1, 4, 2, stride=2), nn.Flatten(), nn.Linear(256, 3)),
        (1, 4, 4),
    ),
    "lstm": (lambda: Recurrent(nn.LSTM), (6, 5)),
    "gru": (lambda: Recurrent(nn.GRU), (6, 5)),
    "attention": (
        lambda: nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Linear(48, 3)),
        (6, 8),
    ),
}


@pytest.mark.parametrize(("make", "shape"), NETWORKS.values(), ids=NETWORKS)
def test_a_file_multiplies_as_often_as_its_network(make, shape):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make().eval()
    x = np.random.default_rng(0).random((3, *shape)).astype(np.float32)
    assert graph.multiply_accumulates(to_onnx(model, x, classes=3), x[:1]) == multiply_accumulates(model, x[:1])


def test_weights_are_counted_with_those_that_are_zero_and_shapes_are_no_weights():
    content = linear_onnx([[1, 0, 2], [0, 0, 3]])
    assert graph.weights(content) == graph.Weights(count=6, nonzero=3, stored_bytes=24)
    model = onnx.load_from_string(content)
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 3])
    model.graph.initializer.append(shape)
    half = helper.make_tensor("half", TensorProto.FLOAT16, [2], [1.0, 0.0])
    model.graph.node.append(helper.make_node("Constant", [], ["half"], value=half))
    assert graph.weights(model.SerializeToString()) == graph.Weights(count=8, nonzero=4, stored_bytes=28)


def test_what_cannot_be_counted_is_unknown_and_not_small():
    model = onnx.load_from_string(linear_onnx(np.eye(2)))
    model.graph.node[0].op_type = "Einsum"
    model.graph.node[0].attribute.append(helper.make_attribute("equation", "ab,bc->ac"))
    row = np.zeros((1, 2), dtype=np.float32)
    assert graph.multiply_accumulates(model.SerializeToString(), row) is None
    contender = Contender("sha256:e", model.SerializeToString(), None)
    pair = Pair.load(contender, contender, classes=2)
    assert np.isnan(footprint.measure(pair, row)["efficiency.macs_ratio"].value)


def test_a_pair_is_counted_on_its_files_where_one_network_is_missing():
    dense, pruned = linear([[1, 2, 3], [4, 5, 6]]), linear([[1, 0, 0], [0, 5, 0]])
    x = np.zeros((2, 2), dtype=np.float32)
    pair = Pair.load(Contender(pruned.digest, pruned.onnx, None), dense, classes=3)
    measured = footprint.measure(pair, x)
    values = {name: measured[f"efficiency.{name}"].value for name in ("parameters", "nonzero_ratio", "macs_ratio")}
    assert values == {"parameters": 6, "nonzero_ratio": 2 / 6, "macs_ratio": 1}
    both = footprint.measure(Pair.load(pruned, dense, classes=3), x)
    assert {name: m.value for name, m in both.items()} == {name: m.value for name, m in measured.items()}
