"""The servers that are compared. Each runs in an environment of its own, told what its documentation says is fast.

Of one worker and of two the faster is taken, for each network and encoding. None of the others reads the binary tensors
of the protocol over REST: their binary request is the row in base64 inside JSON, which is what their guides show.
"""

import base64
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.answering.load import Ask
from benchmarks.answering.networks import Network
from benchmarks.peers import environments
from benchmarks.peers.peer import Unable
from pruneguard.workload import Floats

ONNXRUNTIME = "onnxruntime==1.23.2"
START_SECONDS_MAX = 90.0
JSON = {"Content-Type": "application/json"}

Encoding = str
ENCODINGS: tuple[Encoding, ...] = ("json", "binary")


@dataclass(frozen=True, slots=True)
class Contestant:
    """`command` takes the interpreter, a folder to write in, the port and the workers; `ask` encodes a row."""

    name: str
    packages: Sequence[str]
    command: Callable[[Path, Path, int, int], Sequence[str]]
    ask: Callable[[Floats, Encoding], Ask]
    logits: Callable[[Any], Any]

    @contextmanager
    def serving(self, network: Network, *, workers: int) -> Iterator[str]:
        """The address of a server that gives right answers. Raises Unable where it cannot be made to."""
        interpreter = environments.python(self.name.lower(), (*self.packages, ONNXRUNTIME))
        with tempfile.TemporaryDirectory(prefix="pruneguard-peer-") as name:
            folder, port = Path(name), free_port()
            (folder / "model.onnx").write_bytes(network.pruned)
            shape = ",".join(str(size) for size in network.row.shape[1:])
            known = {"ONNX": str(folder / "model.onnx"), "SHAPE": shape, "WORKERS": str(workers)}
            known |= {"PYTHONPATH": str(environments.ROOT), "OMP_NUM_THREADS": "1"}
            known |= {"DO_NOT_TRACK": "1", "BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(folder / "bentoml")}
            command = self.command(interpreter, folder, port, workers)
            with (folder / "log").open("w") as log, ended(_start(command, folder, known, log)) as running:
                url = f"http://127.0.0.1:{port}"
                self._await(url, network, running, folder / "log")
                yield url

    def _await(self, url: str, network: Network, running: "subprocess.Popen[str]", log: Path) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while (why := self._wrong(url, network)) is not None:
            if running.poll() is not None or time.monotonic() > deadline:
                last = [line for line in log.read_text().splitlines() if line.strip()][-1:]
                raise Unable(f"{self.name} did not start: {why}; {' '.join(last)[:300]}")
            time.sleep(0.2)

    def _wrong(self, url: str, network: Network) -> str | None:
        """Why it does not answer yet; None where it does, and right."""
        try:
            for encoding in ENCODINGS:
                require_right(url, self.ask(network.row, encoding), self.logits, network)
        except httpx.TransportError as error:
            return str(error)
        return None


def require_right(url: str, ask: Ask, logits: Callable[[Any], Any], network: Network) -> None:
    """Raises Unable for an answer that is not the network's; httpx.TransportError where nobody answers yet."""
    answer = httpx.post(url + ask.path, headers=dict(ask.headers), content=ask.body)
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or "not " in answer.text[:100]:  # loading still
        raise httpx.ConnectError(answer.text[:200])
    if answer.status_code != httpx.codes.OK:
        raise Unable(f"{ask.path} answered {answer.status_code}: {answer.text[:200]}")
    found = np.asarray(logits(answer.json()), np.float32).reshape(network.expected.shape)
    if not np.allclose(found, network.expected, atol=1e-4):
        raise Unable(f"{ask.path} answered {found.tolist()}; expected {network.expected.tolist()}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def ended(running: "subprocess.Popen[str]") -> "Iterator[subprocess.Popen[str]]":
    """The process, and its group with it, ends with the block."""
    try:
        yield running
    finally:
        for signal in (15, 9):
            try:
                os.killpg(running.pid, signal)
                running.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def _start(command: Sequence[str], folder: Path, environment: dict[str, str], log: Any) -> "subprocess.Popen[str]":
    seen = os.environ | environment
    seen["PATH"] = f"{Path(command[0]).parent}:{seen['PATH']}"
    return subprocess.Popen(
        command, cwd=folder, env=seen, stdout=log, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


# -- MLServer: parallel_workers 0 keeps inference in the server's own process, which its documentation advises for light
# models; with more, requests go through queues to processes.


def _mlserver(interpreter: Path, folder: Path, port: int, workers: int) -> Sequence[str]:
    settings = {"debug": False, "host": "127.0.0.1", "http_port": port, "grpc_port": free_port()}
    settings |= {"metrics_port": free_port(), "parallel_workers": 0 if workers == 1 else workers}
    settings |= {"metrics_endpoint": None, "use_structured_logging": False}
    model = {"name": "model", "implementation": "benchmarks.answering.mlserver_child.Answers"}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    return [str(interpreter.parent / "mlserver"), "start", str(folder)]


def _mlserver_ask(row: Floats, encoding: Encoding) -> Ask:
    if encoding == "json":
        tensor = {"name": "input", "datatype": "FP32", "shape": list(row.shape), "data": row.ravel().tolist()}
    else:
        tensor = {"name": "input", "datatype": "BYTES", "shape": [1], "data": [_packed(row)]}
    return Ask("/v2/models/model/infer", JSON, json.dumps({"inputs": [tensor]}).encode())


def _litserve(interpreter: Path, folder: Path, port: int, workers: int) -> Sequence[str]:
    return [str(interpreter), "-m", "benchmarks.answering.litserve_child", str(port), str(workers)]


def _litserve_ask(row: Floats, encoding: Encoding) -> Ask:
    body = {"rows": row.ravel().tolist()} if encoding == "json" else {"base64": _packed(row)}
    return Ask("/predict", JSON, json.dumps(body).encode())


def _bentoml(interpreter: Path, folder: Path, port: int, workers: int) -> Sequence[str]:
    service = "benchmarks.answering.bentoml_child:Answers"
    options = ["--host", "127.0.0.1", "--port", str(port), "--working-dir", str(environments.ROOT)]
    return [str(interpreter.parent / "bentoml"), "serve", service, *options]


def _bentoml_ask(row: Floats, encoding: Encoding) -> Ask:
    if encoding == "json":
        return Ask("/infer", JSON, json.dumps({"rows": [row.ravel().tolist()]}).encode())
    return Ask("/packed", JSON, json.dumps({"rows": _packed(row)}).encode())


def _packed(row: Floats) -> str:
    return base64.b64encode(row.tobytes()).decode()


PEERS = (
    Contestant("MLServer", ("mlserver==1.7.1",), _mlserver, _mlserver_ask, lambda said: said["outputs"][0]["data"]),
    Contestant("LitServe", ("litserve==0.2.19",), _litserve, _litserve_ask, lambda said: said["logits"]),
    Contestant("BentoML", ("bentoml==1.4.39",), _bentoml, _bentoml_ask, lambda said: said),
)
