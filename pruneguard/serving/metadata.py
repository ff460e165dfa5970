"""What the gateway says about itself and its models: the protocol's documents, made from the table."""

import json
from collections.abc import Iterable
from typing import Any

from pruneguard import __version__
from pruneguard.serving.protocol import RequestError
from pruneguard.serving.routing import describe
from pruneguard.serving.table import Served, Version


def server() -> dict[str, Any]:
    return {
        "name": "pruneguard",
        "version": __version__,
        "extensions": ["binary_tensor_data", "model_repository(index)"],
    }


def model(served: Served, version: Version) -> dict[str, Any]:
    return {
        "name": served.model,
        "versions": [str(number) for number in sorted(served.versions)],
        "platform": "onnxruntime_onnx",
        "inputs": [version.input.to_document()],
        "outputs": [version.output.to_document()],
        "properties": {
            "version": str(version.number),
            "standing": describe(served.route)[version.number],
            "digest": version.digest,
        },
    }


def index(models: Iterable[Served], *, ready_only: bool) -> list[dict[str, str]]:
    """Every version that the ledger wants served, and why the ones that are not ready are not."""
    rows: list[dict[str, str]] = []
    for served in models:
        rows += [_row(served.model, number, "READY", "") for number in served.versions]
        if not ready_only:
            rows += [_row(served.model, number, "UNAVAILABLE", why) for number, why in served.failures.items()]
    return rows


def ready_only(body: bytes) -> bool:
    """Whether an index request wants ready versions only. Raises RequestError when it is malformed."""
    if not body:
        return False
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the request is not JSON: {error}; send nothing, or an object") from error
    ready = asked.get("ready", False) if isinstance(asked, dict) else None
    if not isinstance(ready, bool):
        raise RequestError("the request must be an object, and its `ready` true or false")
    return ready


def _row(name: str, number: int, state: str, reason: str) -> dict[str, str]:
    return {"name": name, "version": str(number), "state": state, "reason": reason}
