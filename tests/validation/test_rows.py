"""Files of rows: what they become, and every way in which they are wrong."""

import numpy as np
import pandas as pd
import pytest

from pruneguard.errors import InvalidInputError
from pruneguard.validation import rows

X = np.array([[0.0, 1.0], [0.5, 0.25], [1.0, 0.0], [0.125, 0.75]])
Y = np.array([0, 1, 2, 1])


def npz(folder, **changes):
    """x and y with some arrays changed, or left out by None."""
    path = folder / "rows.npz"
    np.savez(path, **{name: array for name, array in ({"x": X, "y": Y} | changes).items() if array is not None})
    return path


def table(folder, kind, **changes):
    frame = pd.DataFrame({"a": X[:, 0], "site": ["n", "s", None, "s"], "y": Y, "b": X[:, 1]} | changes)
    path = folder / f"rows.{kind}"
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    return path


def test_arrays_are_the_gate_split_and_every_other_array_is_a_slice_column(tmp_path):
    found = rows.snapshot(npz(tmp_path, site=np.array(["n", "s", "n", "s"]), year=np.array([1, 2, 1, 2])), classes=3)
    assert found.gate.x.dtype == np.float32
    np.testing.assert_array_equal(found.gate.x, X)
    np.testing.assert_array_equal(found.gate.y, Y)
    assert {name: list(column) for name, column in found.gate.slices.items()} == {
        "site": ["n", "s", "n", "s"],
        "year": ["1", "2", "1", "2"],
    }
    assert (len(found.train), len(found.release), found.classes, found.outliers) == (0, 0, 3, None)
    assert found.train.x.shape == (0, 2)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_has_a_label_slices_and_features_in_their_order(kind, tmp_path):
    found = rows.snapshot(table(tmp_path, kind), classes=3, slices=["site"])
    np.testing.assert_array_equal(found.gate.x, X.astype(np.float32))
    np.testing.assert_array_equal(found.gate.y, Y)
    assert list(found.gate.slices["site"]) == ["n", "s", "missing", "s"]


def test_bounds_are_given_or_seen(tmp_path):
    assert rows.snapshot(npz(tmp_path), classes=3).bounds == (0, 1)
    assert rows.snapshot(npz(tmp_path, x=X * 8 - 2), classes=3).bounds == (-2, 6)
    assert rows.snapshot(npz(tmp_path, bounds=np.array([-1, 2])), classes=3).bounds == (-1, 2)


def test_outliers_and_the_kind_of_row_are_taken_along(tmp_path):
    found = rows.snapshot(npz(tmp_path, outliers=np.ones((3, 2))), classes=3, kind="table")
    assert (found.outliers.shape, found.outliers.dtype, found.kind) == ((3, 2), np.float32, "table")


WRONG = {
    "no x": ({"x": None}, "['x'] missing"),
    "no label": ({"y": None}, "['y'] missing"),
    "one dimension": ({"x": X[:, 0]}, "x: float64 [4]; expected numbers [rows, ...]"),
    "text": ({"x": X.astype(str)}, "expected numbers"),
    "no rows": ({"x": X[:0], "y": Y[:0]}, "x: it is empty"),
    "NaN": ({"x": np.where(X == 0.25, np.nan, X)}, "x: 1 rows hold NaN or infinite values, the first is row 1"),
    "too large": ({"x": X * 1e300}, "x: 4 rows hold NaN or infinite"),
    "length": ({"y": Y[:3]}, "labels: [3] for 4 rows"),
    "outside": ({"y": Y + 1}, "labels: 1 are something else, the first is 3 in row 2; expected classes from 0 to 2"),
    "negative": ({"y": Y - 1}, "the first is -1 in row 0"),
    "halves": ({"y": Y / 2}, "the first is 0.5 in row 1"),
    "no class": ({"y": np.array([0, 1, np.nan, 1])}, "the first is nan in row 2"),
    "words": ({"y": Y.astype(str)}, "labels: they are <U"),
    "slice length": ({"site": np.array(["a"])}, "slice column 'site'"),
    "slice of fractions": ({"site": X[:, 0]}, "slice column 'site': float64 [4]"),
    "slice called class": ({"class": Y}, "slice column 'class': that is the label's name"),
    "outliers of another shape": ({"outliers": np.ones((2, 3))}, "outliers: rows [3]; expected [2], as in x"),
    "bounds inside": ({"bounds": np.array([0.2, 0.5])}, "bounds: [0.2, 0.5]; expected two numbers around the values"),
    "objects": ({"x": np.array([[object()]], dtype=object)}, "not readable as .npz: Object arrays cannot be loaded"),
}


@pytest.mark.parametrize(("changes", "why"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_arrays_is_named_with_its_place(changes, why, tmp_path):
    path = npz(tmp_path, **changes)
    with pytest.raises(InvalidInputError) as refused:
        rows.snapshot(path, classes=3)
    assert str(refused.value).startswith(f"{path}: ")
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_column_that_is_an_identifier_is_no_slice(tmp_path):
    x = np.random.default_rng(0).random((201, 2))
    path = npz(tmp_path, x=x, y=np.arange(201) % 3, person=np.arange(201))
    with pytest.raises(InvalidInputError, match="slice column 'person': 201 values; at most 200"):
        rows.snapshot(path, classes=3)


def test_a_protected_column_is_a_slice_column_too(tmp_path):
    found = rows.snapshot(table(tmp_path, "csv"), classes=3, protected=["site"])
    assert found.protected == ("site",)
    assert list(found.gate.slices) == ["site"]
    with pytest.raises(InvalidInputError, match="no slice column 'sex'; there are \\['site'\\]"):
        rows.snapshot(npz(tmp_path, site=np.array(["n", "s", "n", "s"])), classes=3, protected=["sex"])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({}, "column 'site': it holds text; encode it as the model's input, or give --slice site"),
        ({"label": "target", "slices": ["site"]}, "no column 'target'; give --label one of ['a', 'site', 'y', 'b']"),
        ({"slices": ["where"]}, "no column 'where'; give --slice one of"),
        ({"label": "site"}, "labels: they are"),
    ],
)
def test_what_is_wrong_with_a_table_is_named_with_the_flag_that_mends_it(kind, words, why, tmp_path):
    with pytest.raises(InvalidInputError) as refused:
        rows.snapshot(table(tmp_path, kind), classes=3, **words)
    assert why in str(refused.value)


@pytest.mark.parametrize("name", ["rows.npz", "rows.parquet", "rows.csv"])
@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95junk", b"PK\x03\x04 cut off"])
def test_a_file_that_is_not_what_its_name_says_is_refused_in_a_line(name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInputError) as refused:
        rows.snapshot(path, classes=3)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


def test_other_files_are_told_what_is_read(tmp_path):
    with pytest.raises(InvalidInputError, match=r"no such file; give rows as \.npz, \.csv, \.parquet, or a workload"):
        rows.snapshot(tmp_path / "rows.npz", classes=3)
    (tmp_path / "rows.pkl").write_bytes(b"")
    with pytest.raises(InvalidInputError, match=r"rows as \.pkl; expected one of"):
        rows.snapshot(tmp_path / "rows.pkl", classes=3)
