"""What the file itself says of its cost: its weights, those that are zero, and what one answer multiplies.

For whoever has no network to count on; weights that an exporter folded into others are counted where they ended up.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper

from pruneguard.workload import Floats

_WEIGHTS = {
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.DOUBLE,
    TensorProto.INT8,
    TensorProto.UINT8,
}
"""Types that weights are stored in; whole numbers of more bits are shapes and indices."""

_PRODUCTS = {"MatMul", "Gemm", "MatMulInteger", "QLinearMatMul"}
_CONVOLUTIONS = {"Conv", "ConvInteger", "QLinearConv"}
_RECURRENT = {"RNN", "GRU", "LSTM"}
_OPAQUE = {"If", "Loop", "Scan", "Einsum", "Attention", "MultiHeadAttention", "FusedMatMul"}
"""Operators that multiply, or may, in ways that are not counted here."""

_DATA = {"QLinearConv": 3, "QLinearMatMul": 3}
"""Which input holds the second factor where it is not the one after the first."""

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Weights:
    """How many numbers the file stores, `nonzero` of them not zero, in `stored_bytes`."""

    count: int
    nonzero: int
    stored_bytes: int


def weights(content: bytes) -> Weights:
    """The constants of an ONNX model that are floats or 8-bit numbers, wherever they stand; scales are among them."""
    arrays = [numpy_helper.to_array(tensor) for tensor in _tensors(onnx.load_from_string(content).graph)]
    return Weights(
        sum(array.size for array in arrays),
        sum(int(np.count_nonzero(array)) for array in arrays),
        sum(array.nbytes for array in arrays),
    )


def multiply_accumulates(content: bytes, row: Floats) -> int | None:
    """How often an ONNX model multiplies and adds up to answer one row [1, ...], as `macs` counts it on networks.

    Counted are convolutions, matrix products and recurrent layers by the shapes that this row gives them. None where
    there are operators in the file that cannot be counted so: control flow, fused attention, another library's own.
    """
    model = onnx.load_from_string(content)
    nodes = list(model.graph.node)
    if model.functions or any(node.op_type in _OPAQUE or node.domain not in ("", "ai.onnx") for node in nodes):
        return None
    counted = [node for node in nodes if node.op_type in _PRODUCTS | _CONVOLUTIONS | _RECURRENT | {"ConvTranspose"}]
    shapes = _shapes(model, counted, row)
    return sum(_count(node, shapes) for node in counted)


def _count(node: Any, shapes: dict[str, Shape]) -> int:
    first = shapes[node.input[0]]
    second = shapes[node.input[_DATA.get(node.op_type, 1)]]
    if node.op_type in _RECURRENT:  # the second input is [directions, gates * hidden, input]
        steps, rows, width = first
        directions, gates, _ = second
        return steps * rows * directions * gates * (width + shapes[node.input[2]][2])
    if node.op_type == "ConvTranspose":  # every number that goes in meets every weight of its channel
        return math.prod(first) * math.prod(second[1:])
    each = math.prod(second[1:]) if node.op_type in _CONVOLUTIONS else first[0 if _is_turned(node) else -1]
    return math.prod(shapes[node.output[0]]) * each


def _is_turned(node: Any) -> bool:
    return node.op_type == "Gemm" and any(a.name == "transA" and a.i for a in node.attribute)


def _shapes(model: Any, nodes: Sequence[Any], row: Floats) -> dict[str, Shape]:
    """The shape of everything that these nodes read and write when the model answers `row`, by running it."""
    known: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    known[model.graph.input[0].name] = row.shape
    seen = {name for node in nodes for name in (*node.input, *node.output) if name and name not in known}
    given = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(seen - given))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # it would fuse what we read
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = sorted(seen)
    answers = session.run(names, {session.get_inputs()[0].name: row}) if names else []
    return known | {name: answer.shape for name, answer in zip(names, answers, strict=True)}


def _tensors(graph: Any) -> Iterator[Any]:
    """The constants of a graph and of those inside it, of the types that weights have."""
    yield from (tensor for tensor in graph.initializer if tensor.data_type in _WEIGHTS)
    yield from (sparse.values for sparse in graph.sparse_initializer if sparse.values.data_type in _WEIGHTS)
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        if attribute.HasField("t") and attribute.t.data_type in _WEIGHTS:
            yield attribute.t
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)
