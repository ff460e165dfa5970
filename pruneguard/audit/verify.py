"""Check a bundle, offline and from its bytes alone.

   1. files         the archive is the one form of its content
   2. files         the manifest lists exactly that content
   3. signatures    the log signed the checkpoint
   4. signatures    the log signed the manifest
   5. signatures    every act of a person carries their own signature
   6. signatures    the log signed each attestation
   7. signatures    each version's model is signed
   8. tree          the entries lead to the signed root
   9. tree          the hash tiles are those of the entries
  10. tree          each proof shows that its entry is in the tree
  11. anchoring     the log continues what was seen of it; witnesses saw it (`anchoring`)
  12. semantics     no entry breaks a rule of the fold
  13. semantics     policies were adopted as they are written
  14. semantics     the gates refuse again what they refused when they were tried
  15. semantics     each verdict follows from its evidence
  16. semantics     each canary went on, or was stopped, for what was counted
  17. artefacts     documents are those that the events name
  18. artefacts     what is derived is what the log and its documents lead to
  19. artefacts     attestations say what the log leads to
  20. completeness  every file that the selection asks for is there, and no other
  21. completeness  entries are without a body only where retention dropped it
  22. completeness  batches have no gap, and only versions answered to which the log gave traffic
  23. completeness  what the auditor saw answering was given traffic by the log (where they say what they saw)

Every failure names its place. Steps that rest on a failed one run where they can; the exit code is that of the first
level that fails.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from time import time
from typing import BinaryIO, TypeAlias

from pruneguard import canonical, held
from pruneguard.audit import anchoring, bundle, integrity, meaning
from pruneguard.audit.archive import Archive, RefusedError
from pruneguard.audit.contents import Contents
from pruneguard.audit.integrity import Fault, Faults
from pruneguard.audit.report import Check, Level, Report
from pruneguard.errors import IntegrityError, InvalidInputError, UnavailableError
from pruneguard.ledger.trust import TrustPolicy

__all__ = ["Check", "Level", "Report", "verify"]

Step: TypeAlias = "tuple[Level, str, Callable[[Contents], Faults]]"

_FAULTS_MAX = 20
_ARCHIVE = "the archive is the one form of its content"

INTEGRITY: tuple[Step, ...] = (
    (Level.FILES, "the manifest lists exactly this content", integrity.listed),
    (Level.SIGNATURES, "the log signed its checkpoint", integrity.checkpoint),
    (Level.SIGNATURES, "the log signed the manifest", integrity.seal),
    (Level.SIGNATURES, "the log signed each attestation", integrity.statements),
    (Level.TREE, "the entries lead to the signed root", integrity.root),
    (Level.TREE, "the hash tiles are those of the entries", integrity.hash_tiles),
    (Level.TREE, "each proof shows its entry in the tree", integrity.proofs),
)
MEANING: tuple[Step, ...] = (
    (Level.SIGNATURES, "every act of a person carries their own signature", meaning.signatures),
    (Level.SIGNATURES, "each version's model is signed", meaning.models),
    (Level.SEMANTICS, "no entry breaks a rule", meaning.rules),
    (Level.SEMANTICS, "policies were adopted as they are written", meaning.policies),
    (Level.SEMANTICS, "the gates refuse what they refused when tried", meaning.self_tests),
    (Level.SEMANTICS, "each verdict follows from its evidence", meaning.verdicts),
    (Level.SEMANTICS, "each canary went on or was stopped for what was counted", meaning.comparisons),
    (Level.ARTEFACTS, "documents are those that the events name", meaning.documents),
    (Level.ARTEFACTS, "derived files are what the log leads to", meaning.derived),
    (Level.ARTEFACTS, "attestations say what the log leads to", meaning.attestations),
    (Level.COMPLETENESS, "every selected file is there, and no other", meaning.selected),
    (Level.COMPLETENESS, "bodies are absent only by retention", meaning.bodies),
    (Level.COMPLETENESS, "what answered had been given traffic", meaning.traffic),
)
_ANCHORED = "the log is anchored as far as it says"
_ANSWERING = "what you saw answering had been given traffic"


def verify(
    path: Path,
    *,
    memory: held.Memory | None = None,
    trust: TrustPolicy | None = None,
    clock: int | None = None,
    age_seconds_max: int | None = None,
    answering: Sequence[str] = (),
    tree_only: bool = False,
) -> Report:
    """Run every step over the bundle at `path`.

    `memory` is what the auditor saw of logs before: the bundle must continue it, and is remembered when all is well.
    `trust` is the auditor's own policy on witnesses, `answering` the digests of models that they saw answer requests.
    `clock` is now, in seconds since 1970. With `tree_only`, nothing is asked that needs the entries to be understood.

    A bundle that is not as it must be is a report with failures, never an exception. Raises InvalidInputError when
    there is no such file to read, IntegrityError when `memory` cannot be used.
    """
    if path.exists() and not path.is_file():
        raise InvalidInputError(f"{path} is no file; name the archive that an export wrote")
    try:
        with path.open("rb") as file:
            walk = _Walk(memory, trust, int(time()) if clock is None else clock, age_seconds_max, tuple(answering))
            return walk.report(file, path, tree_only=tree_only)
    except OSError as error:
        raise InvalidInputError(f"{error.filename or path} cannot be read: {error.strerror}; name the file") from error


class _Walk:
    """One verification, step by step."""

    def __init__(
        self,
        memory: held.Memory | None,
        trust: TrustPolicy | None,
        clock: int,
        age_seconds_max: int | None,
        answering: tuple[str, ...],
    ) -> None:
        self._memory, self._trust, self._clock, self._age = memory, trust, clock, age_seconds_max
        self._answering = answering
        self._seen: held.Seen | None = None
        self._anchoring = anchoring.Anchoring(anchoring.NOTHING)
        self._forgotten = ""

    def report(self, file: BinaryIO, path: Path, *, tree_only: bool) -> Report:
        try:
            contents = Contents(Archive(file))
        except RefusedError as error:
            return Report((Check(Level.FILES, _ARCHIVE, ok=False, place=error.place, detail=error.detail),))
        checks = [Check(Level.FILES, _ARCHIVE, ok=True)]
        for step in INTEGRITY:
            checks += _run(contents, *step)
        if stands := all(check.ok for check in checks):  # what is anchored is the tree under a signed checkpoint
            self._seen = None if self._memory is None else self._memory.find(contents.verifier)
            checks += _run(contents, Level.ANCHORING, _ANCHORED, self._anchored)
        if not tree_only:
            for step in MEANING:
                checks += _run(contents, *step)
            if self._answering:
                step_22 = partial(meaning.answering, seen=self._answering)
                checks += _run(contents, Level.COMPLETENESS, _ANSWERING, step_22)
        order = {level: position for position, level in enumerate(Level)}
        checks.sort(key=lambda check: order[check.level])
        if stands and self._memory is not None and all(check.ok for check in checks):
            checks += self._remembered(contents, path)
        return Report(
            tuple(checks),
            anchored=self._anchoring.guarantee,
            remarks=self._anchoring.remarks,
            unchecked=tuple(self._unchecked(contents, anchored=stands, tree_only=tree_only)),
            absent=0 if tree_only else _absent(contents),
            log=_log(contents),
        )

    def _anchored(self, contents: Contents) -> Faults:
        """11"""
        tree = _tree(contents)
        self._anchoring = anchoring.assess(
            tree,
            clock=self._clock,
            witnessed=_optional(contents, bundle.WITNESSED),
            bundled=_optional(contents, bundle.TRUST),
            trust=self._trust,
            seen=self._seen,
            age_seconds_max=self._age,
        )
        yield from self._anchoring.faults

    def _remembered(self, contents: Contents, path: Path) -> list[Check]:
        tree = _tree(contents)
        assert self._memory is not None  # the caller has asked
        try:
            self._memory.keep(tree.log, contents.note, where=str(path.resolve()), continues=tree.continues)
        except IntegrityError as error:  # somebody kept another history while this one was verified
            return [Check(Level.ANCHORING, _ANCHORED, ok=False, place=bundle.CHECKPOINT, detail=str(error))]
        except UnavailableError as error:  # a folder nobody may write to takes nothing from what was checked
            self._forgotten = str(error)
        return []

    def _unchecked(self, contents: Contents, *, anchored: bool, tree_only: bool) -> Iterator[str]:
        if not anchored:
            yield "anchoring: it needs a signed checkpoint and the tree under it"
        elif self._seen is None:
            yield "whether this log continues what you saw of it before: nothing was held"
        if self._forgotten:
            yield f"whether the next bundle continues this one: it could not be remembered ({self._forgotten})"
        if tree_only:
            yield "people's signatures, semantics, artefacts and completeness: only the tree was asked for"
            return
        yield from _out_of_reach(contents)
        if other := [path for path, own in bundle.tools().items() if _optional(contents, path) != own]:
            yield f"{' and '.join(other)}: not this release's; take them from where you trust them"
        if not self._answering:
            yield "what answers requests now: name the digests that you saw with --answering"
        yield "weights and rows, which are not in a bundle: entries name them by SHA-256"


def _run(contents: Contents, level: Level, what: str, step: Callable[[Contents], Faults]) -> list[Check]:
    faults: list[Fault] = []
    try:
        faults += islice(step(contents), _FAULTS_MAX)
    except RefusedError as error:
        faults.append((error.place, error.detail))
    except Exception as error:  # noqa: BLE001  hostile values may make any reader raise: a failed check, no crash
        faults.append(("the bundle", f"cannot be checked: {type(error).__name__} {error}"))
    if not faults:
        return [Check(level, what, ok=True)]
    return [Check(level, what, ok=False, place=place, detail=detail) for place, detail in faults]


def _tree(contents: Contents) -> anchoring.Tree:
    return anchoring.Tree(contents.verifier, contents.checkpoint, contents.tree.root)


def _optional(contents: Contents, path: str) -> bytes | None:
    return contents.archive.read(path) if path in contents.archive.members else None


def _out_of_reach(contents: Contents) -> Iterator[str]:
    try:
        manifest = contents.manifest
    except RefusedError:  # which a check has told
        return
    if entries := manifest.left_out.get("entries"):
        decisions = manifest.left_out.get("decisions", 0)
        yield f"documents of {entries:,} entries outside the span, {decisions:,} of them decisions about the model"
    for path in map(bundle.framework_path, manifest.frameworks):
        if (content := _optional(contents, path)) is not None:
            yield f"whether {path} asks what its framework does: compare {canonical.digest(content)} with one you trust"
    if manifest.absent:
        yield f"{len(manifest.absent)} documents that entries name: `absent` in manifest.json says why"


def _log(contents: Contents) -> str:
    try:
        return contents.verifier.vkey
    except RefusedError:  # which a check has told
        return ""


def _absent(contents: Contents) -> int:
    try:
        return len(contents.history.absent)
    except Exception:  # noqa: BLE001  the entries cannot be read, which a check has told
        return 0
