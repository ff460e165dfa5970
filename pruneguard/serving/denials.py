"""An account of every denied call, which no flood turns against the ledger: bounded files, and an entry a minute.

Lines say when, why, for which act and model, and whose token it was where its text was right. No token's text, no
address and nothing else of the client's is in them.
"""

import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pruneguard import canonical, files
from pruneguard.errors import PruneGuardError
from pruneguard.ledger.events import Event, utc
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.rules import MONITOR

WINDOW_SECONDS = 60.0
"""The ledger hears at most this often."""
FLUSH_SECONDS = 1.0
WINDOW_BYTES_MAX = 1_000_000
"""Of lines in one window; calls beyond are counted and not told one by one."""
FILES_MAX = 100
"""Sealed files that are kept, the newest."""

log = logging.getLogger(__name__)


class Denials:
    """`add` from anywhere, at once. From `start` to `stop` a thread writes the lines to `folder` and tells the ledger.

    A window's lines are a file named by its digest, which `access.denied` names too. While the ledger cannot be
    written, the window goes on.
    """

    def __init__(self, folder: Path, open_ledger: Callable[[], Ledger], *, window_s: float = WINDOW_SECONDS) -> None:
        self._folder = folder
        self._open_ledger = open_ledger
        self._window_s = window_s
        self._open = folder / f"open-{os.getpid()}-{id(self):x}.jsonl"
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._bytes = 0
        self._reasons = Counter[str]()
        self._since = self._until = ""
        self._sealed: Event | None = None
        self._ledger: Ledger | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="denials", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write and tell what there is, and return when that is done or has failed."""
        self._stopping.set()
        self._thread.join()

    def add(self, reason: str, *, act: str, model: str, token: str) -> None:
        now = utc(datetime.now(UTC))
        line = json.dumps({"time": now, "reason": reason, "act": act, "model": model, "token": token}) + "\n"
        with self._lock:
            self._since, self._until = self._since or now, max(self._until, now)
            self._reasons[reason] += 1
            if self._bytes + len(line) <= WINDOW_BYTES_MAX:
                self._bytes += len(line)
                self._lines.append(line)

    def flush(self) -> None:
        """Put the lines that came since the last call behind those in the open file."""
        with self._lock:
            lines, self._lines = self._lines, []
        if lines:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._open.open("a", encoding="utf-8") as file:
                file.writelines(lines)

    def tell(self) -> None:
        """Seal the window and record it: one event, and the window before first where that could not be recorded."""
        if self._sealed is None:
            self.flush()
            self._sealed = self._seal()
        if self._sealed is None:
            return
        if self._ledger is None:
            self._ledger = self._open_ledger()
        try:
            self._ledger.record(self._sealed)
        except BaseException:
            self._close()
            raise
        self._sealed = None

    def _seal(self) -> Event | None:
        with self._lock:
            told, since, until = Counter(self._reasons), self._since, self._until
        if not told:
            return None
        content = self._open.read_bytes() if self._open.exists() else b""
        name = canonical.digest(content)
        with files.appearing(self._folder / f"{name.removeprefix('sha256:')}.jsonl", replace=True) as partial:
            partial.write_bytes(content)
        self._open.unlink(missing_ok=True)
        with self._lock:
            self._reasons -= told
            self._since = until if self._reasons else ""
            self._bytes = sum(map(len, self._lines))
        self._forget()
        data = {"since": since, "until": until, "reasons": dict(told)}
        return Event("access.denied", MONITOR, data, {"calls": name}, f"access.denied/{name}/{since}")

    def _forget(self) -> None:
        newest = sorted(self._folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in newest[FILES_MAX:]:
            path.unlink(missing_ok=True)

    def _run(self) -> None:
        waited, lost = 0.0, False
        while not self._stopping.wait(FLUSH_SECONDS):
            waited += FLUSH_SECONDS
            lost = self._attempt(self.tell if waited >= self._window_s else self.flush, lost)
            waited %= self._window_s
        self._attempt(self.tell, lost)
        self._close()

    def _close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def _attempt(self, act: Callable[[], None], lost: bool) -> bool:
        """Do it, and say in the log once that it fails. What was not told is told with the next window."""
        try:
            act()
        except (PruneGuardError, OSError) as error:
            if not lost:
                log.error("denied calls cannot be accounted for now, they are counted on: %s", error)
            return True
        return False
