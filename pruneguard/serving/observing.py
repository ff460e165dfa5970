"""What the gateway tells whoever watches it. The gateway knows this shape and no monitor."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pruneguard.workload import Floats


class Reason(StrEnum):
    """Why something was refused: a closed set, so that it can be a metric's label."""

    INVALID = "invalid request"
    TOO_LARGE = "too large"
    NOT_SERVED = "not served"
    BUSY = "busy"
    LOAD_FAILED = "load failed"  # a version the ledger asks for cannot be loaded; what answered before still does
    LEDGER_UNREACHABLE = "ledger unreachable"  # the last known versions go on answering


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """One answered request.

    `version` is the release's number, `digest` names its ONNX bytes. `inputs` is float32 [n, ...], `logits` float32
    [n, classes]; both belong to the observer from now on. `seconds` run from the request read to the answer made,
    `time` is when that was, in seconds since 1970.
    """

    model: str
    version: int
    digest: str
    request_id: str
    inputs: Floats
    logits: Floats
    seconds: float
    time: float


class Observer(Protocol):
    """Called on the answer's path, from the gateway's event loop and the follower's thread: return at once."""

    def answered(self, answer: Answer) -> None: ...

    def refused(self, model: str, reason: str) -> None:
        """Something was refused. `model` is a name out of the ledger, or empty; `reason` is a `Reason`."""
        ...

    def metrics(self) -> tuple[bytes, str]:
        """The body of GET /metrics and its content type."""
        ...
