"""Labels that were joined to what was answered: counted, and sealed as Parquet with the release's next window."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pruneguard.evaluation.marking import Marking
from pruneguard.serving.labelstore import Joined

_COLUMNS = {
    "request_id": pa.string(),
    "row": pa.int32(),
    "label": pa.float64(),
    "time": pa.float64(),
    "arrived": pa.float64(),
    "sequence": pa.int64(),
    "predicted": pa.float64(),
    "answered_in": pa.int32(),
    "holds": pa.bool_(),
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows whose label is known, and on how many of them the release was wrong, by the labels that hold now."""

    count: int = 0
    wrong: int = 0

    def plus(self, label: Joined, *, marking: Marking) -> "Labelled":
        """With one more label, which may correct an earlier one."""
        if not label.holds:
            return self
        wrong = self.wrong + _wrong(label.predicted, label.value, marking)
        if label.before is None:
            return Labelled(self.count + 1, wrong)
        return Labelled(self.count, wrong - _wrong(label.predicted, label.before, marking))


def encode(labels: Sequence[Joined], *, model: str, number: int) -> bytes:
    """Labels as Parquet, a line each: `answered_in` is the window that holds what was answered. Of several lines of a
    row, the one with the latest time holds, of equal times the one with the highest sequence.
    """
    values = {name: [getattr(label, _NAMES.get(name, name)) for label in labels] for name in _COLUMNS}
    fields = {
        "model": pa.array([model] * len(labels), pa.string()),
        "version": pa.array([number] * len(labels), pa.int32()),
    }
    fields |= {name: pa.array(values[name], kind) for name, kind in _COLUMNS.items()}
    sink = io.BytesIO()
    pq.write_table(pa.table(fields), sink, compression="zstd")
    return sink.getvalue()


def sequences(segment: bytes) -> list[int]:
    """Which labels a sealed segment holds."""
    found: list[int] = pq.read_table(io.BytesIO(segment), columns=["sequence"]).column("sequence").to_pylist()
    return found


_NAMES = {"label": "value", "answered_in": "batch"}


def _wrong(predicted: float, value: float, marking: Marking) -> bool:
    if marking.tolerance is None:
        return predicted != value
    return not abs(predicted - value) <= marking.tolerance  # NaN: wrong
