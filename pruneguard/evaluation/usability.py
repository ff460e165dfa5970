"""What data must be before anything is computed from it. Every problem is told at once, with its place."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.domain import kind_problems
from pruneguard.evaluation.fingerprints import fingerprints, overlap
from pruneguard.workload import Floats, Snapshot, Split

SLICE_VALUES_MAX = 200
"""A slice is a group of rows; a column with more values than this is an identifier."""


def require_usable(snapshot: Snapshot) -> None:
    """Raise InvalidInputError, naming every problem, unless the snapshot can be trained on and judged by.

    Refused are wrong types and lengths, NaN and infinities, empty splits, labels outside 0..classes-1, a split that
    lacks a class, targets of a regression that are all the same, identical rows in two splits, rows of another kind
    than is said, protected columns that are none, and malformed slice columns, bounds or outliers.
    """
    if not isinstance(snapshot, Snapshot):
        raise InvalidInputError(f"the workload's `data` returned {_kind(snapshot)}; expected a pruneguard Snapshot")
    problems = list(_problems(snapshot))
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise InvalidInputError(f"the data cannot be used; change what the workload's `data` returns:{listed}")


def _problems(snapshot: Snapshot) -> Iterator[str]:
    yield from _scale_problems(snapshot)
    malformed = {name: list(_shape_problems(split, snapshot.classes)) for name, split in snapshot.splits.items()}
    for name, found in malformed.items():
        yield from (f"split {name}: {problem}" for problem in found)
    sound = {name: split for name, split in snapshot.splits.items() if not malformed[name]}
    for name, split in sound.items():
        labels = _target_problems(split) if snapshot.classes is None else _label_problems(split, snapshot.classes)
        problems = (*_value_problems(split), *labels, *_slice_problems(split))
        yield from (f"split {name}: {problem}" for problem in problems)
    shapes = {name: split.x.shape[1:] for name, split in sound.items()}
    if len(set(shapes.values())) > 1:
        yield f"the rows have different shapes: {shapes}; expected one shape in all splits"
    else:
        yield from _duplicate_problems(sound)
        if len(sound) == len(snapshot.splits):
            yield from kind_problems(snapshot)
    yield from _protected_problems(snapshot)
    if snapshot.outliers is not None:
        yield from _outlier_problems(snapshot.outliers, set(shapes.values()))


def _scale_problems(snapshot: Snapshot) -> Iterator[str]:
    tolerance = snapshot.tolerance
    if snapshot.classes is None:
        if tolerance is None or not 0 < tolerance < np.inf:
            yield (
                f"classes is None and tolerance {tolerance}; a regression says how near to its target an answer is "
                "right: a finite number above 0, in the targets' unit"
            )
    elif snapshot.classes < 2:
        yield f"classes is {snapshot.classes}; a classifier needs at least 2, and a regression says None"
    elif tolerance is not None:
        yield f"tolerance is {tolerance} beside {snapshot.classes} classes; it is for regressions: leave it out"
    low, high = snapshot.bounds
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        yield f"bounds are {snapshot.bounds}; expected two finite numbers, the smaller first"


def _shape_problems(split: Split, classes: int | None) -> Iterator[str]:
    """What would make the other checks fail to run."""
    kind = "float32" if classes is None else "int64"
    if not isinstance(split.x, np.ndarray) or split.x.dtype != np.float32 or split.x.ndim < 2:
        yield f"x is {_kind(split.x)}; expected a float32 array [rows, ...]"
    if not isinstance(split.y, np.ndarray) or split.y.dtype != kind or split.y.ndim != 1:
        yield f"y is {_kind(split.y)}; expected an array of {kind} [rows], as classes is {classes}"
    elif len(split.x) != len(split.y):
        yield f"x has {len(split.x)} rows and y has {len(split.y)}; expected one label per row"
    for column, values in sorted(split.slices.items()):
        if len(values) != len(split.y):
            yield f"slice column {column!r} has {len(values)} values; expected {len(split.y)}, one per row"


def _value_problems(split: Split) -> Iterator[str]:
    if not len(split):
        yield "it is empty; expected rows of every class"
        return
    wrong = ~np.isfinite(split.x).reshape(len(split), -1)
    if wrong.any():
        rows = wrong.any(axis=1)
        yield (
            f"{wrong.sum()} values in {rows.sum()} rows are NaN or infinite, the first in row {rows.argmax()}; "
            "impute or drop them"
        )


def _label_problems(split: Split, classes: int) -> Iterator[str]:
    if not len(split):
        return
    outside = (split.y < 0) | (split.y >= classes)
    if outside.any():
        row = outside.argmax()
        yield (
            f"{outside.sum()} labels lie outside 0..{classes - 1}, the first is {split.y[row]} in row {row}; "
            "number the classes from 0 and set `classes`"
        )
    present = np.unique(split.y[~outside])
    if len(present) == 1:
        yield f"it holds one class only, {present[0]}; expected rows of all {classes} classes"
    elif len(present) < classes:
        yield f"it has no row of class {_listed(set(range(classes)) - set(present.tolist()))}; stratify the split"


def _target_problems(split: Split) -> Iterator[str]:
    if not len(split):
        return
    wrong = ~np.isfinite(split.y)
    if wrong.any():
        row = wrong.argmax()
        yield f"{wrong.sum()} targets are NaN or infinite, the first is {split.y[row]} in row {row}; drop those rows"
    elif not np.ptp(split.y):
        yield f"all its targets are {split.y[0]:g}; expected numbers that differ"


def _slice_problems(split: Split) -> Iterator[str]:
    taken = "target" if split.y.dtype.kind == "f" else "class"
    for column, values in sorted(split.slices.items()):
        if column == taken:
            yield f"a slice column is called {taken!r}, which is the label's name; call it something else"
        elif (count := len(np.unique(values))) > SLICE_VALUES_MAX:
            yield f"slice column {column!r} has {count} values; at most {SLICE_VALUES_MAX}, each a group of rows"


def _protected_problems(snapshot: Snapshot) -> Iterator[str]:
    for column in snapshot.protected:
        if lacking := ", ".join(name for name, split in snapshot.splits.items() if column not in split.slices):
            yield f"protected names {column!r}, which is no slice column of {lacking}; add it, or name another"


def _duplicate_problems(splits: dict[str, Split]) -> Iterator[str]:
    names = {name: fingerprints(split.x) for name, split in splits.items()}
    for other, one in combinations(names, 2):
        if shared := overlap(names[one], names[other]):
            yield (
                f"{shared.rows} rows of {one} stand in {other} too, for example {one} row {shared.example[0]} equals "
                f"{other} row {shared.example[1]}; drop them from one of the two"
            )


def _outlier_problems(outliers: Floats, shapes: set[tuple[int, ...]]) -> Iterator[str]:
    if not isinstance(outliers, np.ndarray) or outliers.dtype != np.float32:
        yield f"outliers are {_kind(outliers)}; expected a float32 array"
    elif len(shapes) == 1 and outliers.shape[1:] not in shapes:
        yield f"outliers have rows of the shape {outliers.shape[1:]}; expected {shapes.pop()}, as in the splits"
    elif not np.isfinite(outliers).all():
        row = (~np.isfinite(outliers)).reshape(len(outliers), -1).any(axis=1).argmax()
        yield f"outliers hold NaN or infinite values, the first in row {row}; impute or drop them"


def _kind(value: object) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


def _listed(classes: set[int], most: int = 10) -> str:
    shown = ", ".join(map(str, sorted(classes)[:most]))
    return shown if len(classes) <= most else f"{shown} and {len(classes) - most} more"
