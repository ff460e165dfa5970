"""What the pages read: the ledger's state, kept up to date once per process, and documents by digest.

A Ledger belongs to one thread while pages run in many, so one worker thread owns it and hands out copies.
"""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from time import time
from typing import Any, TypeVar

from dashboards.proofs import Proof, prove
from pruneguard import held, home, releases
from pruneguard.audit import anchoring
from pruneguard.audit.anchoring import Anchoring, Tree
from pruneguard.audit.controls import History, Row, assess
from pruneguard.audit.frameworks import Framework
from pruneguard.errors import IntegrityError, InvalidInputError, PruneGuardError
from pruneguard.evidence import Evidence, Measurement
from pruneguard.ledger import notes
from pruneguard.ledger.events import Entry, Event, utc
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.state import GivenVerdict, Model, Release, State
from pruneguard.policy import Policy
from pruneguard.settings import Settings
from pruneguard.verdict import Verdict
from pruneguard.witness.cosigned import Cosigned

T = TypeVar("T")

CHUNK = 1_000
SEARCHED_MAX = 20_000
"""Entries that one text search reads, newest first: a page must answer, and says where it stopped."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why what is shown may be wrong, old or absent, and what to do about it."""

    found: str
    remedy: str
    edited: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """The state as of `read_at`. Sessions share it: read it, never change it."""

    state: State
    read_at: str
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of the log: its position, its bytes as they are hashed, and what they say."""

    index: int
    raw: bytes
    entry: Entry


@dataclass(frozen=True, slots=True)
class Found:
    """Positions that match a search, newest first. A text search that gave up says at which entry."""

    indices: Sequence[int]
    stopped_at: int | None = None


class Book:
    """One ledger and its documents, for every page of one process. Safe to call from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seen, self._followed = held.Shelf(settings.held_dir), 0
        artifacts = home.artifacts(settings)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._ledger: Ledger | None = None
        self._reading = Reading(State(), _now())
        # Positions by type and by model, eight bytes each: a filter must not read the log.
        self._types: dict[str, array[int]] = defaultdict(lambda: array("Q"))
        self._models: dict[str, array[int]] = defaultdict(lambda: array("Q"))
        self._indexed = 0
        # Methods of their own, cached by digest: these bytes never change. Each raises PruneGuardError.
        self.evidence = lru_cache(1_000)(lambda digest: Evidence.decode(artifacts.get(digest)))
        self.verdict = lru_cache(1_000)(lambda digest: Verdict.decode(artifacts.get(digest)))
        self.policy = lru_cache(100)(lambda digest: Policy.decode(artifacts.get(digest)))
        self.content: Callable[[str], bytes] = lru_cache(8)(artifacts.get)

    def now(self) -> Reading:
        """The state up to the newest entry. Where the ledger cannot be read: what was read last, and the trouble."""
        return self._on_worker(self._refresh)

    def lines(self, indices: Sequence[int]) -> list[Line]:
        """The entries at these positions, in the order asked for; one whose body retention dropped has no line.

        Raises PruneGuardError.
        """
        return self._on_worker(lambda: [line for index in indices if (line := self._line(index)) is not None])

    def find(self, *, types: Sequence[str] = (), model: str | None = None, text: str = "") -> Found:
        """Positions of the entries that match everything given, newest first. Raises PruneGuardError."""
        return self._on_worker(lambda: self._find(types, model, text.strip().lower()))

    def prove(self, index: int) -> Proof:
        """What shows entry `index` to be in the log, read and checked anew. Raises PruneGuardError."""
        return self._on_worker(lambda: prove(self._opened(), index))

    def anchoring(self) -> Anchoring:
        """What witnesses countersigned, by the service's own trust policy. Raises PruneGuardError."""
        return self._on_worker(self._anchoring)

    def verify(self) -> Reading:
        """Hash the whole log again as it is stored now; an edit is trouble on every page from then on."""
        return self._on_worker(self._verify)

    def measured(self, verdict: GivenVerdict) -> Mapping[str, Measurement]:
        """What the evidence of a verdict says about its candidate, all documents together. Raises PruneGuardError."""
        documents = [self.evidence(digest) for digest in verdict.evidence]
        return {
            name: value
            for document in documents
            if document.subject == verdict.candidate
            for name, value in document.measurements.items()
        }

    def controls(self, framework: Framework, *, model: str | None = None) -> tuple[Row, ...]:
        """The state of every control now, by entries about this model or about none. Raises PruneGuardError."""
        return self._on_worker(lambda: assess(framework, self._history(model)))

    def roll_back(self, *, model: str, reason: str, actor: str) -> Line:
        """Roll back as the command line does, without the actor's signature, and return the entry that it made.

        Raises PruneGuardError when it may not be, with every reason.
        """
        return self._on_worker(lambda: self._roll_back(model, reason, actor))

    # -- on the worker's thread ------------------------------------------------------------------------------------

    def _on_worker(self, act: Callable[[], T]) -> T:
        return self._worker.submit(act).result()

    def _opened(self) -> Ledger:
        if self._ledger is None:
            self._ledger = home.read_ledger(self._settings, verify=True)
        return self._ledger

    def _refresh(self) -> Reading:
        known = self._reading
        if known.trouble is not None and known.trouble.edited:
            return known  # it stays edited until somebody has it verified
        try:
            state = self._opened().state()
            self._index(state.size)
            if state.size != self._followed:
                self._seen.follow(self._opened())
                self._followed = state.size
        except PruneGuardError as error:
            self._reading = replace(known, trouble=trouble_from(error))
        else:
            grown = state.size != known.state.size or state.origin != known.state.origin
            self._reading = Reading(copy_of(state) if grown else known.state, _now())
        return self._reading

    def _anchoring(self) -> Anchoring:
        ledger, policy = self._opened(), self._settings.read_trust_policy()
        checkpoint = notes.open_checkpoint(ledger.checkpoint, ledger.verifier)
        note = None if policy is None else Cosigned(self._settings.cosigned).require_continued(ledger)
        root = checkpoint.root if note is None else notes.Checkpoint.parse(note.text).root
        tree = Tree(ledger.verifier, checkpoint, lambda _: root)  # a proof has just shown that the ledger continues it
        cosigned = None if note is None else note.encode()
        return anchoring.assess(tree, clock=int(time()), witnessed=cosigned, bundled=policy)

    def _index(self, size: int) -> None:
        for start in range(self._indexed, size, CHUNK):
            for raw in self._opened().raw(start, min(start + CHUNK, size)):
                if raw:  # retention drops bodies
                    event = Entry.decode(raw).event
                    self._types[event.type].append(self._indexed)
                    if isinstance(model := event.data.get("model"), str):
                        self._models[model].append(self._indexed)
                self._indexed += 1

    def _verify(self) -> Reading:
        if self._ledger is not None:
            self._ledger.close()
        # A restored backup may be another file: open it anew, which hashes all of it, and read it from the start.
        self._ledger, self._indexed, self._followed = None, 0, 0
        self._types.clear()
        self._models.clear()
        self._reading = replace(self._reading, trouble=None)
        return self._refresh()

    def _line(self, index: int) -> Line | None:
        found = self._opened().raw(index, index + 1)
        if not found:
            raise InvalidInputError(f"the log has no entry {index}; its entries are 0 to {self._indexed - 1}")
        return Line(index, found[0], Entry.decode(found[0])) if found[0] else None

    def _find(self, types: Sequence[str], model: str | None, text: str) -> Found:
        self._refresh()
        chosen: Sequence[int] = range(self._indexed)
        if types:
            chosen = sorted(index for name in types for index in self._types.get(name, ()))
        if model is not None:
            of_model = self._models.get(model, array("Q"))
            chosen = of_model if not types else sorted(set(chosen) & set(of_model))
        newest_first = chosen[::-1]
        if not text:
            return Found(newest_first)
        searched = newest_first[:SEARCHED_MAX]
        hits = [index for index, raw in self._bytes_of(searched) if text in _legible(raw)]
        return Found(hits, searched[-1] if len(newest_first) > len(searched) else None)

    def _bytes_of(self, indices: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        for at in range(0, len(indices), CHUNK):
            block = indices[at : at + CHUNK]
            if block[0] - block[-1] < 4 * CHUNK:  # dense enough to read in one go
                raw = self._opened().raw(block[-1], block[0] + 1)
                yield from ((index, body) for index in block if (body := raw[index - block[-1]]))
            else:
                yield from ((index, line.raw) for index in block if (line := self._line(index)) is not None)

    def _history(self, model: str | None) -> History:
        state = self._refresh().state
        others = set() if model is None else {i for name, own in self._models.items() if name != model for i in own}
        others.update(index for index, _ in state.violations)
        kinds = {name: [i for i in own if i not in others] if others else own for name, own in self._types.items()}

        def read(digest: str) -> bytes | None:
            try:
                return self.content(digest)
            except PruneGuardError:
                return None  # what is not in the store shows nothing

        def event(index: int) -> Event | None:
            line = self._line(index)
            return None if line is None else line.entry.event

        return History(max(state.clock, _now()), kinds, event, read, state.violations)

    def _roll_back(self, model: str, reason: str, actor: str) -> Line:
        trouble = self._refresh().trouble
        if trouble is not None:
            raise IntegrityError(f"nothing was rolled back, because the ledger cannot be trusted now: {trouble.found}")
        with closing(home.open_ledger(self._settings)) as ledger:
            recorded = releases.roll_back(ledger, model=model, reason=reason, actor=actor)
            raw = ledger.raw(recorded.index, recorded.index + 1)[0]
        return Line(recorded.index, raw, Entry.decode(raw))


READ = (
    *("people", "policies", "in_force", "pending", "waivers", "holds", "attachments", "self_tests", "violations"),
    *("drills", "absent", "skipped", "keys"),
)
UNREAD = (*("makers", "causations", "signed", "told", "alarms", "commitments", "subjects", "erased", "kept", "marks"),)


def copy_of(state: State) -> State:
    """A copy that further folding leaves alone, without what no page reads and what grows with the log.

    What is frozen is shared. The cost grows with people, models and their newest batches.
    """
    changes: dict[str, Any] = {name: copy(getattr(state, name)) for name in READ}
    changes |= {name: type(getattr(state, name))() for name in UNREAD}
    changes["runs"] = {name: replace(run, makers=set(run.makers)) for name, run in state.runs.items()}
    changes["models"] = {name: _copy_of_model(model) for name, model in state.models.items()}
    return replace(state, **changes)


def _copy_of_model(model: Model) -> Model:
    def released(release: Release) -> Release:
        return replace(release, approvals=list(release.approvals))

    return replace(
        model,
        releases={number: released(release) for number, release in model.releases.items()},
        verdicts=list(model.verdicts),
        alarms=list(model.alarms),
        history=list(model.history),
        by_digest=dict(model.by_digest),
        batches=model.batches.copy(),
        drift=model.drift.copy(),
    )


def trouble_from(error: PruneGuardError) -> Trouble:
    """What an error means for somebody who looks at a page."""
    if isinstance(error, IntegrityError):
        return Trouble(
            str(error),
            "release nothing, keep the file as it is for the investigation, restore a backup, then verify it on the "
            "Audit trail page. Actions are blocked until it verifies.",
            edited=True,
        )
    return Trouble(str(error), "put that right; this page tries again by itself.")


def _legible(raw: bytes) -> str:
    """What a person may search for in an entry: the event's bytes, out of their envelope where they have one."""
    envelope = Entry.decode(raw).envelope
    return (envelope.payload if envelope else raw).decode().lower()


def _now() -> str:
    return utc(datetime.now(UTC))
