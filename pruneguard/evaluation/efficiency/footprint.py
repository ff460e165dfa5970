"""What the artefact weighs and what an answer costs, and whether it is the network that it was made from.

All but the last follow from the structure: they are the same before a candidate has learnt anything.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pruneguard.evaluation.contender import Contender, Pair, device_of, evaluating
from pruneguard.evaluation.efficiency import graph
from pruneguard.evaluation.efficiency.macs import multiply_accumulates
from pruneguard.evaluation.estimates import exact, unknown
from pruneguard.evaluation.marking import BY_CLASS, Marking
from pruneguard.evaluation.sessions import Session
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Floats


def measure(pair: Pair, x: Floats) -> dict[str, Measurement]:
    """`efficiency.size_*` of the ONNX files, the rest of `efficiency.*` but latencies of the networks.

    Where one of the two is known as a file alone, both are counted on their files. `x` are rows of their input, of
    which the first is answered to count `efficiency.macs_ratio`. The stored size is measured where the candidate says
    it.
    """
    candidate, twin = pair.candidate, pair.twin
    size, by_files = len(candidate.onnx), candidate.network is None or twin.network is None
    ours, theirs = (_of_file(each, x[:1]) if by_files else _of_network(each, x[:1]) for each in (candidate, twin))
    measured = {
        "efficiency.size_bytes": exact(size, n=1, unit="By"),
        "efficiency.size_ratio": _ratio(size, len(twin.onnx)),
        "efficiency.parameters": exact(ours.parameters, n=1),
        "efficiency.parameter_ratio": _ratio(ours.parameters, theirs.parameters),
        "efficiency.nonzero_ratio": _ratio(ours.nonzero, theirs.parameters),
        "efficiency.macs_ratio": _ratio(ours.macs, theirs.macs),
    }
    if candidate.stored_bytes is not None:
        measured |= {
            "efficiency.stored_bytes": exact(candidate.stored_bytes, n=1, unit="By"),
            "efficiency.stored_ratio": _ratio(candidate.stored_bytes, theirs.weight_bytes),
        }
    return dict(measured)


def identity(contender: Contender, x: Floats, logits: Floats, *, marking: Marking = BY_CLASS) -> dict[str, Measurement]:
    """`artifact.deviation`, and of a file in 8 bits `artifact.rounding`; `logits` are that file's on the rows `x`.

    Rounding to 8 bits is meant to change answers, and exporting is not: what was exported is held against the network,
    and what was rounded against what was exported.
    """
    if contender.unrounded is None:
        return {"artifact.deviation": _distance(logits, _answers(contender.model, x), marking)}
    exported = Session(contender.unrounded).logits(x)
    return {
        "artifact.deviation": _distance(exported, _answers(contender.model, x), marking),
        "artifact.rounding": _distance(logits, exported, marking),
    }


def _answers(model: nn.Module, x: Floats, *, batch: int = 256) -> Floats:
    device = device_of(model)
    with evaluating(model), torch.inference_mode():
        answers = [
            model(torch.from_numpy(x[start : start + batch]).to(device)).float().cpu().numpy()
            for start in range(0, len(x), batch)
        ]
    return np.concatenate(answers).reshape(len(x), -1)


def _distance(one: Floats, other: Floats, marking: Marking) -> Estimate:
    """How far the answers to the same rows lie apart at most."""
    worst = float(marking.distance(one, other).max())
    return exact(worst, n=len(one)) if np.isfinite(worst) else unknown(n=len(one))


def _ratio(ours: int | None, theirs: int | None) -> Estimate:
    return exact(ours / theirs, n=1) if ours is not None and theirs else unknown(n=1)


@dataclass(frozen=True, slots=True)
class _Counted:
    """Of one model: `macs` None where they cannot be counted, `weight_bytes` with buffers, a shared one once."""

    parameters: int
    nonzero: int
    macs: int | None
    weight_bytes: int


def _of_network(contender: Contender, row: Floats) -> _Counted:
    model = contender.model
    return _Counted(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        nonzero=sum(int(parameter.count_nonzero()) for parameter in model.parameters()),
        macs=multiply_accumulates(model, row),
        weight_bytes=sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers())),
    )


def _of_file(contender: Contender, row: Floats) -> _Counted:
    stored = graph.weights(contender.onnx)
    return _Counted(stored.count, stored.nonzero, graph.multiply_accumulates(contender.onnx, row), stored.stored_bytes)
