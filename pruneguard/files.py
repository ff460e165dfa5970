"""Files that appear whole or not at all, and never over another file; files that one process holds."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pruneguard.errors import InvalidInputError, UnavailableError


@contextmanager
def appearing(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """A path beside `path` to write to; what lies there at the end gets the name `path`, durably.

    Without `replace`, raises InvalidInputError when something has that name already.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        yield partial
        _sync(partial)
        if replace:
            partial.replace(path)
        else:
            os.link(partial, path)  # unlike a rename, a link never takes another file's place
        _sync(path.parent)
    except FileExistsError as error:
        raise InvalidInputError(f"{path} exists already and is never overwritten; choose another path") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def held(path: Path, *, what: str) -> Iterator[None]:
    """Be the only process that holds `path`, until the end or until it is killed.

    Raises UnavailableError, naming `what`, when another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UnavailableError(
                f"{what} already (it holds {path}); stop that one, or use another PRUNEGUARD_HOME"
            ) from error
        yield


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process or thread holds the lock file `path`, and hold it until the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
