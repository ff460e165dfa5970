import logging
import tempfile

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.evaluation.sessions import Session
from pruneguard.pruning import quantising
from pruneguard.pruning.export import to_onnx
from tests.pruning import networks

RNG = np.random.default_rng(7)
IMAGES = RNG.random((300, 1, 8, 8), dtype=np.float32)
SEQUENCES = RNG.standard_normal((300, 7, 6), dtype=np.float32)


class Attention(nn.Module):
    """Written by hand, with a mask of -1e9, and a table of embeddings for what lies behind the first column's sign."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(2, 32)
        self.inputs, self.qkv, self.out, self.last = (
            nn.Linear(6, 32),
            nn.Linear(32, 96),
            nn.Linear(32, 32),
            nn.Linear(32, 3),
        )

    def forward(self, x):
        x, masked = self.inputs(x) + self.table((x[..., 0] > 0).long()), x[..., 1] > 1
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 16)).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / 4 + torch.where(masked[:, None, None], -1e9, 0.0)
        return self.last((x + self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))).mean(1))


class Experts(nn.Module):
    """The best two of four experts answer each row."""

    def __init__(self):
        super().__init__()
        self.router, self.last = nn.Linear(6, 4), nn.Linear(32, 3)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32)) for _ in range(4))

    def forward(self, x):
        odds = self.router(x)
        chosen = odds >= odds.topk(2).values[..., 1:]
        shares = torch.where(chosen, odds, -1e9).softmax(-1)
        return self.last(sum(shares[..., i : i + 1] * e(x) for i, e in enumerate(self.experts)).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind, *, channels=0, hidden=24, **options):
        super().__init__()
        self.conv = nn.Conv1d(6, channels, 3, padding=1) if channels else None
        self.cells = kind(channels or 6, hidden, batch_first=True, **options)
        self.last = nn.Linear(hidden * (2 if self.cells.bidirectional else 1), 3)

    def forward(self, x):
        if self.conv is not None:
            x = torch.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        return self.last(self.cells(x)[0][:, -1])


def perceptron():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3))


CASES = {
    "convolutions": (networks.plain, IMAGES, "static"),
    "residual": (networks.residual, IMAGES, "static"),
    "perceptron": (perceptron, IMAGES, "static"),
    "attention": (Attention, SEQUENCES, "static"),
    "experts": (Experts, SEQUENCES, "static"),
    "lstm": (lambda: Recurrent(nn.LSTM), SEQUENCES, "dynamic"),
    "both ways": (lambda: Recurrent(nn.LSTM, bidirectional=True, num_layers=2), SEQUENCES, "dynamic"),
}
_EXPORTED = {}


def exported(name, build, rows):
    if name not in _EXPORTED:
        _EXPORTED[name] = to_onnx(networks.seeded(build), rows[:4], classes=3)
    return _EXPORTED[name]


@pytest.mark.parametrize("name", CASES)
def test_every_layer_becomes_int8_and_the_answers_stay(name):
    build, rows, kind = CASES[name]
    before = exported(name, build, rows)
    made = quantising.int8(before, rows)
    assert (made.kind, made.untouched) == (kind, {})
    assert made.agreement >= 0.95
    assert len(made.content) < len(before)
    after = Session(made.content)
    assert (after.input_shape, after.classes) == (Session(before).input_shape, 3)
    fresh = rows[:33] + np.random.default_rng(3).normal(0, 0.02, rows[:33].shape).astype(np.float32)
    expected = Session(before).logits(fresh)
    np.testing.assert_allclose(after.logits(fresh), expected, atol=0.15 * np.abs(expected).max())
    np.testing.assert_array_equal(after.logits(fresh, batch=1), after.logits(fresh, batch=1))


@pytest.mark.parametrize("build", [networks.transformer, networks.recurrent])
def test_the_parts_of_torch_nn_are_quantised(build):
    rows = RNG.random((64, 5), dtype=np.float32)
    made = quantising.int8(exported(build.__name__, build, rows), rows)
    assert made.untouched == {}
    assert Session(made.content).logits(rows).shape == (64, 3)


def test_weights_are_stored_in_int8_one_scale_for_each_channel():
    made = quantising.int8(exported("convolutions", *CASES["convolutions"][:2]), IMAGES)
    stored = {tensor.name: tensor for tensor in onnx.load_from_string(made.content).graph.initializer}
    assert stored["3.weight_quantized"].data_type == TensorProto.INT8
    assert list(stored["3.weight_scale"].dims) == [32]
    assert "3.weight" not in stored


def test_a_gru_says_it_cannot():
    content = exported("gru", lambda: Recurrent(nn.GRU), SEQUENCES)
    with pytest.raises(
        InvalidInputError, match=r"72 of this network's 2232 weights .*gru.*: onnxruntime has no int8 GRU"
    ):
        quantising.int8(content, SEQUENCES)


def test_a_plain_recurrent_layer_reaches_the_file_as_matrix_products_and_is_quantised():
    made = quantising.int8(exported("rnn", lambda: Recurrent(nn.RNN), SEQUENCES), SEQUENCES)
    assert (made.kind, made.untouched) == ("static", {})
    assert made.agreement >= 0.95


def test_of_a_mixed_network_the_rest_is_quantised_and_the_gru_is_named():
    content = exported("mixed gru", lambda: Recurrent(nn.GRU, channels=32, hidden=12), SEQUENCES)
    made = quantising.int8(content, SEQUENCES)
    ((name, reason),) = made.untouched.items()
    assert "gru" in name.lower()
    assert reason == "onnxruntime has no int8 GRU"
    stored = {tensor.name for tensor in onnx.load_from_string(made.content).graph.initializer}
    assert {"conv.weight_quantized", "last.weight_quantized"} <= stored


def test_beside_an_lstm_a_convolution_stays_in_float32_and_is_named():
    content = exported("mixed lstm", lambda: Recurrent(nn.LSTM, channels=16), SEQUENCES)
    made = quantising.int8(content, SEQUENCES)
    assert made.kind == "dynamic"
    assert list(made.untouched) == ["conv"]
    assert "slower than in float32" in made.untouched["conv"]


def test_the_kind_can_be_asked_for():
    content = exported("perceptron", *CASES["perceptron"][:2])
    made = quantising.int8(content, IMAGES, kind="dynamic")
    assert made.kind == "dynamic"
    assert made.untouched == {}
    assert len(made.content) < len(quantising.int8(content, IMAGES).content)


def test_the_kind_asked_for_must_fit_most_of_the_network():
    with pytest.raises(InvalidInputError, match="stem: a dynamically quantised convolution is several times slower"):
        quantising.int8(exported("residual", *CASES["residual"][:2]), IMAGES, kind="dynamic")
    with pytest.raises(InvalidInputError, match="quantises an LSTM dynamically only"):
        quantising.int8(exported("lstm", *CASES["lstm"][:2]), SEQUENCES, kind="static")


@pytest.mark.parametrize("name", ["convolutions", "lstm"])
def test_the_same_arguments_make_the_same_bytes_and_nothing_is_said_about_how(name, tmp_path, monkeypatch):
    build, rows, _ = CASES[name]
    content = exported(name, build, rows)
    made = quantising.int8(content, rows)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    assert quantising.int8(content, rows) == made
    assert not list((tmp_path / "elsewhere").iterdir())
    for trace in (b"/tmp", b"elsewhere", b"onnx.infer", b"pre_process", b"float32.onnx"):
        assert trace not in made.content


def test_another_seed_draws_other_rows():
    content = exported("perceptron", *CASES["perceptron"][:2])
    first, second = (quantising.int8(content, IMAGES, calibration=8, seed=seed).content for seed in (0, 1))
    assert first != second


def test_nothing_is_printed_or_logged_and_the_root_logger_is_left_alone(capfd, caplog):
    caplog.set_level(logging.DEBUG)
    root = logging.getLogger()
    before = list(root.handlers), list(root.filters)
    for name in ("convolutions", "lstm"):
        before_it = exported(name, *CASES[name][:2])
        caplog.clear()  # of what exporting to ONNX logs
        quantising.int8(before_it, CASES[name][1])
        assert caplog.records == []
    assert (root.handlers, root.filters) == before
    assert capfd.readouterr() == ("", "")


def linear(weight, *, squares=False):
    """`rows @ weight`, or, with `squares`, its square over one that an int8 value of 0 makes infinite."""
    nodes = [helper.make_node("MatMul", ["input", "w.weight"], ["product"], name="product")]
    nodes.append(
        helper.make_node("Reciprocal", ["product"], ["logits"], name="over")
        if squares
        else helper.make_node("Identity", ["product"], ["logits"], name="same")
    )
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", weight.shape[0]])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", weight.shape[1]])],
        [numpy_helper.from_array(weight.astype(np.float32), "w.weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def test_int8_logits_that_are_not_finite_are_an_integrity_error():
    rows = np.array([[1000.0, 1.0], [1e-4, 1.0]], np.float32)  # 1e-4 rounds to zero in steps of four
    content = linear(np.array([[1.0, 2.0], [0.0, 0.0]]), squares=True)
    with pytest.raises(IntegrityError, match="the int8 file answers training rows with logits that are not finite"):
        quantising.int8(content, rows)


def test_a_float32_file_that_answers_with_infinity_is_refused():
    rows = np.zeros((4, 2), np.float32)
    with pytest.raises(InvalidInputError, match="the float32 logits of 4 of 4 rows are not finite"):
        quantising.int8(linear(np.eye(2) + 1, squares=True), rows)


@pytest.mark.parametrize(
    ("rows", "calibration", "message"),
    [
        (np.zeros((0, 2), np.float32), 8, "calibration=8 of 0 rows"),
        (np.ones((4, 2), np.float32), 0, "calibration=0 of 4 rows"),
        (np.array([[1, np.nan], [1, 2]], np.float32), 8, "the rows of 1 of 2 rows are not finite"),
        (np.ones((4, 2)), 8, "the rows are float64"),
        (np.ones((4, 3), np.float32), 8, "the model expects"),
    ],
)
def test_rows_that_give_no_ranges_are_refused(rows, calibration, message):
    with pytest.raises(InvalidInputError, match=message):
        quantising.int8(linear(np.eye(2) + 1), rows, calibration=calibration)


def test_bytes_that_are_no_model_are_refused():
    with pytest.raises(InvalidInputError, match="not a model that onnxruntime loads"):
        quantising.int8(b"no model", np.ones((4, 2), np.float32))
