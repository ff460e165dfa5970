from dataclasses import replace

import numpy as np
import pytest

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.data_quality import require_usable
from pruneguard.workload import Split
from tests.evaluation.small import table

USABLE = table()


def changed_gate(**changes):
    return table(gate=replace(USABLE.gate, **changes))


def x_with(value, row):
    x = USABLE.gate.x.copy()
    x[row, 1] = value
    return x


def y_with(value, row):
    y = USABLE.gate.y.copy()
    y[row] = value
    return y


def test_clean_data_are_usable(digits):
    require_usable(USABLE)
    require_usable(digits)


MANY = np.random.default_rng(1).random((300, 3)).astype(np.float32)
EMPTY = Split(np.empty((0, 3), np.float32), np.empty(0, np.int64))


@pytest.mark.parametrize(
    ("snapshot", "said"),
    [
        (changed_gate(x=x_with(np.nan, 4)), "split gate: 1 values in 1 rows are NaN or infinite, the first in row 4"),
        (changed_gate(x=x_with(np.inf, 9)), "split gate: 1 values in 1 rows are NaN or infinite, the first in row 9"),
        (table(gate=EMPTY), "split gate: it is empty"),
        (changed_gate(y=np.ones(30, np.int64)), "split gate: it holds one class only, 1"),
        (table(classes=40, rows=60), "split gate: it has no row of class 30, 31, 32, .* 39; stratify"),
        (changed_gate(y=y_with(2, 6)), r"split gate: 1 labels lie outside 0\.\.1, the first is 2 in row 6"),
        (changed_gate(y=y_with(-1, 3)), "the first is -1 in row 3"),
        (changed_gate(y=USABLE.gate.y[:-1]), "split gate: x has 30 rows and y has 29"),
        (changed_gate(y=USABLE.gate.y.astype(np.int32)), r"split gate: y is int32 \[30\]; expected an array of int64"),
        (changed_gate(x=USABLE.gate.x.astype(float)), r"split gate: x is float64 \[30, 3\]; expected a float32"),
        (changed_gate(x=USABLE.gate.x.tolist()), "split gate: x is a list"),
        (changed_gate(x=USABLE.gate.x[:, :2]), "different shapes"),
        (changed_gate(slices={"sex": np.array(["f"] * 29)}), "split gate: slice column 'sex' has 29 values"),
        (changed_gate(slices={"class": np.array(["f"] * 30)}), "called 'class'"),
        (
            changed_gate(x=MANY, y=np.arange(300) % 2, slices={"id": np.arange(300).astype(str)}),
            "slice column 'id' has 300 values",
        ),
        (table(bounds=(1.0, 0.0)), r"bounds are \(1.0, 0.0\)"),
        (table(bounds=(0.0, np.nan)), "bounds are"),
        (table(classes=1), "needs at least 2"),
        (table(kind="images"), r"kind is 'images' and rows have the shape \[60, 3\]"),
        (table(protected=("sex",)), "protected names 'sex', which is no slice column of train, gate, release"),
        (table(outliers=np.zeros((2, 4), np.float32)), r"outliers have rows of the shape \(4,\)"),
        (table(outliers=np.full((2, 3), np.nan, np.float32)), "outliers hold NaN"),
    ],
)
def test_each_problem_is_told_with_its_place(snapshot, said):
    with pytest.raises(InvalidInputError, match=said):
        require_usable(snapshot)


def test_rows_that_stand_in_two_splits_are_counted_and_shown():
    x = USABLE.gate.x.copy()
    x[[5, 8]] = USABLE.train.x[[17, 40]]
    with pytest.raises(
        InvalidInputError, match="2 rows of gate stand in train too, for example gate row 5 equals train row 17"
    ):
        require_usable(changed_gate(x=x))


def test_minus_zero_hides_no_duplicate():
    train, gate = (Split(s.x.copy(), s.y) for s in (USABLE.train, USABLE.gate))
    train.x[0], gate.x[2] = [0.0, 0.5, 0.5], [-0.0, 0.5, 0.5]
    with pytest.raises(InvalidInputError, match="gate row 2 equals train row 0"):
        require_usable(table(train=train, gate=gate))


def test_all_problems_are_told_at_once():
    with pytest.raises(InvalidInputError) as refusal:
        require_usable(table(gate=replace(USABLE.gate, x=x_with(np.nan, 1), y=y_with(9, 2)), release=EMPTY))
    for said in ("NaN or infinite", "labels lie outside", "split release: it is empty"):
        assert said in str(refusal.value)


def test_what_is_no_snapshot_is_named() -> None:
    with pytest.raises(InvalidInputError, match="returned a NoneType; expected a pruneguard Snapshot"):
        require_usable(None)  # type: ignore[arg-type]
