"""Evidently's JSON report as rows to draw. Pure: no Evidently here."""

from typing import Any

from pruneguard import canonical
from pruneguard.errors import InvalidInputError


def columns_of(report: bytes) -> list[dict[str, Any]]:
    """The compared columns, most drifted first: score and threshold in the method's unit, and their ratio.

    Every method used here is a distance, so a column has drifted when its score reaches its threshold. A score that is
    no number counts as drifted: it is no all-clear. Raises InvalidInputError for what is not such a report.
    """
    document = canonical.decode(report)
    try:
        compared = [m for m in document["metrics"] if "column" in m["config"]]
        rows = [_row(m["config"], m["value"]) for m in compared]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(f"not a drift report of Evidently: {type(error).__name__} {error}") from error
    return sorted(rows, key=lambda row: -row["ratio"])


def _row(config: dict[str, Any], value: Any) -> dict[str, Any]:
    threshold = float(config["threshold"])
    known = isinstance(value, int | float)
    ratio = value / threshold if known else 1.0
    return {
        "column": config["column"],
        "method": config["method"],
        "score": value if known else None,
        "threshold": threshold,
        "ratio": ratio,
        "state": "drifted" if ratio >= 1 else "steady",
    }
