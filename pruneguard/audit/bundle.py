"""What a bundle holds, as export writes it and the verifier expects it.

manifest.json               every other file with its size and SHA-256; origin, size and root of the log; the model
VERIFY.md                   what is checked at each level, and with whose tools
ledger/checkpoint           the log's signed checkpoint; ledger/log.vkey: the key it is checked with
ledger/tile/...             the whole log as C2SP tlog-tiles: hash tiles and bundles of entries
proofs/<index>.tlog-proof   for each decision about the model
documents/sha256/<hex>      what those events name and the store holds: policies, evidence, verdicts, lineage, reports
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.ledger import tiles
from pruneguard.ledger.events import Event

MANIFEST, GUIDE = "manifest.json", "VERIFY.md"
CHECKPOINT, VKEY = "ledger/checkpoint", "ledger/log.vkey"
TILES, PROOFS, DOCUMENTS = "ledger/tile/", "proofs/", "documents/"

DOCUMENT_BYTES_MAX = 2_000_000
DOCUMENT_REFS = ("policy", "verdict", "evidence", "expectations", "lineage", "report")
"""The references of an event that name documents, not models, rows or weights."""

DECISIONS = frozenset(
    {
        "verdict.given",
        "release.proposed",
        "release.approved",
        "traffic.shifted",
        "release.rolled_back",
        "alarm.raised",
    }
)


@dataclass(frozen=True, slots=True)
class File:
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    model: str
    origin: str
    size: int
    root: str
    files: tuple[File, ...]
    absent: Mapping[str, str]
    """Digest of a document that an event names and this bundle lacks, and why."""

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
            manifest = cls(files=files, **document)
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidInputError(f"malformed manifest: {type(error).__name__} {error}") from error
        if manifest.encode() != content:
            raise InvalidInputError("the manifest is not in canonical form")
        return manifest


def proof_path(index: int) -> str:
    return f"{PROOFS}{index}.tlog-proof"


def document_path(digest: str) -> str:
    """Where a document lies.

    >>> document_path("sha256:00ff")
    'documents/sha256/00ff'
    """
    return DOCUMENTS + digest.replace(":", "/")


def ledger_path(tile: tiles.Tile) -> str:
    return f"ledger/{tile.path}"


def about(model: str, event: Event) -> bool:
    """Whether an event belongs to the model's story."""
    return event.data.get("model") == model


def decisions(model: str, events: Iterable[Event]) -> list[int]:
    """Positions of the decisions about a model: those that get a proof."""
    return [index for index, event in enumerate(events) if about(model, event) and event.type in DECISIONS]


def documents(model: str, events: Iterable[Event]) -> dict[str, int]:
    """Digests of the documents that a model's story names, with the position that names each first."""
    named: dict[str, int] = {}
    for index, event in enumerate(events):
        if about(model, event):
            for digest in _named(event.refs):
                named.setdefault(digest, index)
    return named


def _named(refs: Mapping[str, Any]) -> Iterator[str]:
    for name in DOCUMENT_REFS:
        value = refs.get(name, ())
        yield from (item for item in ([value] if isinstance(value, str) else value) if isinstance(item, str))
