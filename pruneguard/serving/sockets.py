"""Descriptors that outlive a program: handed to this process by systemd, or by the program that it was before.

Both speak systemd's socket activation: LISTEN_FDS descriptors from 3 on, named by LISTEN_FDNAMES, for LISTEN_PID.
"""

import fcntl
import os
import sys
from collections.abc import Mapping
from typing import NoReturn

_FIRST = 3
_ABOVE = 1000  # where nothing lies yet


def inherited(environ: Mapping[str, str] = os.environ) -> dict[str, int]:
    """The descriptors that were handed to this process, by name. Empty where none were.

    >>> inherited({"LISTEN_PID": "1", "LISTEN_FDS": "1"})
    {}
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return {}  # they are for somebody else
    count = int(environ.get("LISTEN_FDS", "0"))
    names = environ.get("LISTEN_FDNAMES", "").split(":") if environ.get("LISTEN_FDNAMES") else []
    found = {}
    for i in range(count):
        os.set_inheritable(_FIRST + i, False)  # a child gets what it is given
        found[names[i] if i < len(names) else f"unknown-{i}"] = _FIRST + i
    return found


def become(arguments: list[str], handed: Mapping[str, int], environ: Mapping[str, str] = os.environ) -> NoReturn:
    """Replace this program by `arguments`, in the same process, with these descriptors in its hands."""
    sys.stdout.flush()
    sys.stderr.flush()
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _ABOVE) for descriptor in handed.values()]
    for place, descriptor in enumerate(high, start=_FIRST):
        os.dup2(descriptor, place, inheritable=True)
        os.close(descriptor)
    told = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(high)), "LISTEN_FDNAMES": ":".join(handed)}
    os.execve(arguments[0], arguments, {**environ, **told})  # noqa: S606  # this very program
