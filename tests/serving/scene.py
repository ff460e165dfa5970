"""A ledger with people, a model and releases whose answers say which release made them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from pruneguard import canonical, releases
from pruneguard.artifacts import Artifacts
from pruneguard.ledger.events import Event
from pruneguard.ledger.ledger import Ledger
from pruneguard.policy import Canary, Policy, Step
from pruneguard.serving.gateway import Gateway
from pruneguard.serving.observing import Answer
from pruneguard.testing import lead, memory_ledger, people, register
from pruneguard.verdict import Finding, Outcome, Verdict

FEATURES = 4
JSON_ROW = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, FEATURES], "data": [1, 2, 3, 4]}]}


def network(mark: float, *, features: int = FEATURES) -> bytes:
    """ONNX bytes of a linear classifier with three classes: logits are `mark`, the row's sum, and minus that."""
    weights = np.zeros((features, 3), np.float32)
    weights[:, 1], weights[:, 2] = 1, -1
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["input", "w", "b"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", features])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([mark, 0, 0], np.float32), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    content: bytes = model.SerializeToString()
    return content


class Recorder:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.refusals: list[tuple[str, str]] = []
        self.failures: list[tuple[str, int]] = []
        self.missed = 0

    def answered(self, answer: Answer) -> None:
        self.answers.append(answer)

    def refused(self, model: str, reason: str) -> None:
        self.refusals.append((model, reason))

    def failed(self, model: str, version: int) -> None:
        self.failures.append((model, version))

    def lost(self, answers: int) -> None:
        self.missed += answers

    def metrics(self) -> tuple[bytes, str]:
        return f"answers_total {len(self.answers)}\n".encode(), "text/plain; version=0.0.4"


POLICY = Policy("lenient", 1, "a test", (), canary=Canary(tuple(Step(share, 1) for share in (0.1, 0.2, 0.25, 0.5))))
ROWS = canonical.digest(b"rows")


class Scene:
    """The ledger, the store and the releases of one model, "digits" unless it is named."""

    def __init__(self, folder: Path, *, model: str = "digits", ledger: Ledger | None = None) -> None:
        self.model = model
        self.artifacts = Artifacts(str(folder / "artifacts"))
        self.ledger = ledger or memory_ledger()
        if not self.ledger.state().people:
            register(self.ledger)
            self._record("policy.adopted", "grace", {"policy": POLICY.digest}, signed=True, **POLICY.terms)
        self.artifacts.put(POLICY.encode())
        run = {"run": f"{model}-1", "model": model}
        self._record("run.started", "ada", {"manifest": ROWS}, signed=True, **run)
        self._record("data.admitted", "ada", {"data": ROWS, "evidence": ROWS}, **run)

    def release(self, *, mark: float | None = None, share: float = 1.0, stored: bool = True) -> int:
        """Release a network that marks its answers with the release's number (or `mark`), and give it traffic."""
        known = self.ledger.state().models.get(self.model)
        number = len(known.releases) + 1 if known else 1
        content = network(number if mark is None else mark)
        digest = self.artifacts.put(content)
        if not stored:
            path = self.artifacts.local_path(digest)
            assert path is not None
            path.unlink()
        refs = {"model": digest, "parent": digest, "data": ROWS, "policy": POLICY.digest}
        passed = Finding("any", "at_most", Outcome.PASSED, f"{number}", "<= 1000", "", "")
        verdict = Verdict(POLICY.digest, digest, digest, ROWS, (), (passed,))
        refs["verdict"] = self.artifacts.put(verdict.encode())
        run = {"run": f"{self.model}-1", "model": self.model}
        self._record("model.trained", "ada", {"model": digest, "data": ROWS}, **run)
        self._record("verdict.given", "ada", {**refs, "evidence": []}, **run, split="release", **verdict.outline)
        about = {"model": self.model, "number": number}
        refs = {"model": digest, "verdict": refs["verdict"]}
        self._record("release.proposed", "ada", refs, signed=True, **about)
        self._record("release.approved", "grace", {"model": digest}, signed=True, **about, reason="good")
        self.shift(number, share)
        return number

    def shift(self, number: int, share: float) -> None:
        lead(self.ledger, model=self.model, number=number, share=share)

    def roll_back(self) -> None:
        otto = people()["otto"]
        releases.roll_back(self.ledger, model=self.model, reason="worse", actor="otto", signer=otto)

    def path(self, number: int) -> Path:
        """Where the artefact of a release lies."""
        path = self.artifacts.local_path(self.ledger.state().models[self.model].releases[number].digest)
        assert path is not None
        return path

    def _record(self, kind: str, actor: str, refs: dict[str, Any], *, signed: bool = False, **data: Any) -> None:
        self.ledger.record(Event(kind, actor, data, refs), signer=people()[actor] if signed else None)


def gateway(scene: Scene, observer: Any = None, **limits: Any) -> Gateway:
    """A gateway that has followed the scene's ledger once."""
    made = Gateway(scene.artifacts, observer or Recorder(), **{"threads": 1, "request_bytes_max": 100_000, **limits})
    made.follow(scene.ledger.state())
    return made


def call(made: Gateway, method: str, path: str, **request: Any) -> httpx.Response:
    """One request straight into the app; a fault inside it is raised here."""

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(made.app), base_url="http://gateway") as client:
            return await client.request(method, path, **request)

    return asyncio.run(send())


def infer(made: Gateway, document: Any = None, *, version: int | None = None, **request: Any) -> httpx.Response:
    path = "/v2/models/digits/infer" if version is None else f"/v2/models/digits/versions/{version}/infer"
    if "content" not in request:
        request["json"] = JSON_ROW if document is None else document
    return call(made, "POST", path, **request)


def infer_all(made: Gateway, documents: Sequence[Any]) -> list[httpx.Response]:
    """One request after the other, in one event loop."""

    async def send() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(made.app), base_url="http://gateway") as client:
            return [await client.post("/v2/models/digits/infer", json=document) for document in documents]

    return asyncio.run(send())


def mark(response: httpx.Response) -> int:
    """The number of the release whose network made this answer; the response must name the same."""
    assert response.status_code == 200, response.text
    document = response.json()
    made_by = int(document["outputs"][0]["data"][0])
    assert document["model_version"] == str(made_by)
    return made_by


def error(response: httpx.Response, status: int) -> str:
    """The message of a refusal, which must have this status and the protocol's form."""
    assert response.status_code == status, response.text
    document = response.json()
    assert list(document) == ["error"]
    message: str = document["error"]
    return message


def row(data: Sequence[Any], **changes: Any) -> dict[str, Any]:
    """A request for one row, with changes to its input."""
    return {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, FEATURES], "data": data} | changes]}
