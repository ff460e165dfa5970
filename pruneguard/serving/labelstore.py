"""What turned out to be true: labels by request id, late, out of order, again or corrected, and never lost.

One SQLite file (write-ahead log, every commit synced), written by as many processes as there are. A label is
acknowledged when it is on disk. Nothing is changed in place: a correction is another row, and of a row's labels the one
with the latest stated time holds, of equal times the one that came last. What a label is about is found out later, by
the monitor: it enters the ids of every window that it seals, and takes the labels whose ids it knows.

The file is a waiting room. What was joined is sealed with the release's windows, and follows their retention; what lies
here longer than DAYS_KEPT is removed.
"""

import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DatabaseError, OperationalError

from pruneguard.errors import IntegrityError, UnavailableError

DAYS_KEPT = 30
"""How long an answer's id is remembered, and a label after it was sealed."""

UNKNOWN_AFTER_S = 86_400.0
"""A label whose id no sealed window has by then is about nothing that this service answered."""

_BUSY_S = 10.0
_DAY_S = 86_400.0
_tables = sa.MetaData()


class Standing(StrEnum):
    """What became of a label."""

    WAITING = "waiting"  # no sealed window holds its answer yet
    KNOWN = "known"  # one does
    SEALED = "sealed"  # together with what was answered
    UNKNOWN = "unknown"  # it waited in vain; should its answer come up all the same, it is known


_label = sa.Table(
    "label",
    _tables,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("time", sa.Float, nullable=False),
    sa.Column("arrived", sa.Float, nullable=False),
    sa.Column("standing", sa.Text, nullable=False),
    sa.Index("label_of", "model", "request_id", "row"),
    sa.Index("label_standing", "standing", "model", "sequence"),
    sqlite_autoincrement=True,  # a sequence number is never used again, so a reader knows which of two came later
)
_answered = sa.Table(
    "answered",
    _tables,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("row", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("batch", sa.Integer, nullable=False),
    sa.Column("predicted", sa.Float, nullable=False),
    sa.Column("time", sa.Float, nullable=False, index=True),
    sqlite_with_rowid=False,
)
_counted = sa.Table(
    "counted",
    _tables,
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("outcome", sa.Text, primary_key=True),
    sa.Column("labels", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)


@dataclass(frozen=True, slots=True)
class Label:
    """What is true of one row of a request. `time`, in seconds since 1970, is when that was found out; None is now."""

    request_id: str
    value: float
    row: int = 0
    time: float | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of labels that were given: new ones, `corrected` of which say otherwise than was known before."""

    accepted: int
    corrected: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Answered:
    """A row that was sealed: whose labels can be joined. `time` is when it was answered."""

    request_id: str
    row: int
    predicted: float
    time: float


@dataclass(frozen=True, slots=True)
class Joined:
    """A label and what was answered. `before` is the label that held until then; None where there was none.

    `holds` is False for one that a newer one came before.
    """

    sequence: int
    request_id: str
    row: int
    value: float
    time: float
    arrived: float
    batch: int
    predicted: float
    before: float | None
    holds: bool


class Labels:
    """The store at `path`; the file is made by the first write. Safe in several threads and processes.

    Raises UnavailableError where it cannot be written now (a full disk, another writer that does not finish) and
    IntegrityError where the file is no such store. What raises has changed nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = _engine(path)
        self._made = False

    # -- given by people and programs ---------------------------------------------------------------------------------

    def add(self, model: str, labels: Sequence[Label], *, now: float | None = None) -> Receipt:
        """Take labels in, durably, all or none. One that is there already changes nothing.

        That is one with the same value and time, or without a time and with the value that holds.
        """
        now = time.time() if now is None else now
        accepted = corrected = 0
        with self._writing() as connection:
            for label in labels:
                known = _of(connection, model, label)
                if known and (known[-1].value == label.value if label.time is None else _has(known, label)):
                    continue
                stated = now if label.time is None else label.time
                values = {"request_id": label.request_id, "row": label.row, "value": label.value, "time": stated}
                standing = Standing.KNOWN if _is_answered(connection, model, label) else Standing.WAITING
                connection.execute(
                    sa.insert(_label).values(model=model, arrived=now, standing=standing.value, **values)
                )
                accepted += 1
                corrected += bool(known) and known[-1].value != label.value
            done = Receipt(accepted, corrected, len(labels) - accepted)
            _count(connection, model, accepted=accepted, corrected=corrected, duplicates=done.duplicates)
        return done

    def counts(self, model: str) -> dict[str, int]:
        """How many were accepted, corrected, duplicates and unknown so far, and of those kept, how many wait."""
        names = ("accepted", "corrected", "duplicates", "unknown")
        if not self.path.exists():
            return dict.fromkeys((*names, "waiting"), 0)
        with self._reading() as connection:
            counted = sa.select(_counted.c.outcome, _counted.c.labels).where(_counted.c.model == model)
            so_far = {row.outcome: row.labels for row in connection.execute(counted)}
            waiting = sa.and_(_label.c.standing == Standing.WAITING.value, _label.c.model == model)
            now = connection.execute(sa.select(sa.func.count()).where(waiting)).scalar_one()
        return {name: so_far.get(name, 0) for name in names} | {"waiting": now}

    # -- taken by the monitor -----------------------------------------------------------------------------------------

    def enter(self, model: str, number: int, batch: int, rows: Iterable[Answered]) -> None:
        """Say what a sealed window holds. The newest answer with an id is what labels of that id are about."""
        values = [
            {"model": model, "number": number, "batch": batch}
            | {name: getattr(row, name) for name in ("request_id", "row", "predicted", "time")}
            for row in rows
        ]
        if values:
            with self._writing() as connection:
                statement = insert(_answered)
                newer = {name: statement.excluded[name] for name in ("number", "batch", "predicted", "time")}
                keys = ["model", "request_id", "row"]
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=keys, set_=newer, where=_answered.c.time <= statement.excluded.time
                    ),
                    values,
                )
                bound: dict[str, Any] = {name: sa.bindparam(f"of_{name}") for name in keys}
                waiting = sa.or_(*(_label.c.standing == each.value for each in (Standing.WAITING, Standing.UNKNOWN)))
                found = sa.update(_label).where(waiting, *(_label.c[name] == of for name, of in bound.items()))
                connection.execute(
                    found.values(standing=Standing.KNOWN.value),
                    [{f"of_{name}": value[name] for name in bound} for value in values],
                )

    def joinable(self, model: str, *, most: int) -> dict[int, list[Joined]]:
        """Labels whose answers are known, by release's number, in the order in which they came; at most `most`."""
        if not self.path.exists():
            return {}
        keys = ("model", "request_id", "row")
        match = sa.and_(*(_label.c[name] == _answered.c[name] for name in keys))
        chosen = (
            sa.select(_label, _answered.c.number, _answered.c.batch, _answered.c.predicted)
            .join(_answered, match)
            .where(_label.c.standing == Standing.KNOWN.value, _label.c.model == model)
            .order_by(_label.c.sequence)
            .limit(most)
        )
        found: dict[int, list[Joined]] = {}
        with self._reading() as connection:
            for row in connection.execute(chosen).all():
                earlier = [one for one in _of(connection, model, row) if one.sequence < row.sequence]
                joined = Joined(
                    **{name: getattr(row, name) for name in Joined.__slots__ if name not in ("before", "holds")},
                    before=earlier[-1].value if earlier else None,
                    holds=not earlier or earlier[-1].time <= row.time,
                )
                found.setdefault(row.number, []).append(joined)
        return found

    def sealed(self, sequences: Collection[int]) -> None:
        """Say that these labels are sealed. Said again, it changes nothing."""
        if sequences:
            with self._writing() as connection:
                for chunk in _chunks(sorted(sequences)):
                    of_chunk = sa.update(_label).where(_label.c.sequence.in_(chunk))
                    connection.execute(of_chunk.values(standing=Standing.SEALED.value))

    def expire(self, *, now: float | None = None, unknown_after_s: float = UNKNOWN_AFTER_S) -> int:
        """Give up on labels that waited too long, and remove what is kept no longer; how many are now unknown."""
        if not self.path.exists():
            return 0
        now = time.time() if now is None else now
        with self._writing() as connection:
            late = sa.and_(_label.c.standing == Standing.WAITING.value, _label.c.arrived < now - unknown_after_s)
            models = sa.select(_label.c.model, sa.func.count().label("labels")).where(late).group_by(_label.c.model)
            gone = {row.model: row.labels for row in connection.execute(models)}
            if gone:
                connection.execute(sa.update(_label).where(late).values(standing=Standing.UNKNOWN.value))
            for model, labels in gone.items():
                _count(connection, model, unknown=labels)
            before = now - DAYS_KEPT * _DAY_S
            over = _label.c.standing.in_((Standing.SEALED.value, Standing.UNKNOWN.value))
            connection.execute(sa.delete(_label).where(_label.c.arrived < before, over))
            connection.execute(sa.delete(_answered).where(_answered.c.time < before))
        return sum(gone.values())

    # -- the file -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with _translated(self.path), self._engine.connect() as connection:
            # A plain BEGIN would take the lock only after what is built on was read.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                if not self._made:
                    _tables.create_all(connection)
                yield connection
            except BaseException:
                connection.exec_driver_sql("ROLLBACK")
                raise
            connection.exec_driver_sql("COMMIT")
            self._made = True

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        if not self._made:
            with self._writing():
                pass
        with _translated(self.path), self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.exec_driver_sql("ROLLBACK")


def _of(connection: sa.Connection, model: str, label: Any) -> list[Any]:
    """Everything that is known of a label's row, the label that holds last."""
    same = sa.and_(_label.c.model == model, _label.c.request_id == label.request_id, _label.c.row == label.row)
    return list(connection.execute(sa.select(_label).where(same).order_by(_label.c.time, _label.c.sequence)))


def _is_answered(connection: sa.Connection, model: str, label: Label) -> bool:
    keys = {"model": model, "request_id": label.request_id, "row": label.row}
    same = sa.and_(*(_answered.c[name] == value for name, value in keys.items()))
    return connection.execute(sa.select(_answered.c.batch).where(same)).first() is not None


def _has(known: Iterable[Any], label: Label) -> bool:
    return any((one.value, one.time) == (label.value, label.time) for one in known)


def _count(connection: sa.Connection, model: str, **outcomes: int) -> None:
    for outcome, labels in outcomes.items():
        if labels:
            statement = insert(_counted).values(model=model, outcome=outcome, labels=labels)
            total = {"labels": _counted.c.labels + statement.excluded.labels}
            connection.execute(statement.on_conflict_do_update(index_elements=["model", "outcome"], set_=total))


def _chunks(values: Sequence[int], size: int = 500) -> Iterator[Sequence[int]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _engine(path: Path) -> sa.Engine:
    wait: Mapping[str, Any] = {"timeout": _BUSY_S, "isolation_level": None, "check_same_thread": False}
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.QueuePool, max_overflow=-1, connect_args=dict(wait))

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        _write_ahead(connection)
        for setting in ("synchronous=FULL", "secure_delete=ON"):
            connection.execute(f"PRAGMA {setting}").close()

    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Whoever opens a new file first turns it; SQLite does not wait for that as it waits for other locks."""
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Errors of the database, said for those who must act."""
    try:
        yield
    except OperationalError as error:
        raise UnavailableError(
            f"{path}: {error.orig}; check the disk and the file's permissions, then repeat"
        ) from error
    except DatabaseError as error:
        raise IntegrityError(f"{path}: {error.orig}; move the file away, and keep it: a new one is made") from error
