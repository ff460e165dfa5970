"""How many rows of each release came here, and which segments are on their way: what a killed monitor still knows.

One small file a release, written without waiting for the disk: it outlives the process, whatever kills it, and not a
machine that loses its power. What came and is neither sealed nor counted as dropped was lost with the process.
"""

import os
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from monitors.exposition import Key

_COUNT = struct.Struct("<Q")
_SUFFIX = ".tally"


class Tally:
    """Files in `folder`; without one, nothing is remembered. Where one cannot be written, `failures` counts it.

    They are read at the first call, when whoever wrote them before has ended. Safe in several threads.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._files: dict[Key, int] = {}
        self._came: dict[Key, int] = {}
        self._before: dict[Key, int] | None = None
        """What had come before the start; None until it is read."""
        self._asked: set[Key] = set()
        self._lock = threading.Lock()
        self.failures = 0

    def came(self, release: Key, rows: int) -> None:
        """Count rows before anything else happens to them: on the answer's path, some microseconds."""
        with self._lock:
            self._began()
            self._write(release, self._came.get(release, 0) + rows)

    def lost(self, release: Key, *, accounted: int) -> int:
        """Rows that came to a process before this one and were lost with it, told once. `accounted` are those that the
        ledger knows of, as sealed or dropped; where it knows of more, the count goes on from there.
        """
        with self._lock:
            before = self._began().get(release, 0)
            if release in self._asked:
                return 0
            self._asked.add(release)
            if before < accounted:  # the file was lost, or is of an older backup
                self._write(release, accounted + self._came.get(release, 0) - before)
            return max(0, before - accounted)

    def pending(self, release: Key, digests: Iterable[str]) -> None:
        """Name the segments that are about to be stored, before they are: nobody else will if the process ends."""
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._pending(release).write_text("\n".join(sorted(digests)))

    def left(self, release: Key) -> list[str]:
        """The segments that were named last."""
        if self._folder is None or not self._pending(release).exists():
            return []
        return self._pending(release).read_text().split()

    def close(self) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def _began(self) -> Mapping[Key, int]:
        if self._before is None:
            self._before = dict(_counts(self._folder)) if self._folder is not None else {}
            self._came |= self._before
        return self._before

    def _write(self, release: Key, count: int) -> None:
        self._came[release] = count
        if self._folder is None:
            return
        try:
            if (descriptor := self._files.get(release)) is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                path = self._folder / f"{release[0]}.{release[1]}{_SUFFIX}"
                descriptor = self._files[release] = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            os.pwrite(descriptor, _COUNT.pack(count), 0)
        except OSError:  # a full disk: what is lost with the process will be counted too low, and that is counted
            self.failures += 1

    def _pending(self, release: Key) -> Path:
        assert self._folder is not None
        return self._folder / f"{release[0]}.{release[1]}.pending"


def _counts(folder: Path) -> Iterator[tuple[Key, int]]:
    for path in folder.glob(f"*{_SUFFIX}"):
        model, _, number = path.name.removesuffix(_SUFFIX).rpartition(".")
        if model and number.isdecimal():
            yield (model, int(number)), _read(path)


def _read(path: Path) -> int:
    content = path.read_bytes()
    return int(_COUNT.unpack(content)[0]) if len(content) == _COUNT.size else 0
