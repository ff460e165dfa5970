"""One file scored by one version: in parts that outlive a kill, and a result that appears whole or not at all.

1. The job is written down beside the output: which bytes, which version, which columns. A call that means another job
   does not go on with its parts.
2. A block of rows is read, answered and written as a part, durably; before each, the version must still be one that
   the ledger lets answer.
3. The parts are joined, the result gets its name, and the job's folder goes.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pruneguard import files
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.sessions import Session, predictions, probabilities
from pruneguard.reporting import listener
from pruneguard.scoring.layout import layout
from pruneguard.scoring.reading import KINDS, Block, blocks, header
from pruneguard.serving.chosen import Chosen
from pruneguard.workload import Floats

NUMBERS_MAX = 2_000_000
"""Input numbers of a block, which bounds the memory: 8 MB as float32, some 200 MB as what a CSV holds."""
ROWS_MAX = 8_192
BAD_TOLD = 20
_META = b"pruneguard"


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done. `source` is the digest of the input's bytes, `digest` of the model's."""

    source: str
    model: str
    number: int
    digest: str
    columns: tuple[str, ...]
    keep: tuple[str, ...]
    skip_bad: bool
    rows: int


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of it. `skipped` rows were none; `bad` tells of the first of them, by number and reason."""

    output: Path
    output_digest: str
    job: Job
    ledger: str
    """Origin of the ledger, and how many entries of it said that the version may answer."""
    ledger_size: int
    rows: int
    skipped: int
    bad: tuple[tuple[int, str], ...]
    resumed: int
    """Parts that were there from a call before."""


def score(
    source: Path,
    output: Path,
    chosen: Chosen,
    *,
    columns: Sequence[str] = (),
    keep: Sequence[str] = (),
    skip_bad: bool = False,
    restart: bool = False,
    threads: int = 1,
    still: Callable[[], None] = lambda: None,
) -> Scored:
    """Score `source` (CSV or Parquet) into `output`, a new file, or go on where a call before was stopped.

    `still` raises when the version may not answer any more. Raises InvalidInputError for bad rows, naming the first
    ones, unless `skip_bad`; for an `output` that exists; and where another job has begun it, unless `restart`.
    """
    if output.suffix not in KINDS or output.exists():
        found = (
            "exists already and is never overwritten" if output.exists() else f"ends in {output.suffix or 'nothing'}"
        )
        raise InvalidInputError(f"{output} {found}; choose another name that ends in {' or '.join(KINDS)}")
    session = Session(chosen.onnx, threads=threads)
    shape = layout(header(source), shape=session.input_shape, columns=columns, keep=keep)
    taken = set(_answers(session)) | {"row", "version", "digest"}
    if clash := sorted(taken & set(shape.keep)):
        raise InvalidInputError(f"{clash} are names of the output's own; rename the columns that are to be kept")
    size = max(1, int(np.prod([side for side in session.input_shape if side != -1])))
    job = Job(
        _digest(source),
        chosen.release.model,
        chosen.release.number,
        chosen.release.digest,
        shape.columns,
        shape.keep,
        skip_bad,
        rows=max(1, min(ROWS_MAX, NUMBERS_MAX // size)),
    )
    folder = output.with_name(f".{output.name}.job")
    with files.held(folder.with_suffix(".lock"), what=f"{output} is being made"):
        done = _begin(folder, job, restart=restart)
        bar = listener.get().progress(f"scoring {source.name} by {job.model} {job.number}")
        end = 0
        for number, block in enumerate(blocks(source, shape, rows=job.rows, skip=done, read=bar), done):
            still()
            if why := _write(_part(folder, number), session, job, block):
                shutil.rmtree(folder)  # with the rows mended it is another job
                raise InvalidInputError(why)
            end = number + 1
        parts = [_part(folder, number) for number in range(max(done, end))]
        still()
        scored = _join(output, chosen, session, job, parts, resumed=done)
        shutil.rmtree(folder)
    folder.with_suffix(".lock").unlink(missing_ok=True)
    return scored


def begun(output: Path) -> Job | None:
    """The job that a call before has begun and not ended, if one has."""
    journal = _journal(output.with_name(f".{output.name}.job"))
    if not journal.exists():
        return None
    told = json.loads(journal.read_bytes())
    return Job(**{**told, "columns": tuple(told["columns"]), "keep": tuple(told["keep"])})


def _begin(folder: Path, job: Job, *, restart: bool) -> int:
    """Write the job down, or find it; how many parts of it are there."""
    if restart and folder.exists():
        shutil.rmtree(folder)
    journal = _journal(folder)
    if not journal.exists():
        with files.appearing(journal) as partial:
            partial.write_text(json.dumps(asdict(job), indent=1), encoding="utf-8")
    elif (found := json.loads(journal.read_bytes())) != (told := json.loads(json.dumps(asdict(job)))):
        other = [
            f"{name} {found.get(name)!r:.40}, now {told[name]!r:.40}" for name in told if found.get(name) != told[name]
        ]
        raise InvalidInputError(f"{folder} holds parts of another job: {'; '.join(other)}; finish that, or --restart")
    count = 0
    while _part(folder, count).exists():
        count += 1
    return count


def _journal(folder: Path) -> Path:
    return folder / "journal.json"


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06}.parquet"


def _write(path: Path, session: Session, job: Job, block: Block) -> str:
    """Answer a block and put it down as a part; or say which rows are bad, where none is to be skipped."""
    logits = _logits(session, block.rows)
    finite: npt.NDArray[np.bool_] = np.asarray(np.isfinite(logits).all(axis=1))
    bad = block.bad + [
        (block.numbers[at], "the model's answer is not finite") for at in np.flatnonzero(~finite).tolist()
    ]
    if bad and not job.skip_bad:
        told = "; ".join(f"row {number}: {why}" for number, why in sorted(bad)[:5])
        return f"{len(bad)} of the rows up to {block.end} are bad: {told}; mend them, or --skip-bad"
    kept = {
        name: [value for value, good in zip(values, finite, strict=True) if good] for name, values in block.kept.items()
    }
    numbers = np.asarray(block.numbers, dtype=np.int64)[finite]
    made: dict[str, Any] = {"row": numbers, **kept, **_answers(session, logits[finite])}
    made |= {"version": np.full(len(numbers), job.number, np.int32), "digest": [job.digest] * len(numbers)}
    table = pa.table({name: pa.array(values) for name, values in made.items()})
    told_of = json.dumps({"skipped": len(bad), "bad": sorted(bad)[:BAD_TOLD]})
    with files.appearing(path) as partial:
        pq.write_table(table.replace_schema_metadata({_META: told_of}), partial, compression="zstd")
    return ""


def _logits(session: Session, rows: Sequence[Floats]) -> Floats:
    """Answers in the order of the rows; those of one shape are asked together."""
    answers = np.empty((len(rows), session.width), np.float32)
    places: dict[tuple[int, ...], list[int]] = {}
    for at, row in enumerate(rows):
        places.setdefault(row.shape, []).append(at)
    for group in places.values():
        answers[group] = session.logits(np.stack([rows[at] for at in group]))
    return answers


def _answers(session: Session, logits: Floats | None = None) -> dict[str, Any]:
    """What stands in the output for each row, by name."""
    logits = np.empty((0, session.width), np.float32) if logits is None else logits
    if session.classes is None:
        return {"number": logits[:, 0]}
    columns: dict[str, Any] = {
        "predicted": predictions(logits),
        "probability": probabilities(logits).max(axis=1, initial=0),
    }
    return columns | {f"logit_{index}": logits[:, index] for index in range(session.classes)}


def _join(output: Path, chosen: Chosen, session: Session, job: Job, parts: Sequence[Path], *, resumed: int) -> Scored:
    told = [json.loads(pq.read_schema(part).metadata[_META]) for part in parts]
    skipped = sum(one["skipped"] for one in told)
    bad = [(number, why) for one in told for number, why in one["bad"]][:BAD_TOLD]
    rows = sum(pq.read_metadata(part).num_rows for part in parts)
    about = {
        "model": job.model,
        "release": job.number,
        "digest": job.digest,
        "source": job.source,
        "ledger": chosen.origin,
        "ledger_size": chosen.size,
        "rows": rows,
        "skipped": skipped,
    }
    schema = _schema(parts).with_metadata({f"pruneguard.{name}": str(value) for name, value in about.items()})
    with files.appearing(output) as partial:
        _stack(partial, schema, parts, is_csv=output.suffix == ".csv")
        digest = _digest(partial)
    return Scored(output, digest, job, chosen.origin, chosen.size, rows, skipped, tuple(bad), resumed)


def _schema(parts: Sequence[Path]) -> pa.Schema:
    """Of all parts: a kept column that is empty in one may hold something in another."""
    if not parts:
        raise InvalidInputError("the file holds no rows below the names of its columns; there is nothing to score")
    schemas = (pq.read_schema(part).remove_metadata() for part in parts)
    return pa.unify_schemas(list(schemas), promote_options="permissive")


def _stack(path: Path, schema: pa.Schema, parts: Sequence[Path], *, is_csv: bool) -> None:
    writer = pa_csv.CSVWriter(path, schema) if is_csv else pq.ParquetWriter(path, schema, compression="zstd")
    with writer:
        for table in _tables(parts, schema):
            writer.write_table(table)


def _tables(parts: Sequence[Path], schema: pa.Schema) -> Iterator[pa.Table]:
    for part in parts:
        yield pq.read_table(part).replace_schema_metadata(schema.metadata).cast(schema)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
