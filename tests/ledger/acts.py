"""Events that the ledger of the story takes at any time."""

from pruneguard import canonical
from pruneguard.ledger.events import Event

DIGEST = "sha256:" + 64 * "0"
TWIN = canonical.digest(b"ONNX of the twin")  # what the story's release 1 is


def sealed(rows: int, *, causation: str | None = None, model: str = "digits") -> Event:
    data = {"model": model, "number": 1, "rows": rows}
    return Event("batch.sealed", "monitor", data, {"model": TWIN, "batch": DIGEST}, causation)


def drifted(*, causation: str | None = None) -> Event:
    data = {"model": "digits", "number": 1, "drifted": 0}
    return Event("drift.reported", "monitor", data, {"model": TWIN, "report": DIGEST}, causation)
