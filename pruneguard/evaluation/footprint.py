"""What the artefact weighs, and whether it is the network that it was made from."""

import numpy as np
import torch

from pruneguard.evaluation.contender import Contender, Pair, device_of, evaluating
from pruneguard.evaluation.estimates import exact, unknown
from pruneguard.evaluation.sessions import probabilities
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Floats


def measure(pair: Pair, x: Floats, logits: Floats) -> dict[str, Measurement]:
    """`efficiency.size_*` of the ONNX files, `efficiency.parameter*` of the networks, and `artifact.deviation`.

    `logits` are those of the candidate's ONNX file on the rows `x`.
    """
    size, twin_size = len(pair.candidate.onnx), len(pair.twin.onnx)
    parameters, twin_parameters = _parameters(pair.candidate), _parameters(pair.twin)
    return {
        "efficiency.size_bytes": exact(size, n=1, unit="By"),
        "efficiency.size_ratio": exact(size / twin_size, n=1),
        "efficiency.parameters": exact(parameters, n=1),
        "efficiency.parameter_ratio": exact(parameters / twin_parameters, n=1) if twin_parameters else unknown(n=1),
        "artifact.deviation": deviation(pair.candidate, x, logits),
    }


def deviation(candidate: Contender, x: Floats, logits: Floats, *, batch: int = 256) -> Estimate:
    """The largest difference of any probability between the ONNX file, whose `logits` these are, and the network."""
    device = device_of(candidate.model)
    with evaluating(candidate.model), torch.inference_mode():
        answers = [
            candidate.model(torch.from_numpy(x[start : start + batch]).to(device)).float().cpu().numpy()
            for start in range(0, len(x), batch)
        ]
    worst = float(np.abs(probabilities(logits) - probabilities(np.concatenate(answers))).max())
    return exact(worst, n=len(x)) if np.isfinite(worst) else unknown(n=len(x))


def _parameters(contender: Contender) -> int:
    return sum(parameter.numel() for parameter in contender.model.parameters())
