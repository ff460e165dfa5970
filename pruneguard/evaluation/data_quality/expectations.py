"""What is expected of a snapshot, and whether it holds. The one file that imports Great Expectations.

Some expectations are made of every snapshot: complete splits, labels inside the classes, no missing value, nothing out
of bounds, no leak. To them come those of the data's owner, or, where there are none, a profile of `train` that gate and
release should fit. One of severity critical that fails blocks, a warning warns, and info is told.
"""

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.data_quality.lens import chunks
from pruneguard.evaluation.data_quality.papers import json_object
from pruneguard.evaluation.domain import kind_of
from pruneguard.workload import Floats, Snapshot, Split

FEATURES_MAX = 128
"""Up to this many features, each has expectations of its own; beyond, the rows' statistics stand for them."""

SHIFT_MAX = 0.25
"""Standard deviations by which the rows of a split may differ in the mean from those of `train` without a warning,
beside two standard errors: what few rows differ by at random."""

OUTSIDE_MAX = 0.01
"""Share of the rows of gate and release that may lie outside a feature's range in train; with few rows, OUTSIDE_ROWS of
as many as train has, since 2 are expected there by chance."""

OUTSIDE_ROWS = 10

OWN_MAX = 2000
COLUMNS = ("split", "label", "row", "leaked", "missing", "min", "max", "mean")
"""Columns of the table that expectations are about; to them come feature_0, feature_1, ... and the slice columns by
name, or as `slice_` and the name where that is taken."""

Result = dict[str, Any]


def expected(snapshot: Snapshot, names: Mapping[str, list[bytes]], own: bytes | None) -> list[Result]:
    """One Great Expectations run in memory: what was expected of what, how badly it matters, and what was found.

    `names` are the fingerprints of each split's rows, `own` is a suite as JSON. An expectation that cannot be
    evaluated has failed, and its result says why. The same data give the same results; no row's value is in them.
    Raises InvalidInputError for a suite that is none.
    """
    gx = _great_expectations()
    table = _table(snapshot, names)
    expectations = list(_always(gx.expectations, table, snapshot))
    expectations += _profile(gx.expectations, table, snapshot) if own is None else _own(own)
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = gx.data_context.types.base.ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("snapshot").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
    suite = gx.ExpectationSuite("admission", expectations=expectations)
    # No unexpected values: a row's content has no place in a record that can never be erased.
    report = batch.validate(suite, result_format={"result_format": "BASIC", "partial_unexpected_count": 0})
    return sorted((_result(result) for result in report.results), key=canonical.encode)


def blocking(results: Sequence[Result]) -> int:
    """How many critical expectations failed."""
    return sum(not result["success"] and result["severity"] == "critical" for result in results)


def warning(results: Sequence[Result]) -> int:
    """How many expectations of severity warning failed."""
    return sum(not result["success"] and result["severity"] == "warning" for result in results)


def sentence(result: Result) -> str:
    """A result in a line for a person."""
    arguments = ", ".join(f"{name}={_short(value)}" for name, value in sorted(result["kwargs"].items()))
    return f"{result['severity']}: {result['expectation_type']}({arguments}) {found(result)}"


def found(result: Result) -> str:
    """What was found, in words."""
    if "error" in result:
        return f"could not be evaluated: {result['error']}"
    value = result["result"].get("observed_value")
    if value is None:
        value = f"{result['result'].get('unexpected_count', 'no')} unexpected values"
    return f"found {_short(value)}"


def _table(snapshot: Snapshot, names: Mapping[str, list[bytes]]) -> pd.DataFrame:
    """One line per row of any split: what the expectations are about."""
    train = set(names["train"])
    parts = []
    for name, split in snapshot.splits.items():
        columns = {
            "split": name,
            "label": split.y,
            "row": [one.hex() for one in names[name]],
            "leaked": [int(name != "train" and one in train) for one in names[name]],
            **_statistics(split.x),
            **_features(split),
        }
        columns |= {_slice_name(name, columns): values for name, values in sorted(split.slices.items())}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _statistics(x: Floats) -> dict[str, Floats]:
    """Number of missing values, and smallest, largest and mean of the others, by row; NaN where all are missing."""
    parts = [_chunk_statistics(rows.reshape(len(rows), -1)) for rows in chunks(x)]
    table = np.concatenate(parts) if parts else np.empty((0, 4))
    return dict(zip(("missing", "min", "max", "mean"), table.T, strict=True))


def _chunk_statistics(rows: Floats) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    finite = np.isfinite(rows)
    count = finite.sum(axis=1)
    low = np.where(finite, rows, np.inf).min(axis=1)
    high = np.where(finite, rows, -np.inf).max(axis=1)
    total = np.where(finite, rows, 0).sum(axis=1, dtype=np.float64)
    known = np.where(count, 1.0, np.nan)
    return np.stack([rows.shape[1] - count, low * known, high * known, total / np.maximum(count, 1) * known], axis=1)


def _features(split: Split) -> dict[str, Floats]:
    """The columns of a table; a pixel has no meaning of its own that the rows' extremes do not show."""
    named = split.x.ndim == 2 and split.x.shape[1] <= FEATURES_MAX
    return {f"feature_{index}": split.x[:, index] for index in range(split.x.shape[1])} if named else {}


def _slice_name(name: str, taken: Mapping[str, Any]) -> str:
    return f"slice_{name}" if name in taken else name


def _always(gxe: Any, table: pd.DataFrame, snapshot: Snapshot) -> Iterator[Any]:
    low, high = snapshot.bounds
    critical, warns = {"severity": "critical"}, {"severity": "warning"}
    yield gxe.ExpectColumnDistinctValuesToEqualSet(column="split", value_set=list(snapshot.splits), **critical)
    yield from _of_labels(gxe, snapshot)
    yield gxe.ExpectColumnMaxToBeBetween(column="missing", max_value=0, **critical)
    yield gxe.ExpectColumnMinToBeBetween(column="min", min_value=low, **critical)
    yield gxe.ExpectColumnMaxToBeBetween(column="max", max_value=high, **critical)
    yield gxe.ExpectColumnMaxToBeBetween(column="leaked", max_value=0, **critical)
    yield gxe.ExpectColumnStdevToBeBetween(column="mean", min_value=0, strict_min=True, **warns)
    for name in snapshot.splits:
        rows = {"row_condition": _in_split(name)}
        yield gxe.ExpectColumnValuesToBeUnique(column="row", **rows, **warns)
    mean, deviation = _train_mean(table)
    for name in ("gate", "release"):
        sizes = max(len(snapshot.train), 1), max(len(snapshot.splits[name]), 1)
        reach = (SHIFT_MAX + 2 * np.sqrt(sum(1 / size for size in sizes))) * deviation
        near = {"min_value": mean - reach, "max_value": mean + reach}
        yield gxe.ExpectColumnMeanToBeBetween(column="mean", row_condition=_in_split(name), **near, **warns)
    for column in _feature_names(table):
        yield gxe.ExpectColumnValuesToNotBeNull(column=column, **critical)
        yield gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high, **critical)
        yield gxe.ExpectColumnUniqueValueCountToBeBetween(column=column, min_value=2, **warns)


def _of_labels(gxe: Any, snapshot: Snapshot) -> Iterator[Any]:
    """Labels are classes, and each split has all of them; or they are numbers, and in no split all the same."""
    critical = {"column": "label", "severity": "critical"}
    if snapshot.classes is None:
        largest = float(np.finfo(np.float32).max)
        yield gxe.ExpectColumnValuesToNotBeNull(**critical)
        yield gxe.ExpectColumnValuesToBeBetween(min_value=-largest, max_value=largest, **critical)
        for name in snapshot.splits:
            yield gxe.ExpectColumnUniqueValueCountToBeBetween(min_value=2, row_condition=_in_split(name), **critical)
        return
    labels = list(range(snapshot.classes))
    yield gxe.ExpectColumnValuesToBeInSet(value_set=labels, **critical)
    for name in snapshot.splits:
        yield gxe.ExpectColumnDistinctValuesToContainSet(value_set=labels, row_condition=_in_split(name), **critical)


def _profile(gxe: Any, table: pd.DataFrame, snapshot: Snapshot) -> list[Any]:
    """What train shows: the range of each feature, the values of each slice column."""
    train = table[table["split"] == "train"]
    if train.empty:
        return []
    mostly = 1 - min(max(OUTSIDE_MAX, OUTSIDE_ROWS / len(train)), 1.0)
    held = {"row_condition": _column("split") != "train", "severity": "warning"}
    made: list[Any] = []
    if kind_of(snapshot) == "table":
        for column in _feature_names(table):
            low, high = train[column].min(), train[column].max()
            if np.isfinite([low, high]).all():
                within = {"min_value": float(low), "max_value": float(high), "mostly": mostly}
                made.append(gxe.ExpectColumnValuesToBeBetween(column=column, **within, **held))
    taken = dict.fromkeys([*COLUMNS, *_feature_names(table)])
    for name in sorted(snapshot.train.slices):
        column = _slice_name(name, taken)
        known = sorted(str(value) for value in np.unique(snapshot.train.slices[name]))
        made.append(gxe.ExpectColumnValuesToBeInSet(column=column, value_set=known, **held))
    return made


def _own(content: bytes) -> list[Any]:
    """The suite of the data's owner. What the library cannot read it leaves out without a word; here it is refused."""
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    listed = json_object(content, "the suite of expectations").get("expectations")
    if not isinstance(listed, list) or not 1 <= len(listed) <= OWN_MAX:
        raise InvalidInputError(
            f"the suite has no list `expectations` of 1 to {OWN_MAX}; write it with suite.to_json_dict()"
        )
    made = []
    for number, each in enumerate(listed, start=1):
        try:
            made.append(ExpectationConfiguration(**each).to_domain_obj())
        except Exception as error:  # the library has a dozen kinds of errors for a malformed expectation
            raise InvalidInputError(
                f"expectation {number} of the suite, {each!r:.120}, is none: {type(error).__name__}: {error!s:.300}; "
                "change or drop it"
            ) from error
    return made


def _train_mean(table: pd.DataFrame) -> tuple[float, float]:
    """Mean and standard deviation, over train, of the rows' means; 0 where there is nothing to average."""
    means = table.loc[table["split"] == "train", "mean"].dropna()
    return (float(means.mean()), float(means.std(ddof=0))) if len(means) else (0.0, 0.0)


def _in_split(name: str) -> Any:
    return _column("split") == name


def _column(name: str) -> Any:
    from great_expectations.expectations.row_conditions import Column

    return Column(name)


def _feature_names(table: pd.DataFrame) -> list[str]:
    return [f"feature_{index}" for index in range(FEATURES_MAX) if f"feature_{index}" in table.columns]


def _great_expectations() -> Any:
    """The library, imported on first use: it takes seconds, and nobody but an admission needs it."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with warnings.catch_warnings():
        # It imports `sre_constants`, which Python 3.11 deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations
        import great_expectations.expectations
    # Tells of its temporary folders otherwise; it sets its own level, so the package's does not bind it.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    return great_expectations


def _result(result: Any) -> Result:
    """One result as JSON has it: numpy's numbers as Python's, what is no number as null, and no row's value."""
    document = result.describe_dict()
    document["kwargs"].pop("batch_id", None)
    if document["kwargs"].get("column") not in ("split", "label"):  # their values are known anyway
        document["result"] = {name: _counted(value) for name, value in document["result"].items()}
    text = json.dumps(document, default=_number)
    plain: Result = json.loads(text, parse_constant=lambda _: None)
    errors = sorted({error["exception_message"] for error in _errors(result.exception_info)})
    told = {"error": errors[0][:200]} if errors else {}
    return {"severity": result.expectation_config.severity.value, **plain, **told}


def _counted(value: Any) -> Any:
    return f"{len(value)} values" if isinstance(value, list | dict) and value else value


def _errors(info: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """What was raised; the library puts it plainly, or under the name of each of its metrics."""
    reports = [info, *info.values()] if info else []
    return [each for each in reports if isinstance(each, Mapping) and each.get("raised_exception")]


def _number(value: object) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def _short(value: object, most: int = 60) -> str:
    match value:
        case {"column": {"name": column}, "operator": operator, "parameter": parameter}:
            return f"{column} {operator} {parameter}"
        case float():
            return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}..."
