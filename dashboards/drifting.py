"""A drift report as rows to draw. Pure."""

import math
from typing import Any

from monitors import drift


def columns_of(report: bytes) -> list[dict[str, Any]]:
    """The compared columns, most drifted first: score and threshold in the method's unit, and their ratio.

    A score that is no number counts as drifted: it is no all-clear. Raises InvalidInputError for what is not a report.
    """
    return sorted(map(_row, drift.columns_of(report)), key=lambda row: -row["ratio"])


def _row(column: drift.ColumnDrift) -> dict[str, Any]:
    known = not math.isnan(column.value)
    return {
        "column": column.column,
        "method": column.method,
        "score": column.value if known else None,
        "threshold": column.threshold,
        "ratio": column.value / column.threshold if known else 1.0,
        "state": "drifted" if column.drifted else "steady",
    }
