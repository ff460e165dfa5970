"""What a bundle holds, as export writes it and the verifier expects it.

manifest.json               the selection; origin, size and root of the log; every other file with size and SHA-256
manifest.dsse.json          an in-toto statement about manifest.json, signed by the log's key
VERIFY.md, tools/verify.py  what is checked at each level, and with whose tools; a verifier in one file
ledger/checkpoint           the log's signed checkpoint; ledger/log.vkey: the key it is checked with
ledger/witnessed            the newest checkpoint that witnesses cosigned; ledger/trust-policy.txt: whom the log names
ledger/tile/...             the whole log as C2SP tlog-tiles: hash tiles and bundles of entries
proofs/<index>.tlog-proof   for each selected decision
documents/sha256/<hex>      what selected events name and the store holds: policies, evidence, verdicts, lineage
frameworks/<name>.json      the control frameworks asked for, as the views read them
attestations/...            statements about each version and run, signed by the log's key
keys/...                    people and their keys; the key that signs model files
models/, data/, compliance/ signatures, bills of materials, cards, controls: made from the log and its documents
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pruneguard import canonical
from pruneguard.audit.selection import Selection
from pruneguard.errors import InvalidInputError
from pruneguard.ledger import dsse, notes, tiles
from pruneguard.ledger.events import Event
from pruneguard.ledger.keys import LogKey
from pruneguard.ledger.shapes import is_time

MANIFEST, SEAL, GUIDE, PROGRAM = "manifest.json", "manifest.dsse.json", "VERIFY.md", "tools/verify.py"
CHECKPOINT, VKEY = "ledger/checkpoint", "ledger/log.vkey"
MODEL_KEY = "keys/model-signing.pub"
WITNESSED, TRUST = "ledger/witnessed", "ledger/trust-policy.txt"
TILES, PROOFS, DOCUMENTS, FRAMEWORKS = "ledger/tile/", "proofs/", "documents/", "frameworks/"
ATTESTATIONS = "attestations/"
FIXED = frozenset({GUIDE, PROGRAM, CHECKPOINT, VKEY, MODEL_KEY})
OPTIONAL = frozenset({WITNESSED, TRUST})
FOLDERS = (TILES, PROOFS, DOCUMENTS, FRAMEWORKS, ATTESTATIONS, "keys/", "models/", "data/", "compliance/")

STATEMENT = "https://in-toto.io/Statement/v1"
STATEMENT_TYPE = "application/vnd.in-toto+json"
PREDICATE = "https://pruneguard.dev/bundle/v1"

DOCUMENT_BYTES_MAX = 2_000_000
DOCUMENT_REFS = (
    *("policy", "verdict", "evidence", "expectations", "lineage"),
    *("report", "manifest", "document", "comparison"),
)
"""The references of an event that name documents, not models, rows or weights."""

DECISIONS = frozenset(
    {
        "verdict.given",
        "waiver.granted",
        "release.proposed",
        "release.approved",
        "release.held",
        "release.resumed",
        "traffic.shifted",
        "traffic.copied",
        "traffic.diverted",
        "traffic.restored",
        "release.rolled_back",
        "alarm.raised",
    }
)
WITHOUT_DOCUMENTS = frozenset({"batch.sealed"})
"""Events that name rows and the monitor's state, and no document. There may be a million of them."""


@dataclass(frozen=True, slots=True)
class File:
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    model: str
    start: str | None
    end: str | None
    frameworks: tuple[str, ...]
    views: int
    """Version of the views that made what is derived here."""
    origin: str
    size: int
    root: str
    files: tuple[File, ...]
    absent: Mapping[str, str]
    """Digest of a document that a selected event names and this bundle lacks, and why."""
    left_out: Mapping[str, int]
    """How many entries and decisions about the model the span leaves out. They are in the log, without documents."""

    def encode(self) -> bytes:
        return canonical.encode({"kind": "bundle/v1", **asdict(self)})

    @classmethod
    def decode(cls, content: bytes) -> "Manifest":
        """Raises InvalidInputError for anything but the exact bytes that `encode` makes."""
        document = canonical.decode(content)
        try:
            if document.pop("kind") != "bundle/v1":
                raise InvalidInputError("not the manifest of a bundle that this program knows; expected bundle/v1")
            files = tuple(File(**file) for file in document.pop("files"))
            manifest = cls(files=files, frameworks=tuple(document.pop("frameworks")), **document)
            manifest.check()
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidInputError(f"malformed manifest: {type(error).__name__} {error}") from error
        if manifest.encode() != content:
            raise InvalidInputError("the manifest is not in canonical form")
        return manifest

    def check(self) -> None:
        """Raises InvalidInputError for a field of the wrong kind."""
        texts = [self.model, self.origin, self.root, *self.frameworks, *self.absent, *self.absent.values()]
        texts += [text for file in self.files for text in (file.path, file.sha256)]
        texts += [bound for bound in (self.start, self.end) if bound is not None]
        numbers = [self.size, self.views, *self.left_out.values(), *(file.size for file in self.files)]
        if not all(type(text) is str for text in texts) or not all(type(number) is int for number in numbers):
            raise InvalidInputError("malformed manifest: a text or a number is of another kind")
        if not all(bound is None or is_time(bound) for bound in (self.start, self.end)):
            raise InvalidInputError(f"malformed manifest: a span from {self.start} to {self.end}")

    def statement(self) -> bytes:
        """What the log's key signs: these very bytes are the manifest of its bundle."""
        digest = canonical.digest(self.encode()).removeprefix("sha256:")
        return canonical.encode(
            {
                "_type": STATEMENT,
                "subject": [{"name": MANIFEST, "digest": {"sha256": digest}}],
                "predicateType": PREDICATE,
                "predicate": {"model": self.model, "origin": self.origin, "size": self.size, "root": self.root},
            }
        )


def envelope(envelope: dsse.Envelope, log: notes.Verifier) -> dsse.Envelope:
    """The one form of an envelope that a log signed."""
    return replace(envelope, signatures=((log.vkey, envelope.signatures[0][1]),))


def sign(statement: bytes, key: LogKey) -> bytes:
    """A statement in an envelope, signed by the log's key, which is named by its verifier key."""
    return dsse.Envelope.sign(statement, STATEMENT_TYPE, keyid=key.verifier.vkey, key=key.key).encode()


def tools() -> dict[str, bytes]:
    """What every bundle brings along for whoever checks it: how to, and a verifier in one file.

    As this release has them. Another release's bundle has others, for which its manifest vouches, and nothing more.
    """
    here = Path(__file__).parent
    return {GUIDE: (here / GUIDE).read_bytes(), PROGRAM: (here / "standalone" / "verify.py").read_bytes()}


def proof_path(index: int) -> str:
    return f"{PROOFS}{index}.tlog-proof"


def document_path(digest: str) -> str:
    """Where a document lies.

    >>> document_path("sha256:00ff")
    'documents/sha256/00ff'
    """
    return DOCUMENTS + digest.replace(":", "/")


def signature_path(model: str) -> str:
    """Where the model-signing signature of the model with this digest lies."""
    return f"models/{model.removeprefix('sha256:')}/model.sig"


def framework_path(name: str) -> str:
    return f"{FRAMEWORKS}{name}.json"


def ledger_path(tile: tiles.Tile) -> str:
    return f"ledger/{tile.path}"


def decisions(selection: Selection) -> list[int]:
    """Positions of the selected decisions: those that get a proof."""
    return [index for index, _ in selection.events(*DECISIONS)]


def documents(selection: Selection) -> dict[str, int]:
    """Digests of the documents that selected events name, with the position that names each first.

    What people attached to no model in particular is among them, and so is the newest drill of the gates under each
    policy that a selected verdict rests on.
    """
    named: dict[str, int] = {}
    for index, event in selection.events(*(selection.kinds.keys() - WITHOUT_DOCUMENTS)):
        for digest in _named(event):
            named.setdefault(digest, index)
    for index in selection.kinds.get("document.attached", ()):
        if (entry := selection.log[index]) is not None:
            for digest in _named(entry.event):
                named.setdefault(digest, index)
    for index, event in drills(selection):
        named.setdefault(event.refs["report"], index)
    return named


def drills(selection: Selection) -> list[tuple[int, Event]]:
    """The newest drill of the gates under each policy that a selected verdict rests on, with its position."""
    used = {event.refs["policy"] for _, event in selection.events("verdict.given")}
    newest = dict[str, tuple[int, Event]]()
    for index in selection.kinds.get("gates.drilled", ()):
        if (entry := selection.log[index]) is not None and (policy := entry.event.refs["policy"]) in used:
            newest[policy] = (index, entry.event)
    return sorted(newest.values(), key=lambda each: each[0])


def _named(event: Event) -> Iterator[str]:
    for name in DOCUMENT_REFS:
        value = event.refs.get(name, ())
        yield from (item for item in ([value] if isinstance(value, str) else value) if isinstance(item, str))
