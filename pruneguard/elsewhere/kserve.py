"""A KServe InferenceService (github.com/kserve/kserve, v1beta1) that runs the release in KServe's Triton runtime."""

import io
import re

from ruamel.yaml import YAML

from pruneguard.elsewhere import triton
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.state import Release, Status
from pruneguard.serving.chosen import Chosen

RUNTIME = "kserve-tritonserver"
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")  # KServe's webhook takes no other


def service(chosen: Chosen, *, storage: str, name: str = "", canary_percent: int | None = None) -> bytes:
    """The manifest, for `kubectl apply`. `storage` is the URI under which the Triton repository can be read.

    Without a `canary_percent` it is what the ledger gives the release: none for the live one, which takes all traffic.
    KServe gives that share to what is applied, and leaves the rest with what ran before. Raises InvalidInputError for
    a name that Kubernetes does not take, and for a share that is no whole percent.
    """
    release = chosen.release
    name = name or release.model
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{name!r} is no name for an InferenceService; give one of a-z 0-9 -, that begins with a letter"
        )
    percent = _percent(release) if canary_percent is None else canary_percent
    if percent is not None and not 0 <= percent <= 100:
        raise InvalidInputError(f"a canary of {percent} %; expected 0 to 100")
    predictor: dict[str, object] = {} if percent is None else {"canaryTrafficPercent": percent}
    predictor["model"] = {
        "modelFormat": {"name": "onnx", "version": "1"},
        "runtime": RUNTIME,
        "protocolVersion": "v2",
        "storageUri": storage,
    }
    document = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "annotations": {key.replace(".", "/"): v for key, v in triton.about(chosen).items()},
        },
        "spec": {"predictor": predictor},
    }
    sink = io.BytesIO()
    yaml = YAML()
    yaml.width = 4_096  # a digest stays on its line
    yaml.dump(document, sink)
    return sink.getvalue()


def _percent(release: Release) -> int | None:
    if release.status is Status.LIVE:
        return None
    percent = round(100 * release.share, 9)
    if percent != int(percent):
        raise InvalidInputError(f"the ledger gives it {percent:g} % of the traffic, KServe takes whole ones; name one")
    return int(percent)
