"""Sealed windows: what was answered, as Parquet whose digest stands in the ledger."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pruneguard.evaluation.sessions import predictions, probabilities
from pruneguard.serving.observing import Answer
from pruneguard.workload import Floats

FEATURES_MAX = 20
"""Rows with more features than this are watched through four statistics each."""

_FEATURE = "x."
_WATCHED = ("confidence", "margin", "predicted")
_COLUMNS = {
    "request_id": pa.string(),
    "time": pa.float64(),
    "input": pa.string(),
    "predicted": pa.int64(),
    "confidence": pa.float64(),
    "margin": pa.float64(),
    "probability": pa.float64(),
    "agrees": pa.bool_(),
    "divergence": pa.float64(),
}


@dataclass(slots=True, eq=False)
class Observation:
    """One answered row. The input itself is not kept: its digest finds it again, its features show drift.

    `probability` is the chance with which the twin was asked, given the row's block; `agrees` and `divergence` are
    known for rows that it answered.
    """

    request_id: str
    time: float
    input: str
    predicted: int
    confidence: float
    margin: float
    features: Mapping[str, float]
    probability: float | None = None
    agrees: bool | None = None
    divergence: float | None = None


def observe(answer: Answer) -> list[Observation]:
    """The rows of one answer. Rows whose logits are no numbers have neither confidence nor margin: NaN."""
    likely = np.sort(probabilities(answer.logits), axis=1)
    margins = likely[:, -1] - likely[:, -2] if likely.shape[1] > 1 else likely[:, -1]
    described = describe(answer.inputs)
    return [
        Observation(
            request_id=answer.request_id,
            time=answer.time,
            input="sha256:" + hashlib.sha256(np.ascontiguousarray(row).tobytes()).hexdigest(),
            predicted=int(predicted),
            confidence=float(top),
            margin=float(margin),
            features={name: float(values[index]) for name, values in described.items()},
        )
        for index, (row, predicted, top, margin) in enumerate(
            zip(answer.inputs, predictions(answer.logits), likely[:, -1], margins, strict=True)
        )
    ]


def describe(inputs: Floats) -> dict[str, npt.NDArray[np.float64]]:
    """The features of rows [n, ...], by name: their values where they are few, else four statistics of each row."""
    flat = inputs.reshape(len(inputs), -1).astype(np.float64)
    if flat.shape[1] <= FEATURES_MAX:
        return {f"{_FEATURE}{index}": flat[:, index] for index in range(flat.shape[1])}
    statistics = {"mean": flat.mean(axis=1), "std": flat.std(axis=1), "min": flat.min(axis=1), "max": flat.max(axis=1)}
    return {f"{_FEATURE}{name}": values for name, values in statistics.items()}


def encode(rows: Sequence[Observation], *, model: str, number: int) -> bytes:
    """A window of at least one row as Parquet, a line per row; model and release stand in its metadata."""
    fields = {name: pa.array([getattr(row, name) for row in rows], kind) for name, kind in _COLUMNS.items()}
    fields |= {name: pa.array([row.features[name] for row in rows], pa.float64()) for name in rows[0].features}
    table = pa.table(fields).replace_schema_metadata({"pruneguard.model": model, "pruneguard.release": str(number)})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def columns(window: bytes) -> dict[str, npt.NDArray[np.generic]]:
    """What a drift report compares, out of a sealed window: features, confidence, margin and predicted class."""
    table = pq.read_table(io.BytesIO(window))
    watched = [name for name in table.column_names if name.startswith(_FEATURE) or name in _WATCHED]
    return {name: table.column(name).to_numpy() for name in watched}
