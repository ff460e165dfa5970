"""What the deployed file knows of a row just before it decides: the input of its last matrix product.

Taken from the file and not from the network that it was made from, so that an int8 file shows its own features.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.sessions import Session
from pruneguard.workload import Floats

WIDTH_MAX = 4096
"""Features beyond which neither model is judged by them: their covariance would take gigabytes."""

_PRODUCTS = {"Gemm", "MatMul", "MatMulInteger"}
_AFTER = {"Add", "Cast", "Identity", "Mul", "DequantizeLinear", "QuantizeLinear"}
"""What may stand between the last product and the logits: its bias, and the numbers' way out of int8."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Both models as givers of features."""

    pair: Pair
    candidate: Session
    twin: Session

    @classmethod
    def of(cls, pair: Pair) -> "Features | None":
        """None where one of the files does not end in a matrix product, or in one of more than `WIDTH_MAX` features."""
        cut, twin_cut = last_features(pair.candidate.onnx), last_features(pair.twin.onnx)
        if cut is None or twin_cut is None:
            return None
        both = cls(pair, Session(cut), Session(twin_cut))
        return both if max(both.candidate.width, both.twin.width) <= WIDTH_MAX else None

    def __call__(self, x: Floats) -> tuple[Floats, Floats]:
        """Features [n, width] of the same rows, the candidate's first; the widths differ where pruning took some."""
        asked = f"features of {self.pair.twin.digest}"
        theirs = self.pair.yardstick.once(asked, x, compute=lambda: self.twin.logits(x))
        return theirs if self.pair.same else self.candidate.logits(x), theirs


def last_features(content: bytes) -> bytes | None:
    """The ONNX file with the input [batch, width] of its last matrix product as its only output, or None without one.

    `content` is a file that a Session loads, so what it answers is a table [batch, classes]; then what a product with
    a table of weights reads for it is one too.
    """
    model = onnx.load_from_string(content)
    made_by = {name: node for node in model.graph.node for name in node.output}
    node = made_by.get(model.graph.output[0].name)
    while node is not None and node.op_type in _AFTER:
        node = next((made_by[name] for name in node.input if name in made_by), None)
    if node is None or node.op_type not in _PRODUCTS or (width := _width(node, model.graph, made_by)) is None:
        return None
    name = node.input[0]
    if name in made_by and made_by[name].op_type == "DynamicQuantizeLinear":
        name = made_by[name].input[0]
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", width]))
    cut: bytes = model.SerializeToString()
    return cut


def _width(product: onnx.NodeProto, graph: onnx.GraphProto, made_by: Mapping[str, onnx.NodeProto]) -> int | None:
    """How many numbers a product reads of each row, by its table of weights; None where that is no constant one."""
    name = product.input[1]
    turned = any(attribute.name == "transB" and attribute.i for attribute in product.attribute)
    while name in made_by and made_by[name].op_type in ("DequantizeLinear", "Identity", "Transpose"):
        turned ^= made_by[name].op_type == "Transpose"
        name = made_by[name].input[0]
    sizes = next((list(tensor.dims) for tensor in graph.initializer if tensor.name == name), [])
    return int(sizes[turned]) if len(sizes) == 2 else None
