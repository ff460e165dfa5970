"""An ONNX graph: names of files that it reads, and operators that somebody else's code carries out."""

from collections.abc import Iterator
from pathlib import PureWindowsPath
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # comes with onnx

_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview.training", "ai.onnx.training", "com.microsoft"})
_FOREIGN = {
    **dict.fromkeys(("ATen", "PyCustomOp", "PyOp", "PythonOp", "PythonOpGrad"), "runs Python"),
    "EPContext": "runs a compiled program",
}


def objections(content: bytes) -> Iterator[str]:
    """Weights outside the model's folder, operators that run foreign code, and operators of unknown makers.

    An operator that the model defines itself, as a function of others, is as harmless as those.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        yield f"is not read as ONNX: {error}"
        return
    if not model.HasField("graph"):
        yield "is not read as ONNX: it has no graph"
        return
    graphs = [model.graph, *(graph for step in model.training_info for graph in (step.initialization, step.algorithm))]
    defined = {(function.domain, function.name) for function in model.functions}
    for part in (*graphs, *model.functions):
        yield from _part(part, defined)


def _part(part: Any, defined: set[tuple[str, str]]) -> Iterator[str]:
    """A graph or a function, and every graph within."""
    for tensor in getattr(part, "initializer", ()):
        yield from _tensor(tensor)
    for sparse in getattr(part, "sparse_initializer", ()):
        yield from (*_tensor(sparse.values), *_tensor(sparse.indices))
    for node in part.node:
        if node.op_type in _FOREIGN:
            yield f"has the operator {node.domain}:{node.op_type}, which {_FOREIGN[node.op_type]}"
        elif node.domain not in _DOMAINS and (node.domain, node.op_type) not in defined:
            yield f"has the operator {node.domain}:{node.op_type}, which takes somebody's library"
        for attribute in node.attribute:
            for tensor in (attribute.t, *attribute.tensors):
                yield from _tensor(tensor)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (*_tensor(sparse.values), *_tensor(sparse.indices))
            for graph in (attribute.g, *attribute.graphs):
                yield from _part(graph, defined)


def _tensor(tensor: Any) -> Iterator[str]:
    for entry in tensor.external_data:
        if entry.key == "location" and leaves(entry.value):
            yield f"reads its weights from {entry.value!r:.80}, outside its folder"


def leaves(location: str) -> bool:
    """Whether a path, joined to a folder's, could lie outside it, on any system."""
    path = PureWindowsPath(location)  # knows both kinds of slash
    return bool(path.root or path.drive or ".." in path.parts or "\0" in location)
