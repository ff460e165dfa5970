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


def observe(answers: Sequence[Answer], *, inputs: Floats, logits: Floats) -> list[Observation]:
    """The rows of some answers, whose inputs and logits lie stacked in `inputs` and `logits`.

    Rows whose logits are no numbers have neither confidence nor margin: NaN.
    """
    likely = np.sort(probabilities(logits), axis=1)
    confidence, second = likely[:, -1], likely[:, -2] if likely.shape[1] > 1 else 0.0
    described = describe(inputs)
    origins = (answer for answer in answers for _ in range(len(answer.inputs)))
    return [
        Observation(
            request_id=answer.request_id,
            time=answer.time,
            input="sha256:" + hashlib.sha256(row.tobytes()).hexdigest(),
            predicted=predicted,
            confidence=top,
            margin=margin,
            features=dict(zip(described, values, strict=True)),
        )
        for answer, row, predicted, top, margin, values in zip(
            origins,
            inputs,
            predictions(logits).tolist(),
            confidence.tolist(),
            (confidence - second).tolist(),
            np.stack(list(described.values()), axis=1).tolist(),
            strict=True,
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
