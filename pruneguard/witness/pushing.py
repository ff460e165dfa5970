"""The log's side: every so often, show the newest checkpoint to each witness and keep what they sign.

Never on an append's path: a thread of its own reads the ledger like anybody else. A witness that is away, wrong or slow
costs its own line and nothing else; what fails is logged once for the same trouble and counted in each round.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pruneguard.errors import PruneGuardError
from pruneguard.ledger import notes
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.trust import TrustPolicy
from pruneguard.witness import client
from pruneguard.witness.cosigned import Cosigned

REFRESH_SECONDS = 24 * 3600
"""After which a log that did not grow is shown again: its auditors may ask how old a cosignature is."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one round: the checkpoint's size, who signed it by now, and for the others why not."""

    size: int
    cosigned: tuple[str, ...]
    failures: Mapping[str, str]


def push(
    ledger: Ledger,
    policy: TrustPolicy,
    cosigned: Cosigned,
    *,
    timeout_s: float = client.TIMEOUT_SECONDS,
    clock: Callable[[], float] = time.time,
) -> Round:
    """Ask each witness that has an address and has not signed the newest checkpoint lately.

    Raises IntegrityError when the ledger does not continue what witnesses cosigned before.
    """
    kept = cosigned.require_continued(ledger)
    note = notes.Note.parse(ledger.checkpoint)
    size = notes.Checkpoint.parse(note.text).size
    lines, done, failures = list[notes.Signature](), list[str](), dict[str, str]()
    for witness in policy.witnesses:
        if not witness.url:
            continue
        before = None if kept is None else kept.signed_by(witness.verifier)
        if before and kept and kept.text == note.text and clock() - before.time < REFRESH_SECONDS:
            done.append(witness.name)
            continue
        try:
            known = notes.Checkpoint.parse(kept.text).size if kept and before else 0
            lines.append(
                client.cosignature(
                    witness,
                    note,
                    known_size=known,
                    prove=lambda old: ledger.consistency(old, size),
                    timeout_s=timeout_s,
                    clock=clock,
                )
            )
            done.append(witness.name)
        except PruneGuardError as error:
            failures[witness.name] = str(error)
    if lines:
        cosigned.merge(note, lines, log=ledger.verifier, policy=policy)
    return Round(size, tuple(done), failures)


class Pushing:
    """A thread that pushes every `interval_s`. Start it, or use it as a context.

    `open_ledger` is called in it, and what it opens is closed there; `report` hears of every round, and of a round
    that came to nothing as one in which every witness failed.
    """

    def __init__(
        self,
        open_ledger: Callable[[], Ledger],
        policy: TrustPolicy,
        cosigned: Cosigned,
        *,
        interval_s: float,
        timeout_s: float = client.TIMEOUT_SECONDS,
        report: Callable[[Round], None] = lambda _: None,
    ) -> None:
        self._open_ledger, self._policy, self._cosigned = open_ledger, policy, cosigned
        self._interval_s, self._timeout_s, self._report = interval_s, timeout_s, report
        self._ledger: Ledger | None = None
        self._told: dict[str, str] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witnesses", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Return when the round under way has ended, which takes two time-outs of each witness at most."""
        self._stopping.set()
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._ledger = self._ledger or self._open_ledger()
                done = push(self._ledger, self._policy, self._cosigned, timeout_s=self._timeout_s)
            except Exception as error:  # noqa: BLE001  # whatever the ledger or the disk has, the service goes on
                asked = (witness.name for witness in self._policy.witnesses if witness.url)
                done = Round(0, (), dict.fromkeys(asked, f"{type(error).__name__}: {error}"))
                self._close()
            self._tell(done)
            self._report(done)
            self._stopping.wait(self._interval_s)
        self._close()

    def _tell(self, done: Round) -> None:
        for name, reason in done.failures.items():
            if self._told.get(name) != reason:
                log.error("not cosigned by %s: %s", name, reason)
        for name in self._told.keys() - done.failures.keys():
            log.info("cosigned by %s again", name)
        self._told = dict(done.failures)

    def _close(self) -> None:
        if self._ledger is not None:
            with suppress(Exception):  # it failed already; what matters is the next one
                self._ledger.close()
            self._ledger = None
