"""One pruned network as a point: accuracy on the release rows, measured latency, and what it weighs."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow
from torch import nn

from benchmarks.contest.dense import Dense
from pruneguard.evaluation.efficiency import latency
from pruneguard.evaluation.efficiency.macs import multiply_accumulates
from pruneguard.evaluation.sessions import Session, predictions
from pruneguard.evidence import PairedTable
from pruneguard.pruning import weights
from pruneguard.statistics import tango_lower, tango_upper

BATCHES = (1, 64)
ZSTD_LEVEL = 19


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Point:
    """What came of one side's pruning at one ratio; every `*_ratio` is to the dense network of the same seed.

    `right` says for each release row whether the answer is the label. `latency_ratios` are at the sizes of BATCHES,
    medians of interleaved rounds. `zstd_bytes` are those of the weights, `stored_bytes` those of the file that the side
    itself stores them in, where it has one.
    """

    side: str
    ratio: float
    onnx: bytes
    right: npt.NDArray[np.bool_]
    latency_ratios: tuple[float, ...]
    parameter_ratio: float
    nonzero_ratio: float
    macs_ratio: float
    zstd_bytes: int
    stored_bytes: int | None = None

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())


def measured(
    model: nn.Module,
    dense: Dense,
    *,
    side: str,
    ratio: float,
    onnx: bytes | None = None,
    stored_bytes: int | None = None,
) -> Point:
    """`onnx` is the file to be measured, where it is not simply the export of `model`."""
    content = dense.exported(model) if onnx is None else onnx
    release, x = dense.snapshot.release, dense.snapshot.release.x
    macs, dense_macs = (multiply_accumulates(each, x[:1]) for each in (model, dense.model))
    size = _parameters(dense.model)
    return Point(
        side=side,
        ratio=ratio,
        onnx=content,
        right=predictions(Session(content).logits(x)) == release.y,
        latency_ratios=latency_ratios(content, dense.onnx, dense),
        parameter_ratio=_parameters(model) / size,
        nonzero_ratio=sum(int(each.count_nonzero()) for each in model.parameters()) / size,
        macs_ratio=macs / dense_macs,
        zstd_bytes=zstd_bytes(model),
        stored_bytes=stored_bytes,
    )


def latency_ratios(one: bytes, other: bytes, dense: Dense) -> tuple[float, ...]:
    """Median latency of `one` over that of `other` at each of BATCHES, in turns, one thread."""
    sessions = Session(one), Session(other)
    rows = dense.snapshot.release.x
    taken = (latency.rounds(*sessions, np.ascontiguousarray(rows[:size])) for size in BATCHES)
    return tuple(latency.ratio_of_medians(each, seed=dense.seed).value for each in taken)


def zstd_bytes(model: nn.Module) -> int:
    """The weights in safetensors, zstd at its highest usual level: what a file of zeros costs with ordinary tools."""
    codec = pyarrow.Codec("zstd", compression_level=ZSTD_LEVEL)
    return len(codec.compress(weights.dump(model), asbytes=True))


def paired(candidate: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_]) -> PairedTable:
    """Both sides' answers to the same rows."""
    return PairedTable(
        both_right=int((candidate & reference).sum()),
        candidate_only=int((candidate & ~reference).sum()),
        twin_only=int((~candidate & reference).sum()),
        both_wrong=int((~candidate & ~reference).sum()),
    )


def non_inferior(table: PairedTable, *, margin: float) -> bool:
    """The rule of the example's policy, at a chance of 5 % to be wrong at the margin."""
    return tango_lower(table, alpha=0.05) > -margin


def shown_worse(table: PairedTable) -> bool:
    """Whether the two-sided 95 % interval of the difference lies below zero."""
    return tango_upper(table, alpha=0.025) < 0


def _parameters(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())
