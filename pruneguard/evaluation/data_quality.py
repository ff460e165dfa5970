"""Is this data fit to train on and to judge by? The one file that imports Great Expectations."""

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from pruneguard import canonical
from pruneguard.evaluation.estimates import exact
from pruneguard.evaluation.fingerprints import fingerprints
from pruneguard.evaluation.usability import require_usable
from pruneguard.evidence import Estimate, Evidence, Measurement
from pruneguard.workload import Floats, Snapshot, Split

__all__ = ["Admission", "admit", "require_usable"]

FEATURES_MAX = 128
"""Up to this many features, each has expectations of its own; beyond, the rows' statistics stand for them."""

SHIFT_MAX = 0.25
"""Standard deviations by which the rows of a split may differ in the mean from those of `train` without a warning."""

_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Admission:
    """What is known about a snapshot before anyone trains on it.

    `expectations` is the Great Expectations result as canonical JSON, the same bytes for the same data: counts and
    extremes, no row's values. `failed` names every expectation that failed, `summary` is one line for a person.
    """

    evidence: Evidence
    expectations: bytes
    failed: tuple[str, ...]
    summary: str


def admit(snapshot: Snapshot) -> Admission:
    """Measure everything named `data.*`; records what it finds and refuses nothing (`require_usable` does).

    Every number is counted over all rows, so intervals are points.
    """
    names = {name: fingerprints(split.x) for name, split in snapshot.splits.items()}
    results = _validate(_table(snapshot, names), snapshot)
    digest = snapshot.digest
    failed = [result for result in results if not result["success"]]
    critical = sum(result["severity"] == "critical" for result in failed)
    rows = sum(len(split) for split in snapshot.splits.values())
    measurements: dict[str, Measurement] = {
        "data.expectations_failed": exact(critical, n=len(results)),
        "data.warnings": exact(len(failed) - critical, n=len(results)),
        "data.missing": _missing(snapshot),
        "data.leakage": _leakage(names),
        "data.duplicates": exact(1 - len(set(names["train"])) / max(len(names["train"]), 1), n=len(names["train"])),
        "data.imbalance": _imbalance(snapshot),
    }
    library = version("great-expectations")
    context = {"great_expectations": library, "rows": str(rows), "classes": str(snapshot.classes)}
    document: dict[str, Any] = {
        "kind": "expectations/v1",
        "data": digest,
        "great_expectations": library,
        "results": results,
    }
    return Admission(
        Evidence(digest, None, digest, measurements, context),
        canonical.encode(document),
        tuple(_sentence(result) for result in failed),
        _summary(snapshot, measurements, len(results)),
    )


def _missing(snapshot: Snapshot) -> Measurement:
    missing = sum(int((~np.isfinite(split.x)).sum()) for split in snapshot.splits.values())
    values = sum(split.x.size for split in snapshot.splits.values())
    return exact(missing / max(values, 1), n=values)


def _leakage(names: dict[str, list[bytes]]) -> Measurement:
    train = set(names["train"])
    judging = [*names["gate"], *names["release"]]
    return exact(sum(name in train for name in judging) / max(len(judging), 1), n=len(judging))


def _imbalance(snapshot: Snapshot) -> Measurement:
    """Largest class over smallest, over all splits; NaN where a class has no rows."""
    labels = np.concatenate([split.y for split in snapshot.splits.values()])
    counts = np.bincount(labels[(labels >= 0) & (labels < snapshot.classes)], minlength=snapshot.classes)
    return exact(counts.max() / counts.min() if counts.min() else np.nan, n=len(labels))


def _table(snapshot: Snapshot, names: dict[str, list[bytes]]) -> pd.DataFrame:
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
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _statistics(x: Floats) -> dict[str, Floats]:
    """Number of missing values, and smallest, largest and mean of the others, by row; NaN where all are missing."""
    rows = x.reshape(len(x), -1)
    parts = [_chunk_statistics(rows[start : start + _CHUNK]) for start in range(0, len(rows), _CHUNK)]
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


def _validate(table: pd.DataFrame, snapshot: Snapshot) -> list[dict[str, Any]]:
    """One Great Expectations run in memory: what was expected of what, how badly it matters, and what was found."""
    gx = _great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = gx.data_context.types.base.ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("snapshot").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
    suite = gx.ExpectationSuite("admission", expectations=list(_expectations(gx.expectations, table, snapshot)))
    # No unexpected values: a row's content has no place in a record that can never be erased.
    report = batch.validate(suite, result_format={"result_format": "BASIC", "partial_unexpected_count": 0})
    results = [
        {"severity": result.expectation_config.severity.value, **_plain(result.describe_dict())}
        for result in report.results
    ]
    return sorted(results, key=canonical.encode)


def _expectations(gxe: Any, table: pd.DataFrame, snapshot: Snapshot) -> Iterator[Any]:
    low, high = snapshot.bounds
    labels = list(range(snapshot.classes))
    critical, warning = {"severity": "critical"}, {"severity": "warning"}
    yield gxe.ExpectColumnDistinctValuesToEqualSet(column="split", value_set=list(snapshot.splits), **critical)
    yield gxe.ExpectColumnValuesToBeInSet(column="label", value_set=labels, **critical)
    yield gxe.ExpectColumnMaxToBeBetween(column="missing", max_value=0, **critical)
    yield gxe.ExpectColumnMinToBeBetween(column="min", min_value=low, **critical)
    yield gxe.ExpectColumnMaxToBeBetween(column="max", max_value=high, **critical)
    yield gxe.ExpectColumnMaxToBeBetween(column="leaked", max_value=0, **critical)
    yield gxe.ExpectColumnStdevToBeBetween(column="mean", min_value=0, strict_min=True, **warning)
    for name in snapshot.splits:
        rows = {"row_condition": _in_split(name)}
        yield gxe.ExpectColumnDistinctValuesToContainSet(column="label", value_set=labels, **rows, **critical)
        yield gxe.ExpectColumnValuesToBeUnique(column="row", **rows, **warning)
    mean, deviation = _train_mean(table)
    for name in ("gate", "release"):
        near = {"min_value": mean - SHIFT_MAX * deviation, "max_value": mean + SHIFT_MAX * deviation}
        yield gxe.ExpectColumnMeanToBeBetween(column="mean", row_condition=_in_split(name), **near, **warning)
    for column in table.columns[table.columns.str.startswith("feature_")]:
        yield gxe.ExpectColumnValuesToNotBeNull(column=column, **critical)
        yield gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high, **critical)
        yield gxe.ExpectColumnUniqueValueCountToBeBetween(column=column, min_value=2, **warning)


def _train_mean(table: pd.DataFrame) -> tuple[float, float]:
    """Mean and standard deviation, over train, of the rows' means; 0 where there is nothing to average."""
    means = table.loc[table["split"] == "train", "mean"].dropna()
    return (float(means.mean()), float(means.std(ddof=0))) if len(means) else (0.0, 0.0)


def _in_split(name: str) -> Any:
    from great_expectations.expectations.row_conditions import Column

    return Column("split") == name


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


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    """The document with numpy's numbers as Python's, and what is no number as null: JSON knows neither."""
    document["kwargs"].pop("batch_id", None)
    text = json.dumps(document, default=_number)
    plain: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
    return plain


def _number(value: object) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def _sentence(result: dict[str, Any]) -> str:
    arguments = ", ".join(f"{name}={_short(value)}" for name, value in sorted(result["kwargs"].items()))
    found = result["result"].get("observed_value")
    if found is None:
        found = f"{result['result'].get('unexpected_count', 'no')} unexpected values"
    return f"{result['severity']}: {result['expectation_type']}({arguments}) found {_short(found)}"


def _short(value: object, most: int = 60) -> str:
    match value:
        case {"column": {"name": column}, "operator": operator, "parameter": parameter}:
            return f"{column} {operator} {parameter}"
        case float():
            return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}..."


def _summary(snapshot: Snapshot, measurements: Mapping[str, Measurement], expectations: int) -> str:
    sizes = ", ".join(f"{name} {len(split)}" for name, split in snapshot.splits.items())
    value = {name: m.value for name, m in measurements.items() if isinstance(m, Estimate)}
    return (
        f"{sizes}; {snapshot.classes} classes, the largest {value['data.imbalance']:.2f} times the smallest; "
        f"{expectations} expectations, {value['data.expectations_failed']:.0f} critical failed, "
        f"{value['data.warnings']:.0f} warnings; leakage {value['data.leakage']:.2%}, "
        f"duplicates {value['data.duplicates']:.2%}, missing {value['data.missing']:.2%}"
    )
