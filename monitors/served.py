"""What released versions answered in traffic, out of their sealed windows: for whoever trains the next one."""

import io
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from monitors.observations import named
from pruneguard.artifacts import Artifacts
from pruneguard.errors import UnavailableError
from pruneguard.evaluation.fairness.feedback import Served
from pruneguard.evaluation.sessions import Session, predictions
from pruneguard.ledger.state import Model
from pruneguard.reporting import listener
from pruneguard.workload import Floats, Integers


def served(model: Model, artifacts: Artifacts, *, key: bytes) -> list[Served]:
    """What each version said of each row, the last word where it said two, as far as windows are remembered and kept.

    `key` is what rows were named with. Windows that retention has dropped are told to the listener.
    """
    said: dict[int, dict[str, int]] = {}
    gone = 0
    for batch in model.batches:
        try:
            window = artifacts.get(batch["refs"]["batch"])
        except UnavailableError:
            gone += 1
            continue
        said.setdefault(batch["number"], {}).update(answers(window))
    if gone:
        listener.get().say(f"{gone} of {len(model.batches)} windows of answers are kept no more, and tell of no copies")
    by_key = partial(named, key=key)
    return [
        Served(number, rows, by_key, partial(_asked, model.releases[number].digest, artifacts))
        for number, rows in sorted(said.items())
    ]


def answers(window: bytes) -> dict[str, int]:
    """The class that was said of each row, by the row's name; nothing of rows without an answer, or of a regression."""
    table = pq.read_table(io.BytesIO(window), columns=["input", "predicted"])
    if not pa.types.is_integer(table.schema.field("predicted").type):
        return {}
    pairs = zip(table.column("input").to_pylist(), table.column("predicted").to_pylist(), strict=True)
    return {row: predicted for row, predicted in pairs if predicted >= 0}


def _asked(digest: str, artifacts: Artifacts, x: Floats) -> Integers:
    return predictions(Session(artifacts.get(digest)).logits(x))
