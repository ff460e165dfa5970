"""What the gateway tells whoever watches it. The gateway knows this shape and no monitor."""

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pruneguard.workload import Floats

log = logging.getLogger(__name__)


class Reason(StrEnum):
    """Why something was refused: a closed set, so that it can be a metric's label."""

    INVALID = "invalid request"
    TOO_LARGE = "too large"
    NOT_SERVED = "not served"
    BUSY = "busy"
    LOAD_FAILED = "load failed"  # a version the ledger asks for cannot be loaded; what answered before still does
    NOT_ADMITTED = "not admitted"  # a version the ledger asks for does not rest on what it must
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

    def failed(self, model: str, version: int) -> None:
        """A version took a request and could not answer it: its network raised, or its logits were not finite."""
        ...

    def lost(self, answers: int) -> None:
        """So many answers were given that nobody could be told of."""
        ...

    def metrics(self) -> tuple[bytes, str]:
        """The body of GET /metrics and its content type. May take milliseconds: not for the event loop."""
        ...


class Guarded:
    """An observer that cannot fail a request or a release: what it raises is counted and logged."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.failures = 0

    def answered(self, answer: Answer) -> None:
        try:
            self._observer.answered(answer)
        except Exception:  # no request fails because of a monitor
            self.failures += 1
            log.exception("the observer failed on an answer")

    def refused(self, model: str, reason: str) -> None:
        try:
            self._observer.refused(model, reason)
        except Exception:  # no request and no release fails because of a monitor
            self.failures += 1
            log.exception("the observer failed on a refusal")

    def failed(self, model: str, version: int) -> None:
        try:
            self._observer.failed(model, version)
        except Exception:  # no request fails because of a monitor
            self.failures += 1
            log.exception("the observer failed on a failure")

    def metrics(self) -> tuple[bytes, str]:
        return self._observer.metrics()
