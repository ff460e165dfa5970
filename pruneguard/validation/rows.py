"""Rows to judge by, out of a file: arrays (.npz) or a table (.csv, .parquet). Nothing is ever unpickled."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.usability import SLICE_VALUES_MAX
from pruneguard.workload import Floats, Integers, Kind, Snapshot, Split

KINDS = (".npz", ".csv", ".parquet")

Texts: TypeAlias = npt.NDArray[np.str_]
_MALFORMED = (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile)
"""What numpy, pandas and pyarrow raise at files that are not what their names say."""


@dataclass(frozen=True, slots=True, eq=False)
class _Raw:
    """What a file holds, before anything is believed."""

    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    slices: Mapping[str, npt.NDArray[Any]]
    outliers: npt.NDArray[Any] | None = None
    bounds: npt.NDArray[Any] | None = None


def snapshot(
    path: Path,
    *,
    classes: int | None,
    tolerance: float | None = None,
    label: str = "y",
    slices: Sequence[str] = (),
    protected: Sequence[str] = (),
    kind: Kind | None = None,
) -> Snapshot:
    """The rows of a file as the split `gate` of a snapshot whose other splits are empty.

    Of .npz the arrays `x` [n, ...] and `y` [n] are the rows and their classes from 0, or without `classes` the numbers
    to be answered, right within the `tolerance`; `outliers` and `bounds` (two
    numbers) what they are in a snapshot, and every other array a slice column. Of a table the column `label` holds the
    class, the columns `slices` and `protected` are slice columns and no features, and all others are, in their order.
    Without `bounds` they are 0 and 1 where all values lie between, else the smallest and the largest value.

    Raises InvalidInputError naming file, array or column, and row.
    """
    if classes is None and (tolerance is None or not 0 < tolerance < np.inf):
        raise InvalidInputError(
            f"{path}: the model answers with one number a row, and the tolerance is {tolerance}; say how near to its "
            "label an answer is right, in the label's unit: --tolerance NUMBER"
        )
    if classes is not None and tolerance is not None:
        raise InvalidInputError(
            f"{path}: the model gives {classes} logits; --tolerance is for those that give a number"
        )
    if not path.is_file():
        raise InvalidInputError(
            f"{path}: no such file; give rows as {', '.join(KINDS)}, or a workload as file.py:Class"
        )
    named = tuple(dict.fromkeys([*slices, *protected]))
    try:
        match path.suffix:
            case ".npz":
                raw = _arrays(path, named)
            case ".csv":
                raw = _table(path, pd.read_csv(path), label, named)
            case ".parquet":
                raw = _table(path, pd.read_parquet(path), label, named)
            case other:
                raise InvalidInputError(f"{path}: rows as {other or 'a file without ending'}; expected one of {KINDS}")
    except _MALFORMED as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise InvalidInputError(
            f"{path}: not readable as {path.suffix}: {first}; save it anew, as plain numbers and texts"
        ) from error
    x = _floats(path, "x", raw.x)
    y = _targets(path, raw.y, len(x)) if classes is None else _labels(path, raw.y, len(x), classes)
    split = Split(x, y, _slices(path, raw.slices, len(x), label="target" if classes is None else "class"))
    outliers = None if raw.outliers is None else _floats(path, "outliers", raw.outliers)
    if outliers is not None and outliers.shape[1:] != x.shape[1:]:
        _refuse(path, "outliers", f"rows {list(outliers.shape[1:])}; expected {list(x.shape[1:])}, as in x")
    none = split.taken(np.zeros(len(x), dtype=bool))
    return Snapshot(
        none,
        split,
        none,
        classes,
        _bounds(path, raw.bounds, x),
        outliers,
        kind,
        protected=tuple(protected),
        tolerance=tolerance,
    )


def _arrays(path: Path, slices: Sequence[str]) -> _Raw:
    with path.open("rb") as file:  # numpy would leave a file open that it cannot read
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise InvalidInputError(f"{path}: one array without a name; expected x and y, as numpy.savez writes them")
        arrays = {name: loaded[name] for name in loaded.files}
    if missing := {"x", "y"} - arrays.keys():
        raise InvalidInputError(f"{path}: holds {sorted(arrays)}; {sorted(missing)} missing: rows are x, labels are y")
    others = {name: array for name, array in arrays.items() if name not in ("x", "y", "outliers", "bounds")}
    if unknown := [name for name in slices if name not in others]:
        raise InvalidInputError(f"{path}: no slice column {unknown[0]!r}; there are {sorted(others)}")
    return _Raw(arrays["x"], arrays["y"], others, arrays.get("outliers"), arrays.get("bounds"))


def _table(path: Path, frame: pd.DataFrame, label: str, slices: Sequence[str]) -> _Raw:
    columns = [str(column) for column in frame.columns]
    frame.columns = pd.Index(columns)
    if unknown := [name for name in (label, *slices) if name not in columns]:
        flag = "--label" if unknown[0] == label else "--slice"
        raise InvalidInputError(f"{path}: no column {unknown[0]!r}; give {flag} one of {columns[:20]}")
    features = frame.drop(columns=[label, *slices])
    for name in features:
        if not pd.api.types.is_numeric_dtype(features[name]):
            _refuse(path, f"column {name!r}", f"it holds text; encode it as the model's input, or give --slice {name}")
    values = {name: frame[name].map(str, na_action="ignore").fillna("missing").to_numpy(dtype=str) for name in slices}
    return _Raw(features.to_numpy(dtype=np.float64), frame[label].to_numpy(), values)


def _floats(path: Path, name: str, array: npt.NDArray[Any]) -> Floats:
    if array.dtype.kind not in "biuf" or array.ndim < 2:
        _refuse(path, name, f"{array.dtype} {list(array.shape)}; expected numbers [rows, ...]")
    if not array.size:
        _refuse(path, name, f"it is empty, {list(array.shape)}; expected rows")
    with np.errstate(over="ignore"):  # what float32 cannot hold is told as infinite
        values = array.astype(np.float32)
    wrong = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if wrong.any():
        _refuse(
            path, name, f"{wrong.sum()} rows hold NaN or infinite values, the first is row {wrong.argmax()}; drop them"
        )
    return values


def _labels(path: Path, y: npt.NDArray[Any], rows: int, classes: int) -> Integers:
    expected = f"expected classes from 0 to {classes - 1}, in the order of the model's {classes} logits"
    _require_numbers(path, y, rows, expected)
    wrong = ~(np.isfinite(y) & (y == np.floor(y)) & (y >= 0) & (y < classes))
    if wrong.any():
        row = int(wrong.argmax())
        _refuse(path, "labels", f"{wrong.sum()} are something else, the first is {y[row]} in row {row}; {expected}")
    return y.astype(np.int64)


def _targets(path: Path, y: npt.NDArray[Any], rows: int) -> Floats:
    _require_numbers(path, y, rows, "expected numbers, as the model answers")
    with np.errstate(over="ignore"):  # what float32 cannot hold is told as infinite
        values = y.astype(np.float32)
    wrong = ~np.isfinite(values)
    if wrong.any():
        row = int(wrong.argmax())
        _refuse(
            path, "labels", f"{wrong.sum()} are NaN or infinite, the first is {y[row]} in row {row}; drop those rows"
        )
    if not np.ptp(values):
        _refuse(path, "labels", f"all are {values[0]:g}; expected numbers that differ")
    return values


def _require_numbers(path: Path, y: npt.NDArray[Any], rows: int, expected: str) -> None:
    if y.shape != (rows,):
        _refuse(path, "labels", f"{list(y.shape)} for {rows} rows; expected one for each row")
    if y.dtype.kind not in "biuf":
        _refuse(path, "labels", f"they are {y.dtype}; {expected}")


def _slices(path: Path, columns: Mapping[str, npt.NDArray[Any]], rows: int, *, label: str) -> dict[str, Texts]:
    found: dict[str, Texts] = {}
    for name, values in columns.items():
        if values.shape != (rows,) or values.dtype.kind not in "Ubiu":
            _refuse(
                path, f"slice column {name!r}", f"{values.dtype} {list(values.shape)}; expected {rows} texts, one a row"
            )
        if name == label:
            _refuse(path, f"slice column {label!r}", "that is the label's name; call it something else")
        if (count := len(np.unique(values))) > SLICE_VALUES_MAX:
            _refuse(path, f"slice column {name!r}", f"{count} values; at most {SLICE_VALUES_MAX}, each a group of rows")
        found[name] = values.astype(str)
    return found


def _bounds(path: Path, given: npt.NDArray[Any] | None, x: Floats) -> tuple[float, float]:
    low, high = float(x.min()), float(x.max())
    if given is None:
        return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
    if given.shape != (2,) or given.dtype.kind not in "iuf" or not given[0] <= low <= high <= given[1]:
        _refuse(path, "bounds", f"{given.tolist()}; expected two numbers around the values, {low:g} to {high:g}")
    return float(given[0]), float(given[1])


def _refuse(path: Path, what: str, why: str) -> NoReturn:
    raise InvalidInputError(f"{path}: {what}: {why}")
