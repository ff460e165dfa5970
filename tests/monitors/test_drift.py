"""Data drift over sealed windows, through Evidently as the monitor runs it: in a process of its own."""

from collections.abc import Mapping

import numpy as np
import pytest

from monitors.drift import COLUMNS_MAX, ColumnDrift, report_apart
from monitors.drift import report as report_here
from monitors.observations import Observation, encode
from pruneguard.errors import InvalidInputError, UnavailableError


def window(seed: int, *, shift: float = 0.0, rows: int = 500) -> bytes:
    rng = np.random.default_rng(seed)

    def one() -> Observation:
        features: Mapping[str, float] = {f"x.{name}": float(rng.normal()) for name in ("mean", "std", "max")}
        features = {**features, "x.mean": features["x.mean"] + shift}
        confidence = float(rng.beta(9, 0.4))
        named = int(rng.integers(10))
        return Observation("r", 0, 0.0, 0.0, "hmac-sha256:", None, None, named, confidence, confidence**2, features)

    return encode([one() for _ in range(rows)], model="tiny", number=1, batch=0)


@pytest.mark.slow
def test_the_column_that_moved_is_named_and_no_other():
    report = report_apart(window(1), window(2, shift=0.6))
    assert report.drifted == ("x.mean",)
    assert report.share == pytest.approx(1 / 6)
    assert {column.method for column in report.columns} == {"wasserstein", "jensenshannon"}
    assert b'"wasserstein"' in report.json
    assert report.html.lstrip().lower().startswith(b"<!doctype html") or b"<html" in report.html[:500]


def test_a_score_that_is_no_number_is_no_all_clear():
    assert ColumnDrift("x", "wasserstein", float("nan"), 0.25).drifted


def test_windows_with_different_or_too_many_columns_are_refused():
    column = np.zeros(3)
    with pytest.raises(InvalidInputError, match="expected the same"):
        report_here({"a": column}, {"b": column})
    many = {str(index): column for index in range(COLUMNS_MAX + 1)}
    with pytest.raises(InvalidInputError, match="expected the same"):
        report_here(many, many)
    with pytest.raises(InvalidInputError, match="without rows"):
        report_here({"a": column}, {"a": column[:0]})


def test_a_report_that_fails_says_why():
    with pytest.raises(UnavailableError, match="exit code 1"):
        report_apart(window(1), b"no window")
