"""Replays labelled rows against a gateway over HTTP, as clients would, and remembers what came back."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import numpy as np

from pruneguard.workload import Split

CLIENTS = 2
BATCH = 20


@dataclass(frozen=True, slots=True)
class Reply:
    """One request's fate. `version` is None where it failed; `right` is known here only because we hold the labels."""

    time: float
    version: int | None
    right: bool


@dataclass(slots=True)
class Traffic:
    """A stream of single-row requests drawn from `rows` with replacement, the same for the same seed."""

    url: str
    model: str
    rows: Split
    seed: int
    replies: list[Reply] = field(default_factory=list)
    _sent: int = 0

    def until(self, done: Callable[[], bool], *, requests_max: int, progress: Callable[[int, int], None]) -> bool:
        """Send until `done` or the limit; say whether it was `done`."""
        start = self._sent
        generator = np.random.default_rng((self.seed, start))
        with httpx.Client(base_url=self.url, timeout=30) as client, ThreadPoolExecutor(CLIENTS) as pool:
            while not (reached := done()) and self._sent - start < requests_max:
                picks = generator.integers(len(self.rows), size=BATCH)
                self.replies += pool.map(lambda row: self._ask(client, int(row)), picks)
                self._sent += BATCH
                progress(self._sent - start, requests_max)
        progress(requests_max, requests_max)
        return reached

    def _ask(self, client: httpx.Client, row: int) -> Reply:
        x = self.rows.x[row : row + 1]
        tensor = {"name": "input", "datatype": "FP32", "shape": list(x.shape), "data": x.ravel().tolist()}
        try:
            response = client.post(f"/v2/models/{self.model}/infer", json={"inputs": [tensor]})
            response.raise_for_status()
        except httpx.HTTPError:
            return Reply(time.time(), None, right=False)
        body = response.json()
        answer = int(np.argmax(body["outputs"][0]["data"]))
        return Reply(time.time(), int(body["model_version"]), right=answer == self.rows.y[row])

    @property
    def failed(self) -> int:
        return sum(reply.version is None for reply in self.replies)

    def versions(self, *, since: int = 0) -> Counter[int | None]:
        """How many of the replies from the `since`th on came from which version."""
        return Counter(reply.version for reply in self.replies[since:])

    def accuracy(self, version: int, *, since: int = 0, until: int | None = None) -> float:
        """Share of right answers of a version, in percent; what nobody in production knows before labels come."""
        right = [reply.right for reply in self.replies[since:until] if reply.version == version]
        return 100 * float(np.mean(right)) if right else float("nan")
