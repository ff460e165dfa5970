"""Which columns of a file are a model's input, and in which order. Pure.

A model's file names no features: it takes numbers in an order. So the order is said by the caller, by the columns'
names, or by the file.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pruneguard.errors import InvalidInputError
from pruneguard.workload import Floats

INPUT = "input"
"""A column of this name holds whole rows, as lists that are nested as the model's input is."""
_FEATURE = "feature_"


@dataclass(frozen=True, slots=True)
class Layout:
    """`columns` in the model's order: one for each number of a row, or, if `nested`, one with all of them as lists.

    `shape` is a row's, -1 where the model leaves a dimension open. `keep` are copied to the output.
    """

    shape: tuple[int, ...]
    columns: tuple[str, ...]
    nested: bool
    keep: tuple[str, ...]

    @property
    def used(self) -> list[str]:
        return list(dict.fromkeys([*self.columns, *self.keep]))

    def whole(self, numbers: npt.NDArray[np.float64]) -> Floats | None:
        """Many rows at once [n, columns], where nothing is wrong with any of them; else None."""
        if self.nested or -1 in self.shape:
            return None
        with np.errstate(over="ignore"):
            rows = numbers.astype(np.float32).reshape(len(numbers), *self.shape)
        return rows if np.isfinite(rows).all() else None

    def row(self, values: Sequence[Any]) -> Floats:
        """One row out of what its columns hold. Raises ValueError that says what is wrong with it."""
        cell = _list_of(values[0]) if self.nested else values
        with np.errstate(over="ignore"):  # what float32 cannot hold is told as infinite
            try:
                row = np.asarray(cell, dtype=np.float64).astype(np.float32)
            except (ValueError, TypeError):
                raise ValueError(self._first_wrong(values)) from None
        row = row.reshape(self._shape_of(row))
        if not np.isfinite(row).all():
            at = int(np.flatnonzero(~np.isfinite(row.ravel()))[0])
            name = f"number {at} of {self.columns[0]!r}" if self.nested else repr(self.columns[at])
            raise ValueError(f"{name} is {row.ravel()[at]}")
        return row

    def _shape_of(self, row: Floats) -> tuple[int, ...]:
        wrong = ValueError(f"it is nested as {list(row.shape)}; expected {list(self.shape)}")
        if self.nested and row.ndim == len(self.shape):
            if any(want not in (-1, size) for want, size in zip(self.shape, row.shape, strict=True)) or not row.size:
                raise wrong
            return row.shape
        # A flat row: what it has more than the sizes that are fixed is the one that is open.
        fixed = math.prod(size for size in self.shape if size != -1)
        free, rest = divmod(row.size, fixed)
        if row.ndim != 1 or rest or not free or self.shape.count(-1) > 1 or (-1 not in self.shape and free != 1):
            raise wrong
        return tuple(free if size == -1 else size for size in self.shape)

    def _first_wrong(self, values: Sequence[Any]) -> str:
        if self.nested:
            return f"{self.columns[0]!r} is no list of numbers, evenly nested"
        for name, value in zip(self.columns, values, strict=True):
            try:
                float(value)
            except (ValueError, TypeError):
                return f"{name!r} is {value!r:.40}, not a number"
        return "it holds something else than numbers"


def layout(
    header: Sequence[str], *, shape: tuple[int, ...], columns: Sequence[str] = (), keep: Sequence[str] = ()
) -> Layout:
    """How the columns of a file become the rows of a model.

    `columns` as the caller names them; else the column `input`, else feature_0, feature_1, ..., else every column that
    is not to be kept, in the file's order. Raises InvalidInputError where they are not there or not as many as needed.
    """
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise InvalidInputError(f"the columns {twice} are there more than once; name each differently")
    if unknown := [name for name in (*columns, *keep) if name not in header]:
        raise InvalidInputError(f"no column {unknown[0]!r}; there are {list(header)[:20]}")
    rest = [name for name in header if name not in keep]
    numbered = [f"{_FEATURE}{index}" for index in range(len(rest))]
    found = list(columns) or ([INPUT] if INPUT in rest else numbered if set(rest) == set(numbered) else rest)
    size = None if -1 in shape else math.prod(shape)
    nested = len(found) == 1 and (size != 1 or found == [INPUT])
    if not nested and size is not None and len(found) != size:
        raise InvalidInputError(
            f"the model takes {size} numbers a row, {list(shape)}, and {len(found)} columns are left for them, "
            f"{found[:5]}...; name them in the model's order, or those that are to be kept beside"
        )
    return Layout(shape, tuple(found), nested, tuple(dict.fromkeys(keep)))


def _list_of(cell: Any) -> Any:
    """A cell's list; in a CSV it is written as JSON."""
    if not isinstance(cell, str):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise ValueError(f"{cell!r:.40} is no list of numbers") from None
