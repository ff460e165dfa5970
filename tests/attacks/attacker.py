"""Somebody who holds the log's key and every file, and whom both verifiers are asked to catch."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pruneguard import testing
from pruneguard.audit.report import EXIT_CODES, Level
from pruneguard.audit.standalone import verify as standalone
from pruneguard.audit.verify import verify
from pruneguard.held import Kept
from pruneguard.ledger import dsse, notes
from pruneguard.ledger.events import CLICKED, PAYLOAD_TYPE, SIGNED, Entry, Event, utc
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.trust import TrustPolicy
from tests.audit.conftest import Told, contents, listed, stored, whole
from tests.ledger.making import raw
from tests.witness.logs import key

PLAIN: Mapping[str, Any] = {"frameworks": {}}
NOW = 1_800_000_000
"""An auditor's clock, after all that happens here."""

ENTRIES, TILE = "ledger/tile/entries/000.p/29", "ledger/tile/0/000.p/29"


def caught(
    files: Mapping[str, bytes] | bytes,
    level: Level | None,
    place: str = "",
    *,
    alone: Level | str | None = "same",
    held: bytes | None = None,
    trust: bytes | None = None,
    clock: int | None = None,
    answering: tuple[str, ...] = (),
) -> None:
    """Both verifiers say so: the exit code of `level`, at a place that matches; None is a bundle that verifies.

    `alone` is the level at which the stand-alone verifier finds it, where that is another one.
    """
    data = files if isinstance(files, bytes) else whole(files)
    expected = 0 if level is None else EXIT_CODES[level]
    with TemporaryDirectory() as folder:
        path, kept = Path(folder, "b.tar"), Path(folder, "held")
        path.write_bytes(data)
        if held is not None:
            kept.write_bytes(held)
        policy = None if trust is None else TrustPolicy.parse(trust)
        memory = None if held is None else Kept(kept)
        report = verify(path, memory=memory, trust=policy, clock=clock, answering=answering)
    found = [f"{c.level} {c.place}: {c.detail}" for c in report.checks if not c.ok]
    assert report.exit_code == expected, found
    assert all(re.match(r"\w+ [^:]", line) for line in found), "a failure without a place"
    if level is not None:
        assert report.guarantee == "none"
        assert any(re.search(place, line) for line in found if line.startswith(level)), found

    other = level if alone == "same" else alone
    believed = None if trust is None else standalone.parse_trust(trust)
    second = standalone.verify(data, held=held, trust=believed, clock=clock)
    lines = [f"{c['level']} {c['place']}: {c['detail']}" for c in second["checks"] if not c["ok"]]
    assert second["exit_code"] == (0 if other is None else EXIT_CODES[Level(other)]), lines
    if other is not None and alone == "same":
        assert any(re.search(place, line) for line in lines if line.startswith(other)), lines


def changed(told: Told, path: str, change: Callable[[bytes], bytes]) -> dict[str, bytes]:
    """The bundle with one file changed, and a manifest over it that the log's key signed."""
    return listed({**told.files, path: change(told.files[path])})


def appended(told: Told, content: bytes) -> dict[str, bytes]:
    """The story with one more entry of these bytes, in a tree and under a checkpoint that are right for it.

    The export would refuse it; this is written by hand.
    """
    ledger = stored([*told.ledger.raw(0, 29), content])
    with ledger.reading() as reader:
        leaves = [leaf for _, leaf, _ in reader.entries(0, 30)]
        bodies = [body for _, _, body in reader.entries(0, 30)]
        note = reader.checkpoint()
    files = {path: kept for path, kept in told.files.items() if not path.startswith(("ledger/tile/", "proofs/"))}
    files["ledger/checkpoint"] = note
    files["ledger/tile/0/000.p/30"] = b"".join(leaves)
    files["ledger/tile/entries/000.p/30"] = b"".join(len(body).to_bytes(2) + body for body in bodies)
    return listed(files, size=30, root=notes.Checkpoint.parse(notes.Note.parse(note).text).root.hex())


def cosigned(note: bytes, *seeds: int, time: int = NOW - 60) -> bytes:
    parsed = notes.Note.parse(note)
    lines = [notes.cosign(parsed, name=f"w{seed}.example", key=key(seed), time=time) for seed in seeds]
    return notes.Note(parsed.text, (*parsed.signatures, *lines)).encode()


def trust(*seeds: int, quorum: str = "all") -> bytes:
    """The auditor's own policy: witnesses in domains of their own."""
    lines = ["# domain: operator", f"log {testing.log_key().verifier.vkey}"]
    for seed in seeds:
        lines += [f"# domain: d{seed}", f"witness w{seed} {notes.cosigner_of(f'w{seed}.example', key(seed)).vkey}"]
    lines += [f"group them {quorum} {' '.join(f'w{seed}' for seed in seeds)}", "quorum them", ""]
    return "\n".join(lines).encode()


def bytes_of(event: Event, *, by: Signer | None = None, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """An entry of any shape, signed by whomever."""
    content = raw(event)
    if by is None:
        return content
    return dsse.Envelope.sign(content, payload_type, keyid=by.fingerprint, key=by.key).encode()


@dataclass
class Forger:
    """Continues or rewrites the story's log entry by entry, and exports what comes of it as if it were true."""

    told: Told
    entries: list[bytes] = field(default_factory=list)
    signers: dict[str, Signer] = field(default_factory=testing.people)

    def __post_init__(self) -> None:
        self.entries = self.entries or self.told.ledger.raw(0, self.told.ledger.size)
        self.id = Entry.decode(self.entries[0]).event.id
        self.now = datetime.fromisoformat(self.told.ledger.state().clock)

    def act(
        self,
        type_: str,
        actor: str,
        refs: Mapping[str, Any] | None = None,
        /,
        *,
        by: Signer | None = None,
        signed: bool | None = None,
        time: str = "",
        **data: Any,
    ) -> int:
        """Append an act, signed where its type asks for that; return its position."""
        self.now += timedelta(minutes=1)
        event = Event(type_, actor, data, refs or {}, None, self.id, time=time or utc(self.now))
        if signed is None:
            signed = (type_ in SIGNED or type_ in CLICKED) and actor != testing.MONITOR
        return self.add(bytes_of(event, by=(by or self.signers[actor]) if signed else None))

    def add(self, entry: bytes) -> int:
        self.entries.append(entry)
        return len(self.entries) - 1

    def position(self, type_: str, **data: Any) -> int:
        events = [Entry.decode(entry).event for entry in self.entries]
        return next(
            i for i, e in enumerate(events) if e.type == type_ and all(e.data[name] == data[name] for name in data)
        )

    def change(self, at: int, *, by: Signer | None = None, **fields: Any) -> int:
        """An entry with other fields, signed again where it was signed."""
        entry = Entry.decode(self.entries[at])
        event = replace(entry.event, **fields)
        signer = (by or self.signers[event.actor]) if entry.envelope else None
        self.entries[at] = bytes_of(event, by=signer)
        return at

    def files(self, **selection: Any) -> dict[str, bytes]:
        ledger = Ledger(stored(self.entries))
        return contents(ledger, self.told.artifacts, model=self.told.story.model, **{**PLAIN, **selection})

    # -- scenes

    def register(self, actor: str, *roles: str, person: str = "") -> int:
        signer = self.signers.setdefault(actor, Signer(actor, testing.log_key(actor).key))
        data = {"actor": actor, "person": person or actor, "public_key": signer.public_key, "roles": list(roles)}
        return self.act("key.registered", "root", **data)

    def propose(self, number: int = 3, *, verdict: int = 2, **told: Any) -> int:
        """The story's pruned candidate again (or, by verdict 1, the one that was refused)."""
        story = self.told.story
        digest = (story.twin, story.rejected, story.candidate)[verdict]
        refs = {"model": digest, "verdict": story.verdicts[verdict]}
        return self.act("release.proposed", "ada", refs, model=story.model, number=number, **told)

    def approve(self, actor: str = "grace", number: int = 3, **told: Any) -> int:
        data = {"model": self.told.story.model, "number": number, "reason": "all well"}
        return self.act("release.approved", actor, {"model": self.told.story.candidate}, **data, **told)

    def shift(self, number: int = 3, share: str = "1", *, digest: str = "", **told: Any) -> int:
        refs = {"model": digest or self.told.story.candidate}
        return self.act(
            "traffic.shifted", testing.MONITOR, refs, model=self.told.story.model, number=number, share=share, **told
        )

    def lead(self, number: int = 3, *, digest: str = "") -> int:
        """By the steps of the story's policy to everything, with the counts that a monitor would have."""
        self.shift(number, "0.1", digest=digest)
        state, model = Ledger(stored(self.entries)).state(), self.told.story.model
        refs, data = testing.counted(state, self.told.artifacts, model=model, number=number)
        return self.act("traffic.shifted", testing.MONITOR, refs, model=model, **data, share="1")


def entry(position: int) -> str:
    return rf"entry {position}: ledger/tile/entries/"
