"""Models and data small enough to compute by hand."""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from pruneguard import canonical
from pruneguard.evaluation.contender import Contender
from pruneguard.workload import Snapshot, Split


def linear_onnx(weight, *, batch="batch", classes=None) -> bytes:
    """`logits = input @ weight`, without torch."""
    weight = np.asarray(weight, dtype=np.float32)
    features, width = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "weight"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, features])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, classes or width])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    content: bytes = model.SerializeToString()
    return content


def linear(weight) -> Contender:
    """A linear classifier and its network."""
    weight = np.asarray(weight, dtype=np.float32)
    model = nn.Linear(*weight.shape, bias=False)
    model.weight.data = torch.from_numpy(weight.T.copy())
    content = linear_onnx(weight)
    return Contender(canonical.digest(content), content, model)


def with_outside_weights(content: bytes, location: str) -> bytes:
    """The same model, its first weight said to lie in a file."""
    model = onnx.load_from_string(content)
    tensor = model.graph.initializer[0]
    length = len(tensor.raw_data)
    onnx.external_data_helper.set_external_data(tensor, location, 0, length)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    changed: bytes = model.SerializeToString()
    return changed


def table(rows=60, features=3, classes=2, **changes) -> Snapshot:
    """A usable snapshot of a random table; `changes` replace fields."""
    rng = np.random.default_rng(7)

    def split(n):
        return Split(rng.random((n, features)).astype(np.float32), np.arange(n, dtype=np.int64) % classes)

    fields = {"train": split(rows), "gate": split(rows // 2), "release": split(rows // 2), "classes": classes}
    return Snapshot(**{**fields, **changes})


def numbers(rows=60, features=3, **changes) -> Snapshot:
    """A usable snapshot of a random table whose label is the sum of a row; `changes` replace fields."""
    rng = np.random.default_rng(7)

    def split(n):
        x = rng.random((n, features)).astype(np.float32)
        return Split(x, x.sum(axis=1), {"half": np.where(x[:, 0] < 0.5, "low", "high")})

    fields = {"train": split(rows), "gate": split(rows // 2), "release": split(rows // 2)}
    return Snapshot(**{"classes": None, "tolerance": 0.1, **fields, **changes})
