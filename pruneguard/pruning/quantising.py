"""int8 weights: the ONNX file of a network made again with 8-bit integers (Jacob et al. 2018, arXiv 1712.05877).

`static` computes in int8 between ranges seen on training rows (QDQ, U8S8, per channel): for networks with
convolutions, MLPs and transformers. `dynamic` measures ranges while it answers: the only way for LSTMs. onnxruntime has
neither for a GRU.

An int8 file is about a quarter of the size where weights dominate it, and larger than before where they do not. It is
not always faster: in onnxruntime, one thread, against float32 (batch 1, batch 64), static gave a CNN of 58 k weights
1.3x and 2.2x, an MLP of 17 k 0.7x and 1.2x, a transformer of 670 k 1.2x and 1.4x, one of 20 k 0.7x and 1.0x; dynamic
gave the larger transformer 1.6x and 1.6x, and an LSTM of 3 k 0.9x and 0.9x. The gates judge the file itself.
"""

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
import onnxruntime.quantization
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.evaluation.sessions import Session, predictions
from pruneguard.workload import Floats

Kind: TypeAlias = Literal["static", "dynamic"]

CALIBRATION_ROWS = 256
INT8_SHARE_MIN = 0.1
"""Below this share of int8 weights the file would be int8 by name only."""

_LAYERS: Mapping[Kind, frozenset[str]] = {
    "static": frozenset({"Conv", "Gemm", "MatMul", "Gather"}),
    "dynamic": frozenset({"LSTM", "Gemm", "MatMul", "Gather"}),
}
"""The operators whose weights become int8. Gather is an embedding table."""

_BETWEEN = frozenset({"Add", "AveragePool", "Flatten", "GlobalAveragePool", "MaxPool", "Reshape", "Transpose"})
"""What a CNN's values pass through without leaving int8."""

_REASONS: Mapping[tuple[str, Kind], str] = {
    ("Conv", "dynamic"): "a dynamically quantised convolution is several times slower than in float32",
    ("LSTM", "static"): "onnxruntime quantises an LSTM dynamically only",
    ("GRU", "static"): "onnxruntime has no int8 GRU",
    ("GRU", "dynamic"): "onnxruntime has no int8 GRU",
}


_QUANTISER = Path(onnxruntime.quantization.__file__).parent


@dataclass(frozen=True, slots=True)
class Quantised:
    """An int8 file. `untouched`: layer -> why its weights are float32 still.

    `agreement` is the share of the calibrating rows on which it gives the float file's most likely class; of a
    regression the share of the variance of its answers that is left (R^2).
    """

    content: bytes
    kind: Kind
    untouched: Mapping[str, str]
    agreement: float


def int8(
    content: bytes, rows: Floats, *, kind: Kind | None = None, calibration: int = CALIBRATION_ROWS, seed: int = 0
) -> Quantised:
    """The int8 form of an ONNX file that `export.to_onnx` made: the same input, float32 logits, a free batch.

    `rows` are training rows [n, ...]; `calibration` of them, drawn by `seed`, set the ranges. Without a `kind`, a
    network with an LSTM is quantised dynamically and every other statically. The same arguments make the same bytes.

    Raises InvalidInputError where under a tenth of the weights could become int8 (a GRU's cannot), for rows that the
    file does not take or that are not finite, and for a file that answers them with logits that are not finite;
    IntegrityError when only the int8 file does that.
    """
    before = Session(content)
    drawn = _draw(rows, calibration, seed)
    _require_finite(drawn, "rows")
    expected = before.logits(drawn)
    _require_finite(expected, "float32 logits")
    model = onnx.load_from_string(content)
    layers = list(_layers(model.graph))
    kind = kind or ("dynamic" if any(layer.operator == "LSTM" for layer in layers) else "static")
    _require_worth(layers, kind)
    quantised = _quantise(model, drawn, kind)
    made: bytes = quantised.SerializeToString(deterministic=True)
    found = Session(made).logits(drawn)
    if not np.isfinite(found).all():
        raise IntegrityError(
            "the int8 file answers training rows with logits that are not finite, the float32 file does not; do not "
            "deploy it; calibrate on more rows, or leave this network in float32"
        )
    left = {initialiser.name for initialiser in quantised.graph.initializer}
    return Quantised(
        content=made,
        kind=kind,
        untouched={layer.name: layer.reason(kind) for layer in layers if layer.weight in left},
        agreement=_agreement(found, expected),
    )


def _agreement(found: Floats, expected: Floats) -> float:
    if expected.shape[1] > 1:
        return float(np.mean(predictions(found) == predictions(expected)))
    moved, spread = (np.mean((expected - other) ** 2, dtype=np.float64) for other in (found, expected.mean()))
    return float(1 - moved / spread) if spread else float(not moved)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A node of the graph and one tensor of weights that it holds."""

    name: str
    operator: str
    weight: str
    size: int

    def reason(self, kind: Kind) -> str:
        if self.operator in _LAYERS[kind]:
            return f"onnxruntime left this {self.operator} as it was"
        return _REASONS.get((self.operator, kind), f"onnxruntime has no int8 {self.operator} that pays")


class _Rows(CalibrationDataReader):  # type: ignore[misc]
    """Rows as onnxruntime's calibration asks for them: one small batch after the other."""

    def __init__(self, name: str, rows: Floats, *, batch: int = 64) -> None:
        self._batches = iter([{name: rows[start : start + batch]} for start in range(0, len(rows), batch)])

    def get_next(self) -> dict[str, Floats] | None:
        return next(self._batches, None)


def _draw(rows: Floats, count: int, seed: int) -> Floats:
    if count < 1 or not len(rows):
        raise InvalidInputError(f"calibration={count} of {len(rows)} rows; calibrate on at least one training row")
    if count >= len(rows):
        return rows
    return rows[np.sort(np.random.default_rng(seed).choice(len(rows), count, replace=False))]


def _require_finite(values: Floats, what: str) -> None:
    if bad := len(values) - int(np.isfinite(values.reshape(len(values), -1)).all(axis=1).sum()):
        raise InvalidInputError(
            f"the {what} of {bad} of {len(values)} rows are not finite; no range can be taken from them. "
            "Clean the data, or train the network again"
        )


def _require_worth(layers: list[_Layer], kind: Kind) -> None:
    total = sum(layer.size for layer in layers)
    able = sum(layer.size for layer in layers if layer.operator in _LAYERS[kind])
    if able < INT8_SHARE_MIN * total or not able:
        stays = {layer.name: layer.reason(kind) for layer in layers if layer.operator not in _LAYERS[kind]}
        listed = "; ".join(f"{name}: {reason}" for name, reason in stays.items()) or "no layer has any"
        raise InvalidInputError(
            f"{able} of this network's {total} weights could become int8 ({listed}); expected at least "
            f"{INT8_SHARE_MIN:.0%}. Leave it in float32, and prune more for size and speed"
        )


def _quantise(model: onnx.ModelProto, rows: Floats, kind: Kind) -> onnx.ModelProto:
    tables = {initialiser.name for initialiser in model.graph.initializer}
    selects = [node.name for node in model.graph.node if node.op_type == "Gather" and node.input[0] not in tables]
    common: dict[str, Any] = {
        "op_types_to_quantize": sorted(_operators(model.graph, kind)),
        "nodes_to_exclude": selects,
        "weight_type": QuantType.QInt8,
        "extra_options": {"MatMulConstBOnly": True},
    }
    with tempfile.TemporaryDirectory() as directory, _silence():
        given, made = Path(directory, "float32.onnx"), Path(directory, "int8.onnx")
        given.write_bytes(model.SerializeToString(deterministic=True))
        try:
            if kind == "dynamic":
                quantize_dynamic(given, made, **common)
            else:
                quantize_static(
                    given,
                    made,
                    _Rows(model.graph.input[0].name, rows),
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    **common,
                )
        except Exception as error:  # onnxruntime's quantiser passes on whatever a step of it runs into
            raise InvalidInputError(
                f"onnxruntime cannot quantise this network: {type(error).__name__}: {error}; leave it in float32"
            ) from error
        quantised = onnx.load(made)
    del quantised.metadata_props[:]
    del quantised.graph.value_info[:]
    return quantised


@contextmanager
def _silence() -> Iterator[None]:
    """onnxruntime's quantiser talks through the root logger, which it configures if nobody has."""
    root, handler = logging.getLogger(), logging.NullHandler()

    def is_ours(record: logging.LogRecord) -> bool:
        return _QUANTISER not in Path(record.pathname).parents

    root.addHandler(handler)
    root.addFilter(is_ours)
    try:
        yield
    finally:
        root.removeFilter(is_ours)
        root.removeHandler(handler)


def _operators(graph: onnx.GraphProto, kind: Kind) -> frozenset[str]:
    if kind == "dynamic":
        return _LAYERS[kind]
    present = {node.op_type for node in graph.node}
    # Attention adds masks of -1e9 to its scores: a range that holds them holds nothing else. Without convolutions int8
    # between the layers was slower, too.
    chained = "Conv" in present and "Softmax" not in present
    return _LAYERS[kind] | {"Relu"} | (_BETWEEN if chained else frozenset())


def _layers(graph: onnx.GraphProto) -> Iterator[_Layer]:
    """Every tensor of float32 weights (two dimensions or more that are not 1) with the node that takes it.

    Only the first three inputs of a node can be weights: the fourth of an LSTM is its biases, one row per direction.
    """
    weights = {
        tensor.name: int(np.prod(tensor.dims))
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and sum(size > 1 for size in tensor.dims) >= 2
    }
    biases = {node.input[0]: node.input[1] for node in graph.node if node.op_type == "Add"}
    for node in graph.node:
        for weight in node.input[:3]:
            if weight in weights:
                yield _Layer(_name(node, weight, biases), node.op_type, weight, weights[weight])


def _name(node: onnx.NodeProto, weight: str, biases: Mapping[str, str]) -> str:
    """The module's name where the exporter kept it: with the weights, or with the bias that is added afterwards."""
    for parameter, ending in ((weight, ".weight"), (biases.get(node.output[0], ""), ".bias")):
        if parameter.endswith(ending):
            return parameter.removesuffix(ending)
    return str(node.name)
