"""Rows out of a CSV or Parquet file, a block at a time, each with its number. Nothing is read twice or held longer."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pruneguard.errors import InvalidInputError
from pruneguard.scoring.layout import Layout
from pruneguard.workload import Floats

KINDS = (".csv", ".parquet")
BUFFER_BYTES = 1 << 20


@dataclass(slots=True, eq=False)
class Block:
    """Rows that follow each other, counted from 1: the numbers and values of those that are rows, what is kept of each
    of them, and why the others are none."""

    end: int
    """Number of the last one."""
    numbers: list[int] = field(default_factory=list)
    rows: Sequence[Floats] = ()
    kept: dict[str, list[Any]] = field(default_factory=dict)
    bad: list[tuple[int, str]] = field(default_factory=list)


class _Records(Protocol):
    """A block as its file holds it."""

    def __len__(self) -> int: ...

    def column(self, name: str) -> list[Any]: ...

    def matrix(self, columns: Sequence[str]) -> npt.NDArray[np.float64] | None:
        """All of these columns as numbers; None where some are none."""
        ...

    def misshapen(self, at: int) -> str:
        """Why a row cannot be read at all; empty where it can."""
        ...


def header(path: Path) -> list[str]:
    """Names of a file's columns. Raises InvalidInputError for what is no such file."""
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file; give rows as {' or '.join(KINDS)}")
    with _readable(path):
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                return list(map(str, file.schema_arrow.names))
        with path.open(encoding="utf-8-sig", newline="") as text:
            names = next(csv.reader(text, strict=True), [])
    if not names:
        raise InvalidInputError(f"{path}: it is empty; expected a line with the names of the columns")
    return names


def blocks(path: Path, layout: Layout, *, rows: int, skip: int, read: Callable[[int, int], None]) -> Iterator[Block]:
    """The file in blocks of so many rows, but for the first `skip` blocks. `read` hears how far it has come, of what.

    Raises InvalidInputError for a file that cannot be read at all; what is wrong with a row stands in its block.
    """
    parts = _parquet(path, layout, rows, read) if path.suffix == ".parquet" else _csv(path, rows, read)
    end = 0
    with _readable(path):
        for number, records in enumerate(parts):
            end += len(records)
            if number >= skip:
                yield _block(layout, end - len(records), records)


def _block(layout: Layout, before: int, records: _Records) -> Block:
    end = before + len(records)
    kept = {name: records.column(name) for name in layout.keep}
    matrix = None if layout.nested else records.matrix(layout.columns)
    if matrix is not None and (whole := layout.whole(matrix)) is not None:
        return Block(end, list(range(before + 1, end + 1)), list(whole), kept)
    rows: list[Floats] = []
    good: list[int] = []
    bad: list[tuple[int, str]] = []
    columns = [records.column(name) for name in layout.columns]
    for at in range(len(records)):
        try:
            if why := records.misshapen(at):
                raise ValueError(why)
            rows.append(layout.row([column[at] for column in columns]))
            good.append(at)
        except ValueError as error:
            bad.append((before + 1 + at, str(error)))
    return Block(
        end, [before + 1 + at for at in good], rows, {name: [kept[name][at] for at in good] for name in kept}, bad
    )


@dataclass(frozen=True)
class _Lines:
    """Lines of a CSV."""

    names: list[str]
    cells: list[list[str]]

    def __len__(self) -> int:
        return len(self.cells)

    def column(self, name: str) -> list[Any]:
        at = self.names.index(name)
        return [cells[at] if at < len(cells) else "" for cells in self.cells]

    def matrix(self, columns: Sequence[str]) -> npt.NDArray[np.float64] | None:
        if any(len(cells) != len(self.names) for cells in self.cells):
            return None
        try:
            return np.array([self.column(name) for name in columns], dtype=np.float64).T
        except ValueError:
            return None

    def misshapen(self, at: int) -> str:
        found = len(self.cells[at])
        return "" if found == len(self.names) else f"it has {found} cells; expected {len(self.names)}"


@dataclass(frozen=True)
class _Slice:
    """Rows of a Parquet file."""

    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> list[Any]:
        return self._columns[name]

    @cached_property
    def _columns(self) -> dict[str, list[Any]]:
        return {name: self.table[name].to_pylist() for name in self.table.column_names}

    def matrix(self, columns: Sequence[str]) -> npt.NDArray[np.float64] | None:
        chosen = [self.table[name] for name in columns]
        if not all(pa.types.is_integer(c.type) or pa.types.is_floating(c.type) for c in chosen):
            return None
        if any(column.null_count for column in chosen):
            return None
        return np.stack([column.to_numpy() for column in chosen], axis=1).astype(np.float64)

    def misshapen(self, at: int) -> str:
        return ""


def _csv(path: Path, rows: int, read: Callable[[int, int], None]) -> Iterator[_Records]:
    size = path.stat().st_size
    with path.open("rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
        lines = csv.reader(text, strict=True)
        names = next(lines)
        while cells := list(islice(filter(None, lines), rows)):  # an empty line is none, as in every reader of CSV
            yield _Lines(names, cells)
            read(raw.tell(), size)


def _parquet(path: Path, layout: Layout, rows: int, read: Callable[[int, int], None]) -> Iterator[_Records]:
    # With its default, pre_buffer, pyarrow holds all that it has read until the end.
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES) as file:
        done, count = 0, file.metadata.num_rows
        waiting: pa.Table | None = None
        for batch in file.iter_batches(batch_size=rows, columns=layout.used):
            # A batch ends where a row group does; a block does not hang on how the file was written.
            table = pa.Table.from_batches([batch])
            waiting = table if waiting is None else pa.concat_tables([waiting, table])
            while waiting.num_rows >= rows:
                yield _Slice(waiting.slice(0, rows))
                waiting = waiting.slice(rows)
            done += len(batch)
            read(done, count)
        if waiting is not None and waiting.num_rows:
            yield _Slice(waiting)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What the libraries raise at a file that is not what its name says, as what it is."""
    if path.suffix not in KINDS:
        raise InvalidInputError(f"{path}: expected a file that ends in {' or '.join(KINDS)}")
    try:
        yield
    except (csv.Error, UnicodeDecodeError, pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the machine, not of the file
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise InvalidInputError(f"{path}: not readable as {path.suffix}: {first}; save it anew") from error
