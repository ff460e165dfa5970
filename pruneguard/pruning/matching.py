"""Whether a workload's network, data and labels fit together, asked before minutes are spent on training."""

import numpy as np
import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.workload import Snapshot, Split, Workload, ask

ROWS = 2


def require_matching(workload: Workload, snapshot: Snapshot) -> None:
    """Raises InvalidInputError, naming the workload's class, unless the network can answer the data's rows.

    Checked are types, shapes and the range of labels. Whether the rows are any good (NaN, leakage, a single class) is
    for the data's own checks.
    """
    name = type(workload).__name__
    if not isinstance(snapshot, Snapshot):
        raise InvalidInputError(f"{name}.data() returned {type(snapshot).__name__}; expected a pruneguard Snapshot")
    for part, split in snapshot.splits.items():
        _require_split(f"{name}.data().{part}", split, snapshot)
    if snapshot.outliers is not None:
        _require_rows(f"{name}.data().outliers", snapshot.outliers, snapshot)
    model = ask(workload, "build")
    if not isinstance(model, nn.Module):
        raise InvalidInputError(f"{name}.build() returned {type(model).__name__}; expected a torch.nn.Module")
    rows = snapshot.train.x[:ROWS]
    expected = (len(rows), snapshot.classes or 1)
    shapes = {expected, (len(rows),)} if snapshot.numeric else {expected}
    try:
        with torch.no_grad():
            answer = model.eval()(torch.from_numpy(rows))
    except Exception as error:  # the user's forward may raise anything; their file must change
        raise InvalidInputError(
            f"the network of {name} fails on rows of shape {rows.shape}: {type(error).__name__}: {error}; "
            f"make build() fit data(): expected an answer of shape {expected}"
        ) from error
    found = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
    if found not in shapes:
        what = "one number for each row" if snapshot.numeric else "one logit for each class of its labels"
        raise InvalidInputError(
            f"the network of {name} answers {len(rows)} rows with {found}; expected (rows, classes) = {expected}, "
            f"{what}. Change its last layer or the snapshot's `classes`"
        )


def _require_split(place: str, split: Split, snapshot: Snapshot) -> None:
    _require_rows(f"{place}.x", split.x, snapshot)
    y, kind = split.y, np.dtype(np.float32 if snapshot.numeric else np.int64)
    if not isinstance(y, np.ndarray) or y.dtype != kind or y.shape != (len(split.x),):
        raise InvalidInputError(f"{place}.y is {_kind(y)}; expected {kind} ({len(split.x)},), one label for each row")
    if snapshot.classes is not None and (y.min() < 0 or y.max() >= snapshot.classes):
        raise InvalidInputError(
            f"{place}.y holds labels from {y.min()} to {y.max()}; expected 0 to {snapshot.classes - 1}, "
            f"as `classes` is {snapshot.classes}"
        )
    for column, values in split.slices.items():
        if not isinstance(values, np.ndarray) or values.dtype.kind != "U" or values.shape != y.shape:
            raise InvalidInputError(f"{place}.slices[{column!r}] is {_kind(values)}; expected text {y.shape}")


def _require_rows(place: str, x: object, snapshot: Snapshot) -> None:
    row = np.shape(snapshot.train.x)[1:]
    if not isinstance(x, np.ndarray) or x.dtype != np.float32 or x.ndim < 2 or x.shape[1:] != row or not len(x):
        raise InvalidInputError(
            f"{place} is {_kind(x)}; expected float32 (rows, ...), at least one row, all of train's shape {row}"
        )


def _kind(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
