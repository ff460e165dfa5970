"""The flow engine's server for as long as one command runs, where none is running already.

Prefect would start one by itself, and leave it behind when the command is killed.
"""

import argparse
import atexit
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.child import Child
from pruneguard import files

STARTING_S = 120


@contextmanager
def engine() -> Iterator[None]:
    """Flows that run inside have a server: the one PREFECT_API_URL names, else one that ends with this process."""
    if PREFECT_API_URL.value():
        yield
        return
    child = Child("flows.engine", environ={})
    with files.alone(Path(os.environ["PREFECT_HOME"]) / "starting.lock"):
        child.start()
        httpx.get(f"{child.url}/health", timeout=STARTING_S)  # two servers that make one new database would break it
    atexit.register(child.stop)  # not earlier: the engine hands in its last events as the interpreter ends
    with temporary_settings({PREFECT_API_URL: child.url}):
        yield


def main() -> None:
    """`python -m flows.engine`: serve on a free port; its first line of output is the address."""
    parser = argparse.ArgumentParser(prog="python -m flows.engine", description=__doc__)
    parser.add_argument("--until-eof", action="store_true", help="also stop when standard input ends")
    given = parser.parse_args()
    bound = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(f"http://127.0.0.1:{bound.getsockname()[1]}/api", flush=True)  # who asks now waits until the app is up

    from prefect.server.api.server import create_app  # takes seconds, and who started us need not wait for it

    server = uvicorn.Server(uvicorn.Config(create_app(ephemeral=True, final=True), log_level="error"))
    if given.until_eof:
        threading.Thread(target=_stop_at_eof, args=(server,), daemon=True).start()
    server.run(sockets=[bound])


def _stop_at_eof(server: uvicorn.Server) -> None:
    sys.stdin.read()
    server.should_exit = True


if __name__ == "__main__":
    main()
