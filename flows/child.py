"""A server of ours in a process of its own, which never outlives this one."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from pruneguard.errors import UnavailableError
from pruneguard.settings import for_children

CHECKOUT = Path(__file__).parents[1]
STOP_SECONDS_MAX = 10


class Child:
    """`python -m MODULE --until-eof`; start it, or use it as a context.

    Its first line of output is its address. It ends when its standard input does, so that a parent that is killed
    leaves no orphan on a port; and Ctrl-C is the parent's to hear, who stops it when nobody needs it any more.
    """

    def __init__(self, module: str, *, environ: Mapping[str, str]) -> None:
        self._module = module
        self._environ = environ
        self.url = ""

    def start(self) -> None:
        """Return when it listens. Raises UnavailableError when it ends instead; it has said why on stderr by then."""
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-m", self._module, "--until-eof"],
            env={**for_children(), **self._environ},
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None  # asked for above
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            self.stop()
            raise UnavailableError(f"{self._module} did not start; its own message stands above")

    def stop(self) -> None:
        with self._process:  # closes its pipes
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
