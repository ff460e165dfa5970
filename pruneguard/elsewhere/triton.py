"""A Triton model repository (github.com/triton-inference-server): one version of a model, and its configuration."""

import json
from collections.abc import Mapping

import onnx

from pruneguard.evaluation.sessions import Session
from pruneguard.serving.chosen import Chosen

PLATFORM = "onnxruntime_onnx"
BATCH_MAX = 256
QUEUE_MICROSECONDS = 500
"""How long a request may wait for others to share its run."""


def repository(chosen: Chosen) -> dict[str, bytes]:
    """The files of the repository, by path. The directory's name is the model's, as Triton wants it."""
    release = chosen.release
    return {
        f"{release.model}/config.pbtxt": config(chosen).encode(),
        f"{release.model}/{release.number}/model.onnx": chosen.onnx,
    }


def config(chosen: Chosen) -> str:
    """`config.pbtxt`, the text form of `inference.ModelConfig`. Sizes are without the batch, which Triton adds."""
    release, session, graph = chosen.release, Session(chosen.onnx), onnx.load_from_string(chosen.onnx).graph
    weights = {weight.name for weight in graph.initializer}
    (source,) = (node for node in graph.input if node.name not in weights)
    (answer,) = graph.output
    # A number for each row and no dimension for it: Triton has none without a dimension, and leaves it out again.
    flat = "  reshape { shape: [ ] }\n" if len(answer.type.tensor_type.shape.dim) == 1 else ""
    rank = "" if session.input_shape else "  reshape { shape: [ ] }\n"
    return (
        f"name: {_text(release.model)}\n"
        f'platform: "{PLATFORM}"\n'
        f"max_batch_size: {BATCH_MAX}\n"
        f"input {{\n  name: {_text(source.name)}\n  data_type: TYPE_FP32\n"
        f"  dims: [ {', '.join(map(str, session.input_shape)) or '1'} ]\n{rank}}}\n"
        f"output {{\n  name: {_text(answer.name)}\n  data_type: TYPE_FP32\n  dims: [ {session.width} ]\n{flat}}}\n"
        f"dynamic_batching {{ max_queue_delay_microseconds: {QUEUE_MICROSECONDS} }}\n"
        "instance_group { kind: KIND_CPU count: 1 }\n"  # what was measured and judged ran on a CPU
        f"version_policy {{ specific {{ versions: [ {release.number} ] }} }}\n" + _parameters(about(chosen))
    )


def about(chosen: Chosen) -> dict[str, str]:
    """What a deployed model says of itself."""
    release = chosen.release
    return {
        "pruneguard.digest": release.digest,
        "pruneguard.verdict": release.verdict,
        "pruneguard.policy": release.policy,
        "pruneguard.ledger": f"{chosen.origin} {chosen.size}",
    }


def _parameters(told: Mapping[str, str]) -> str:
    return "".join(
        f"parameters {{ key: {_text(name)} value {{ string_value: {_text(value)} }} }}\n"
        for name, value in told.items()
    )


def _text(value: str) -> str:
    return json.dumps(value)  # names and digests are ASCII, for which both forms are one
