"""Sealed windows: what was answered, as Parquet whose digest stands in the ledger."""

import hmac
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.marking import numbers
from pruneguard.evaluation.sessions import predictions, probabilities
from pruneguard.serving.labelstore import Answered
from pruneguard.serving.observing import Answer
from pruneguard.workload import Floats

FEATURES_MAX = 20
"""Rows with more features than this are watched through four statistics each."""

VALUES_MAX = 4_096
"""Rows with more features than this are never kept whole."""

OUTPUTS_MAX = 100
"""Answers of more numbers than this are kept as what they name and how surely."""

_FEATURE = "x."
_WATCHED = ("confidence", "margin", "predicted")
_COLUMNS = {
    "request_id": pa.string(),
    "row": pa.int32(),
    "time": pa.float64(),
    "seconds": pa.float64(),
    "input": pa.string(),
    "values": pa.list_(pa.float32()),
    "output": pa.list_(pa.float32()),
    "predicted": pa.int64(),
    "confidence": pa.float64(),
    "margin": pa.float64(),
    "probability": pa.float64(),
    "agrees": pa.bool_(),
    "divergence": pa.float64(),
}


@dataclass(frozen=True, slots=True)
class Keeping:
    """What may be written of an input. `key` makes digests that say nothing to whoever does not have it: an unkeyed
    hash of a row with few possible values is as good as the row. `personal` are the numbers of features, counted from
    0 over a flattened row, of which no value and no statistic is written; `values` keeps all others.
    """

    key: bytes
    values: bool = False
    personal: tuple[int, ...] = ()

    @classmethod
    def asked(cls, manifest: Mapping[str, Any], *, key: bytes) -> "Keeping":
        """As a run's manifest document asks for. Raises InvalidInputError for what is none."""
        if not isinstance(manifest, Mapping) or manifest.get("kind") != "manifest/v1":
            raise InvalidInputError("the run's manifest cannot be read, so nobody knows what of an input may be kept")
        asked = manifest.get("observations", {})
        return cls(key, asked.get("inputs") == "values", tuple(asked.get("personal", ())))


@dataclass(slots=True, eq=False)
class Observation:
    """One answered row: the `row`-th of its request.

    `input` is the keyed digest by which somebody who has the row, and the key, finds it again; features show drift.
    `values` is the row itself where it may be kept, NaN where a feature is personal; `output` what was answered.
    `probability` is the chance with which the twin was asked, given the row's block; `agrees` and `divergence` are
    known for rows that it answered. `seconds` is what the whole request took.
    """

    request_id: str
    row: int
    time: float
    seconds: float
    input: str
    values: Floats | None
    output: Floats | None
    predicted: int | float
    confidence: float
    margin: float
    features: Mapping[str, float]
    probability: float | None = None
    agrees: bool | None = None
    divergence: float | None = None


def observe(answers: Sequence[Answer], *, inputs: Floats, logits: Floats, keep: Keeping) -> list[Observation]:
    """The rows of some answers, whose inputs and logits lie stacked in `inputs` and `logits`.

    Rows whose logits are no numbers have neither confidence nor margin: NaN. Nor have those of a regression, whose
    single number stands as `predicted`.
    """
    if logits.shape[1] > 1:
        likely = np.sort(probabilities(logits), axis=1)
        said, confidence, second = predictions(logits).tolist(), likely[:, -1], likely[:, -2]
    else:
        said, confidence, second = numbers(logits).tolist(), *np.full((2, len(logits)), np.nan)
    described = describe(inputs, personal=keep.personal)
    kept = _kept(inputs, keep)
    origins = ((answer, row) for answer in answers for row in range(len(answer.inputs)))
    return [
        Observation(
            request_id=answer.request_id,
            row=number,
            time=answer.time,
            seconds=answer.seconds,
            input=named(row, key=keep.key),
            values=None if kept is None else kept[at],
            output=logits[at] if logits.shape[1] <= OUTPUTS_MAX else None,
            predicted=predicted,
            confidence=top,
            margin=margin,
            features=dict(zip(described, values, strict=True)),
        )
        for at, ((answer, number), row, predicted, top, margin, values) in enumerate(
            zip(
                origins,
                inputs,
                said,
                confidence.tolist(),
                (confidence - second).tolist(),
                np.stack(list(described.values()), axis=1).tolist() if described else [[]] * len(inputs),
                strict=True,
            )
        )
    ]


def named(row: Floats, *, key: bytes) -> str:
    """What stands for a row in a window: a keyed digest, by which somebody who has both finds it again."""
    return "hmac-sha256:" + hmac.digest(key, row.tobytes(), "sha256").hex()


def describe(inputs: Floats, *, personal: Collection[int] = ()) -> dict[str, npt.NDArray[np.float64]]:
    """The features of rows [n, ...], by name: their values where they are few, else four statistics of each row.

    Features that are `personal` are in neither.
    """
    flat = inputs.reshape(len(inputs), -1).astype(np.float64)
    if flat.shape[1] <= FEATURES_MAX:
        return {f"{_FEATURE}{index}": flat[:, index] for index in range(flat.shape[1]) if index not in personal}
    if personal:
        flat = np.delete(flat, [index for index in personal if index < flat.shape[1]], axis=1)
    if not flat.shape[1]:
        return {}
    statistics = {"mean": flat.mean(axis=1), "std": flat.std(axis=1), "min": flat.min(axis=1), "max": flat.max(axis=1)}
    return {f"{_FEATURE}{name}": values for name, values in statistics.items()}


def _kept(inputs: Floats, keep: Keeping) -> Floats | None:
    flat = inputs.reshape(len(inputs), -1)
    if not keep.values or flat.shape[1] > VALUES_MAX:
        return None
    kept = flat.copy()
    kept[:, [index for index in keep.personal if index < flat.shape[1]]] = np.nan
    return kept


def encode(rows: Sequence[Observation], *, model: str, number: int, batch: int) -> bytes:
    """A window as Parquet, a line per row, each with the release it is of, so that a reader may mix windows.

    The same rows make the same bytes.
    """
    kinds = _COLUMNS | ({"predicted": pa.float64()} if rows and isinstance(rows[0].predicted, float) else {})
    fields = {
        "model": pa.array([model] * len(rows), pa.string()),
        "version": pa.array([number] * len(rows), pa.int32()),
        "batch": pa.array([batch] * len(rows), pa.int32()),
    }
    fields |= {name: pa.array([getattr(row, name) for row in rows], kind) for name, kind in kinds.items()}
    names = dict.fromkeys(name for row in rows for name in row.features)
    fields |= {name: pa.array([row.features.get(name) for row in rows], pa.float64()) for name in names}
    table = pa.table(fields).replace_schema_metadata({"pruneguard.model": model, "pruneguard.release": str(number)})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def answered_in(window: bytes) -> list[Answered]:
    """The rows of a sealed window by their requests' ids, for labels to be joined to."""
    names = ["request_id", "row", "predicted", "time"]
    return [Answered(**row) for row in pq.read_table(io.BytesIO(window), columns=names).to_pylist()]


def columns(window: bytes) -> dict[str, npt.NDArray[np.generic]]:
    """What a drift report compares, out of a sealed window: features, confidence, margin and predicted class.

    Of a regression features and the predicted number.
    """
    table = pq.read_table(io.BytesIO(window))
    answer = ("predicted",) if pa.types.is_floating(table.schema.field("predicted").type) else _WATCHED
    watched = [name for name in table.column_names if name.startswith(_FEATURE) or name in answer]
    return {name: table.column(name).to_numpy() for name in watched}
