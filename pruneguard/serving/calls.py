"""What a request is for, by its path."""

from dataclasses import dataclass
from functools import lru_cache

from pruneguard.ledger.state import Act

OPERATIONS = "/operations"
"""Below this path lies what changes a release: it always takes a token. `/operations/models/MODEL/...` is about one
model; where the body names it, the handler asks `Identity.require`."""

_HEALTH = frozenset({"/v2/health/live", "/v2/health/ready"})  # probes have no token, and learn nothing
_PATH_CHARACTERS_MAX = 256  # a longer one is not remembered: clients choose paths


@dataclass(frozen=True, slots=True)
class Call:
    """What a request is for, by its path: an act, and the model that the path names, if it names one."""

    act: Act
    model: str | None


def call_of(path: str) -> Call | None:
    """What a request to this path is for; None for a health probe. What is not known here is for who may infer.

    >>> call_of("/v2/models/digits/versions/2/infer")
    Call(act=<Act.INFER: 'infer'>, model='digits')
    """
    if path in _HEALTH:
        return None
    if path == "/metrics":
        return Call(Act.METRICS, None)
    parts = path.split("/")
    if parts[:2] == OPERATIONS.split("/"):
        return Call(Act.OPERATE, _model(parts))
    model = _model(parts) if parts[1:2] == ["v2"] else None
    return Call(Act.LABELS if parts[-1] == "labels" else Act.INFER, model)


_remembered = lru_cache(maxsize=1024)(call_of)


def quick_call_of(path: str) -> Call | None:
    """As `call_of`; what was asked lately is remembered."""
    return _remembered(path) if len(path) <= _PATH_CHARACTERS_MAX else call_of(path)


def _model(parts: list[str]) -> str | None:
    return parts[3] if parts[2:3] == ["models"] and len(parts) > 3 else None
