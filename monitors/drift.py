"""Did the inputs move? A data drift report over two sealed windows. The only file that knows Evidently.

A report explains and is kept as evidence; it never triggers anything: inputs that moved often do no harm.

Importing Evidently takes seconds and 300 MB, and a report holds the interpreter for a second. Neither belongs in a
process that answers requests, so the monitor calls `report_apart`, which runs this module in a process of its own.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from monitors.observations import columns
from pruneguard.errors import InvalidInputError, UnavailableError

Columns = Mapping[str, npt.NDArray[np.generic]]
"""One array of equal length per column; numbers are compared as such, whole numbers as categories."""

COLUMNS_MAX = 30

# The method is named, because Evidently's own choice changes with the number of rows, and with it the unit. Both are
# distances, so that more rows do not make more drift. Two healthy windows of 500 rows stay below 0.16 and 0.1.
NUMBERS = ("wasserstein", 0.25)  # in standard deviations of the reference
CATEGORIES = ("jensenshannon", 0.2)

TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    column: str
    method: str
    value: float
    threshold: float

    @property
    def drifted(self) -> bool:
        return not self.value < self.threshold  # NaN is no all-clear


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What moved, and Evidently's own report as JSON and as one self-contained page."""

    columns: tuple[ColumnDrift, ...]
    json: bytes
    html: bytes

    @property
    def drifted(self) -> tuple[str, ...]:
        return tuple(column.column for column in self.columns if column.drifted)

    @property
    def share(self) -> float:
        return len(self.drifted) / len(self.columns)


def report(reference: Columns, current: Columns) -> DriftReport:
    """Compare two windows column by column. Raises InvalidInputError when their columns are not the same few."""
    if not reference or reference.keys() != current.keys() or len(reference) > COLUMNS_MAX:
        raise InvalidInputError(
            f"windows with the columns {sorted(reference)} and {sorted(current)}; "
            f"expected the same, at most {COLUMNS_MAX}"
        )
    if not all(len(values) for window in (reference, current) for values in window.values()):
        raise InvalidInputError("a window without rows; there is nothing to compare")
    os.environ["DO_NOT_TRACK"] = "1"  # its telemetry is on unless this is set before the import
    import pandas
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    words = [name for name, values in reference.items() if values.dtype.kind in "iub"]
    numbers = [name for name in reference if name not in words]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=words)

    def dataset(window: Columns) -> Any:
        texts = {name: window[name].astype(str) for name in words}
        return Dataset.from_pandas(pandas.DataFrame({**window, **texts}), data_definition=definition)

    chosen = {**dict.fromkeys(numbers, NUMBERS), **dict.fromkeys(words, CATEGORIES)}
    metrics = [ValueDrift(column=name, method=method, threshold=at) for name, (method, at) in chosen.items()]
    try:
        snapshot = Report(metrics).run(dataset(current), dataset(reference))
        return _parsed(snapshot.json().encode(), html=snapshot.get_html_str(as_iframe=False).encode())
    except BaseException as error:
        # Evidently's ReferenceMetricNotFound is a BaseException and would pass every `except Exception` above us.
        if isinstance(error, Exception | KeyboardInterrupt | SystemExit):
            raise
        raise UnavailableError(f"Evidently made no report: {type(error).__name__} {error}") from error


def report_apart(reference: bytes, current: bytes) -> DriftReport:
    """As `report`, on two sealed windows as they are stored, in a process of its own.

    Raises UnavailableError when that process fails or takes more than two minutes.
    """
    with tempfile.TemporaryDirectory(prefix="pruneguard-drift-") as folder:
        place = Path(folder)
        (place / "reference.parquet").write_bytes(reference)
        (place / "current.parquet").write_bytes(current)
        command = [sys.executable, "-W", "ignore", "-m", "monitors.drift", folder]
        try:
            # A session of its own: Ctrl-C is for the service, which then waits for the report or its timeout.
            done = subprocess.run(  # noqa: S603  # our own interpreter and module
                command, capture_output=True, timeout=TIMEOUT_S, start_new_session=True, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(f"the drift report took more than {TIMEOUT_S} s and was stopped") from error
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise UnavailableError(f"the drift report failed with exit code {done.returncode}: {' '.join(last)}")
        return _parsed((place / "report.json").read_bytes(), html=(place / "report.html").read_bytes())


def columns_of(report: bytes) -> tuple[ColumnDrift, ...]:
    """What moved, out of Evidently's report as JSON. Raises InvalidInputError for what is not such a report."""
    try:
        compared = [metric for metric in json.loads(report)["metrics"] if "column" in metric["config"]]
        return tuple(_column(metric["config"], metric["value"]) for metric in compared)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"not a drift report of Evidently: {type(error).__name__} {error}") from error


def _parsed(content: bytes, *, html: bytes) -> DriftReport:
    return DriftReport(columns_of(content), content, html)


def _column(config: Mapping[str, Any], value: Any) -> ColumnDrift:
    return ColumnDrift(config["column"], config["method"], _number(value), float(config["threshold"]))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def main(folder: Path) -> None:
    """Compare the two windows in `folder` and leave the report beside them."""
    os.nice(10)  # a report may wait; whoever is answered may not
    windows = (columns((folder / f"{name}.parquet").read_bytes()) for name in ("reference", "current"))
    made = report(*windows)
    (folder / "report.json").write_bytes(made.json)
    (folder / "report.html").write_bytes(made.html)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
