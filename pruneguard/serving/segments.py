"""The sealed windows of a home: which there are, as files for other tools, as one table. What the ledger names counts.

A window that was half written, or stored and never recorded, is named by no entry and is no part of any of this; one
whose entry retention has dropped is gone from here as its file is from the store.
"""

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from pruneguard.artifacts import Artifacts
from pruneguard.errors import InvalidInputError
from pruneguard.files import appearing
from pruneguard.ledger.events import Entry
from pruneguard.ledger.ledger import Ledger

_READ_ROWS = 10_000


class Kind(StrEnum):
    OBSERVATIONS = "observations"  # what was answered
    LABELS = "labels"  # what turned out to be true of it

    @property
    def ref(self) -> str:
        """What the event calls it."""
        return "batch" if self is Kind.OBSERVATIONS else "labels"


@dataclass(frozen=True, slots=True)
class Segment:
    """One sealed file. `index` is the position of the entry that names it."""

    kind: Kind
    model: str
    number: int
    batch: int
    rows: int
    time: str
    digest: str
    index: int


def segments(ledger: Ledger, *, model: str | None = None, number: int | None = None) -> Iterator[Segment]:
    """Every sealed file that the ledger names, oldest first; of one model or release, where they are given."""
    void = {index for index, _ in ledger.state().violations}
    for start in range(0, ledger.size, _READ_ROWS):
        for index, raw in enumerate(ledger.raw(start, min(start + _READ_ROWS, ledger.size)), start):
            if not raw or index in void or (event := Entry.decode(raw).event).type != "batch.sealed":
                continue
            data = event.data
            if model not in (None, data["model"]) or number not in (None, data["number"]):
                continue
            for kind, rows in ((Kind.OBSERVATIONS, data["rows"]), (Kind.LABELS, data.get("labels", 0))):
                if rows:
                    told = (data["model"], data["number"], data.get("batch", 0), rows, event.time)
                    yield Segment(kind, *told, event.refs[kind.ref], index)


def views(found: Iterable[Segment], artifacts: Artifacts) -> str:
    """SQL for DuckDB over the files where they lie: `observations`, one line a row, with its label where one is known,
    and `labels`, of which the newest of each row.

    Raises InvalidInputError where there are none, and where the store is no folder of this machine.
    """
    paths: dict[Kind, list[str]] = {kind: [] for kind in Kind}
    for segment in found:
        path = artifacts.local_path(segment.digest)
        if path is None:
            raise InvalidInputError("the store is no folder of this machine; use `pruneguard observations export`")
        paths[segment.kind].append("'" + str(path.resolve()).replace("'", "''") + "'")
    if not paths[Kind.OBSERVATIONS]:
        raise InvalidInputError("nothing was sealed yet; windows are, a minute after their first answer")
    read = {kind.value: f"read_parquet([{', '.join(names)}], union_by_name = true)" for kind, names in paths.items()}
    return (_LABELLED if paths[Kind.LABELS] else _UNLABELLED).format(**read)


_UNLABELLED = "CREATE VIEW observations AS SELECT *, NULL::DOUBLE AS label FROM {observations};\n"
_LABELLED = """\
CREATE VIEW labels AS SELECT * FROM {labels} QUALIFY row_number() OVER (
    PARTITION BY model, version, request_id, "row" ORDER BY time DESC, sequence DESC) = 1;
CREATE VIEW observations AS SELECT o.*, l.label FROM {observations} o LEFT JOIN labels l
    ON (o.model, o.version, o.batch, o.request_id, o."row")
     = (l.model, l.version, l.answered_in, l.request_id, l."row");
"""


def export(found: Iterable[Segment], artifacts: Artifacts, path: Path) -> int:
    """Write segments of one kind as one file, Parquet or CSV by the name's ending; returns how many rows.

    A segment is read and checked at a time. Raises InvalidInputError for another ending, and for a file that exists.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise InvalidInputError(f"{path}: expected a name that ends in .parquet or .csv")
    digests = [segment.digest for segment in found]
    if not digests:
        raise InvalidInputError("no window matches; `pruneguard observations list` names those there are")
    flat = path.suffix == ".csv"
    schemas = (pq.read_schema(io.BytesIO(artifacts.get(digest))).remove_metadata() for digest in digests)
    schema = _flat(pa.unify_schemas(list(schemas), promote_options="permissive"), flat)
    rows = 0
    with appearing(path) as partial, _writer(partial, schema, flat) as writer:
        for digest in digests:
            table = pq.read_table(io.BytesIO(artifacts.get(digest)))
            columns = [_column(table, field, flat) for field in schema]
            writer.write_table(pa.table(columns, schema=schema))
            rows += table.num_rows
    return rows


def _writer(path: Path, schema: pa.Schema, flat: bool) -> "pcsv.CSVWriter | pq.ParquetWriter":
    return pcsv.CSVWriter(path, schema) if flat else pq.ParquetWriter(path, schema, compression="zstd")


def _flat(schema: pa.Schema, flat: bool) -> pa.Schema:
    """With lists as texts, where a format has none."""
    return pa.schema([pa.field(f.name, pa.string()) if flat and pa.types.is_list(f.type) else f for f in schema])


def _column(table: pa.Table, field: pa.Field, flat: bool) -> pa.Array:
    if field.name not in table.column_names:
        return pa.nulls(table.num_rows, field.type)
    column = table.column(field.name)
    if flat and pa.types.is_list(column.type):
        return pa.array([None if v is None else json.dumps(v) for v in column.to_pylist()], pa.string())
    return column.cast(field.type)
