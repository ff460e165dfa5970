"""Our gateway in a process of its own: `python -m benchmarks.answering.ours HOME NETWORK monitored|bare`.

Writes its address on standard output, then a line for each line that it reads: `swap` brings the next release before
everybody, `rollback` the one before back; the answer is the time at which the ledger had it.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.answering.house import House
from benchmarks.answering.networks import networks
from flows.answering import Alone
from flows.service import Service
from pruneguard.serving import configured
from pruneguard.serving.observing import Answer
from pruneguard.settings import Settings

ROOT = Path(__file__).parents[2]


class Silent:
    """An observer that does nothing: no metrics, no log, no twin."""

    def answered(self, answer: Answer) -> None: ...

    def failed(self, model: str, version: int) -> None: ...

    def refused(self, model: str, reason: str) -> None: ...

    def lost(self, answers: int) -> None: ...

    def metrics(self) -> tuple[bytes, str]:
        return b"", "text/plain"


@dataclass(slots=True)
class Running:
    """The child, seen from outside."""

    url: str
    process: "subprocess.Popen[str]"

    def ask(self, what: str) -> float:
        """Let the ledger record it; when it had, in seconds since 1970."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return float(json.loads(self.process.stdout.readline())["recorded"])


@contextmanager
def serving(folder: Path, *, network: str, monitored: bool) -> Iterator[Running]:
    command = [sys.executable, "-m", "benchmarks.answering.ours", str(folder), network]
    command.append("monitored" if monitored else "bare")
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Running(json.loads(process.stdout.readline())["url"], process)
    finally:
        process.stdin.close()  # which ends it
        process.wait(60)


def main(arguments: Sequence[str]) -> None:
    folder, name, how = arguments
    settings = Settings(home=Path(folder), gateway_port=0)
    house = House(settings, next(each for each in networks() if each.name == name))
    with ExitStack() as running:
        if how == "monitored":
            service = Service(settings, dashboard=False, workers=configured.workers(settings))
            url = running.enter_context(service).url
        else:
            url = running.enter_context(Alone(settings, Silent(), ())).url  # type: ignore[arg-type]
        print(json.dumps({"url": url}), flush=True)
        for turn, line in enumerate(sys.stdin):
            if line.strip() == "swap":
                house.release(house.digests[turn % 2])
            else:
                house.roll_back()
            print(json.dumps({"recorded": time.time()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
