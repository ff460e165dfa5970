"""A fault for drills: the copy of a model that a gateway holds in memory goes bad, and nothing on disk knows.

The artefact, its digest and its signature stay what they were; no request fails and none gets slower. Only the answers
are worse: what a flipped bit, a wrong kernel or a bad hot patch does.
"""

import numpy as np
import onnx
from onnx import numpy_helper

from pruneguard.evaluation.sessions import Session
from pruneguard.serving.gateway import Gateway


def corrupt(artifact: bytes, *, share: float, seed: int) -> bytes:
    """The same network with `share` of each convolution's filters silenced."""
    model = onnx.load_model_from_string(artifact)
    generator = np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim == 4:
            damaged = values.copy()
            damaged[generator.random(len(values)) < share] = 0
            tensor.CopyFrom(numpy_helper.from_array(damaged, tensor.name))
    return bytes(model.SerializeToString())


def damage_in_memory(gateway: Gateway, artifact: bytes, *, model: str, number: int, share: float, seed: int) -> None:
    """Replace what `gateway` holds of a version, behind the back of everything that checks it."""
    session = gateway.table[model].versions[number].session
    vars(session).update(vars(Session(corrupt(artifact, share=share, seed=seed))))
