import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.reliability import features
from pruneguard.evaluation.reliability.features import Features, last_features
from pruneguard.evaluation.sessions import Session
from pruneguard.pruning import quantising
from pruneguard.pruning.export import to_onnx
from tests.evaluation.small import linear

ROWS = np.random.default_rng(0).random((300, 1, 6, 6)).astype(np.float32)


def seeded(*layers):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for layer in layers:
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -0.5, 0.5)
    return nn.Sequential(*layers).eval()


@pytest.fixture(scope="module")
def network():
    return seeded(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 5))


def expected(network):
    with torch.no_grad():
        return network[:-1](torch.from_numpy(ROWS)).numpy()


def test_the_features_are_what_the_last_layer_reads(network):
    cut = last_features(to_onnx(network, ROWS[:4], classes=5))
    assert Session(cut).logits(ROWS) == pytest.approx(expected(network), abs=1e-5)


def test_a_file_in_8_bits_has_features_of_its_own(network):
    rounded = quantising.int8(to_onnx(network, ROWS[:4], classes=5), ROWS, kind="static").content
    found = Session(last_features(rounded)).logits(ROWS)
    assert np.abs(found - expected(network)).max() > 1e-4
    assert found == pytest.approx(expected(network), abs=0.1 * float(expected(network).max()))


def test_a_layer_that_is_quantised_while_it_answers_reads_what_it_read_before(network, tmp_path):
    source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    source.write_bytes(to_onnx(network[2:], ROWS[:4, :, :4, :4].repeat(4, axis=1), classes=5))
    quantising.quantize_dynamic(source, target)
    rows = ROWS[:, :, :4, :4].repeat(4, axis=1)
    whole, rounded = (Session(last_features(path.read_bytes())).logits(rows) for path in (source, target))
    assert whole.shape == rounded.shape == (300, 16)
    assert rounded == pytest.approx(whole, abs=0.1 * float(whole.max()))


def test_the_width_is_that_of_the_weights_however_they_lie():
    weight = np.ones((2, 3), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["input"], ["reads"]),
            helper.make_node("Transpose", ["weight"], ["turned"]),
            helper.make_node("MatMul", ["reads", "turned"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["sum"]),
            helper.make_node("Identity", ["sum"], ["logits"]),
        ],
        "turned",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(weight[:, 0], "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    found = Session(last_features(model.SerializeToString())).logits(np.array([[-1, 0, 2]], np.float32))
    assert found.tolist() == [[0, 0, 2]]


def test_a_linear_model_reads_the_rows_themselves():
    assert Session(last_features(linear([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).onnx)).classes == 3


def test_a_file_that_ends_in_anything_else_has_none_and_then_neither_is_judged_by_them():
    averaged = seeded(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert last_features(to_onnx(averaged, ROWS[:4], classes=2)) is None
    straight, other = linear([[1.0, 2.0]]), linear([[2.0, 1.0]])
    pair = Pair.load(straight, other, classes=2)
    assert Features.of(pair) is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "last_features", lambda content: None if content == other.onnx else content)
        assert Features.of(pair) is None


def test_features_too_many_for_a_covariance_are_left_alone(monkeypatch):
    monkeypatch.setattr(features, "WIDTH_MAX", 2)
    assert Features.of(Pair.load(linear([[1.0, 2.0]] * 2), linear([[2.0, 1.0]] * 2), classes=2)) is not None
    assert Features.of(Pair.load(linear([[1.0, 2.0]] * 2), linear([[2.0, 1.0]] * 3), classes=2)) is None
