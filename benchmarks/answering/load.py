"""Load from `wrk`: as many connections as asked for, each sending the same request again as soon as it is answered."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.peer import Unable

DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"requests": %d, "microseconds": %d, "failed": %d, "p50": %d, "p99": %d}\\n',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request: where to, what with."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """`rate` in requests a second, percentiles in milliseconds; `failed` counts bad statuses and broken connections."""

    rate: float
    p50: float
    p99: float
    requests: int
    failed: int


class Load:
    """Started at once; `wait` returns what came of it."""

    def __init__(self, url: str, ask: Ask, *, connections: int, seconds: float) -> None:
        if shutil.which("wrk") is None:
            raise Unable("there is no `wrk`, which sends the load; apt-get install wrk")
        self._folder = tempfile.TemporaryDirectory(prefix="pruneguard-wrk-")
        script = Path(self._folder.name) / "ask.lua"
        script.write_text(_script(ask))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", "-s", str(script)]
        self._running = subprocess.Popen([*command, url + ask.path], stdout=subprocess.PIPE, text=True)

    def wait(self) -> Answered:
        with self._folder:
            said, _ = self._running.communicate()
        if self._running.returncode != 0:
            raise Unable(f"wrk ended with {self._running.returncode}: {said.strip()[-200:]}")
        told = json.loads(said.strip().splitlines()[-1])
        rate = 1e6 * told["requests"] / told["microseconds"]
        return Answered(rate, told["p50"] / 1000, told["p99"] / 1000, told["requests"], told["failed"])


def load(url: str, ask: Ask, *, connections: int, seconds: float) -> Answered:
    return Load(url, ask, connections=connections, seconds=seconds).wait()


def _script(ask: Ask) -> str:
    headers = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in ask.headers.items())
    body = "".join(f"\\{byte:03d}" for byte in ask.body)
    return f'wrk.method = "POST"\n{headers}wrk.body = "{body}"\n{DONE}'
