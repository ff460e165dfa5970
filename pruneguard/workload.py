"""What a user brings: a network, its data, and, if they like, their own training.

A workload is a class in a Python file; a manifest names it as `file.py:Class`. It needs no base class:

    class Digits:
        def build(self) -> torch.nn.Module: ...                  a fresh, untrained network, logits out
        def data(self, directory: Path) -> Snapshot: ...         the same rows at every call
        def train(self, model, split, *, epochs, seed): ...      optional; in place; else Adam on cross-entropy

Where labels are numbers and no classes, the network answers with one number for each row, [n] or [n, 1], in the labels'
unit. The snapshot says `classes=None` and, as its `tolerance`, how near to its label an answer counts as right; without
a `train` of its own the network is trained on the squared error.
"""

import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from pruneguard.errors import InvalidInputError, PruneGuardError

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

Labels: TypeAlias = npt.NDArray[Any]
"""One for each row [n]: int64, classes from 0; or, of a regression, float32, the numbers to be answered."""

Kind: TypeAlias = Literal["images", "table", "text"]
KINDS: tuple[Kind, ...] = ("images", "table", "text")


@dataclass(frozen=True, slots=True)
class Tokens:
    """What some numbers mean in rows of text [n, places], whose values are numbers of words; None where none does.

    `filling` fills a row up at its end, `unknown` stands for a word outside the vocabulary. `marks` are no words: where
    a text begins and ends, say.
    """

    filling: int | None = None
    unknown: int | None = None
    marks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Rows of one split.

    `x` is float32 [n, ...] (images [n, channels, height, width], tables [n, features]), `y` int64 [n] with classes
    from 0, or float32 [n] of a regression. `slices` maps a column's name to one text per row; every value is a slice
    that the gates look at alone.
    """

    x: Floats
    y: Labels
    slices: Mapping[str, npt.NDArray[np.str_]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.y)

    def taken(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "Split":
        """Some of its rows, by number or by a mask."""
        return Split(self.x[rows], self.y[rows], {column: values[rows] for column, values in self.slices.items()})


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The data of one run.

    `train` fits; `gate` is what the search may look at as often as it likes; `release` is opened once, for the final
    verdict. `classes` is None where labels are numbers; then `tolerance` says, in their unit, how far from its label
    an answer may lie and be right. `bounds` are the smallest and largest value a feature can take (attacks and noise
    stay inside). `outliers` are rows that belong to no class, for the out-of-distribution gate. `kind` says what a row
    is, and so what can happen to it; None is images where rows have three dimensions, else a table. Text is never
    guessed, and has `tokens`. `protected` names the slice columns by which nobody may be treated worse (sex, race):
    fairness is measured by them.
    """

    train: Split
    gate: Split
    release: Split
    classes: int | None
    bounds: tuple[float, float] = (0.0, 1.0)
    outliers: Floats | None = None
    kind: Kind | None = None
    tokens: Tokens | None = None
    protected: tuple[str, ...] = ()
    tolerance: float | None = None

    @property
    def numeric(self) -> bool:
        """Whether this is a regression: labels are numbers."""
        return self.classes is None

    @property
    def splits(self) -> dict[str, Split]:
        return {"train": self.train, "gate": self.gate, "release": self.release}

    @property
    def digest(self) -> str:
        """SHA-256 over all arrays with their names, types and shapes, and over what the snapshot says of them."""
        hasher = hashlib.sha256(f"snapshot/v1 {self.classes} {self.bounds}".encode())
        if self.kind is not None:
            hasher.update(f"\nkind {self.kind} {self.tokens}".encode())
        if self.tolerance is not None:
            hasher.update(f"\ntolerance {float(self.tolerance)}".encode())
        if self.protected:
            hasher.update(f"\nprotected {self.protected}".encode())
        arrays: dict[str, npt.NDArray[np.generic]] = {}
        for name, split in self.splits.items():
            arrays |= {f"{name} x": split.x, f"{name} y": split.y}
            arrays |= {f"{name} slice {column}": split.slices[column] for column in sorted(split.slices)}
        if self.outliers is not None:
            arrays["outliers"] = self.outliers
        for part, array in arrays.items():
            hasher.update(f"\n{part} {array.dtype.str} {array.shape}\n".encode())
            hasher.update(np.ascontiguousarray(array).tobytes())
        return "sha256:" + hasher.hexdigest()


class Workload(Protocol):
    """The methods a user's class must have; see the module's docstring."""

    def build(self) -> "torch.nn.Module": ...

    def data(self, directory: Path) -> Snapshot: ...


def load(file: Path, name: str) -> Workload:
    """The workload `name` out of a Python file, loaded under a private module name.

    Raises InvalidInputError when the file, the class or one of its methods is missing, or the file fails to import.
    """
    if not file.is_file():
        raise InvalidInputError(
            f"{file}: no such file; the manifest's `workload` is `file.py:Class` beside the manifest"
        )
    private = "_pruneguard_workload_" + hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(private, file)
    assert spec is not None  # a .py file always has a spec and a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[private] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code may raise anything; it is their file that must change
        del sys.modules[private]
        raise InvalidInputError(f"{file}: importing it failed: {type(error).__name__}: {error}") from error
    kind = getattr(module, name, None)
    if not isinstance(kind, type):
        classes = sorted(
            key for key, value in vars(module).items() if isinstance(value, type) and value.__module__ == private
        )
        raise InvalidInputError(f"{file}: no class {name!r}; it defines {classes}")
    missing = [method for method in ("build", "data") if not callable(getattr(kind, method, None))]
    if missing:
        raise InvalidInputError(f"{file}: class {name} lacks {missing}; see pruneguard/workload.py for the protocol")
    return cast("Workload", kind())


def ask(workload: Workload, method: str, *args: Any, **kwargs: Any) -> Any:
    """Call a method of the user's. Whatever it raises is an InvalidInputError that names the line in their file."""
    try:
        return getattr(workload, method)(*args, **kwargs)
    except PruneGuardError:
        raise  # it says already who must do what
    except Exception as error:  # the user's code may raise anything; it is their file that must change
        file = inspect.getfile(type(workload))
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        place = f"{file}:{lines[-1]}" if lines else file
        raise InvalidInputError(
            f"{place}: {method}() failed: {type(error).__name__}: {error}; mend it there"
        ) from error
