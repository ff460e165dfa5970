#!/usr/bin/env python3
"""Check an audit bundle of PruneGuard with Python (3.10 or newer) and nothing of the program that wrote it.

    python verify.py BUNDLE.tar [--held CHECKPOINT] [--trust POLICY] [--json]

`cryptography` is used where it is installed and makes signatures about a hundred times faster to check; without it this
file checks them itself. Read it from top to bottom: 1 archive, 2 JSON, 3 signatures, 4 tree, 5 notes and witnesses,
6 what an event is, 7 who may do what (a second program from the same rules, not a copy), 8 the steps, 9 the report.

The exit code is 0, or that of the first level that fails:

    10 files         the archive has its one form, and its manifest lists exactly what is there
    11 signatures    the log signed checkpoint, manifest and attestations, and people their own acts
    12 tree          the entries lead to the signed root; tiles and proofs are those of the entries
    13 anchoring     with --held the log continues one that you kept; with --trust witnesses that you name saw it
    14 semantics     folding all entries in order breaks no rule: roles, duties, quorum, waivers, releases, traffic
    15 artefacts     documents are those whose digests events name
    16 completeness  every decision has its proof, every document is there or declared absent

What this file does not do: decide gates again from the evidence, rebuild pruned weights, or make the files that follow
from the log (cards, bills of materials, tables, attestations) again. `pruneguard audit verify` does, with the wheel.
Nor can any program tell whether the log's key is the right one: compare the key id it prints, or use --held or --trust.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import mmap
import re
import sys
import time
import unicodedata
from collections import deque, namedtuple
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    Ed25519PublicKey = None  # type: ignore[assignment, misc]

Data: TypeAlias = "bytes | mmap.mmap"
Fields: TypeAlias = dict[str, Any]
Faults: TypeAlias = Iterator[tuple[str, str]]  # place, and what is wrong there
Found: TypeAlias = Iterator[Any]  # what is wrong, or nothing; and last, what changes
Point: TypeAlias = tuple[int, int, int, int]
Holds: TypeAlias = Callable[[Any], bool]


class RefusedError(Exception):
    """Something is not as it must be: where, and what was found."""

    def __init__(self, place: str, detail: str) -> None:
        super().__init__(f"{place}: {detail}")
        self.place, self.detail = place, detail


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


# -- 1. archive: the one tar that these files can have ----------------------------------------------------------------

BLOCK, ARCHIVE_MAX, FILES_MAX, FILE_MAX = 512, 16 * 1024**3, 500_000, 64 * 1024**2
SAFE_NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
Member = namedtuple("Member", "offset size")


def ustar_header(name: str, size: int) -> bytes:
    """The header of a plain file: mode 644, owner 0, time 0. No other header is read."""
    fields = [name.encode().ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % size]
    fields += [b"00000000000\0", b" " * 8, b"0", bytes(100), b"ustar\x0000", bytes(64), b"0000000\0", b"0000000\0"]
    header = b"".join(fields).ljust(BLOCK, b"\0")
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def archive_members(data: Data) -> dict[str, Member]:
    """Files by name. Refuses every byte that is not a file's content and not exactly what it must be."""
    members: dict[str, Member] = {}
    folded, before, at = set(), "", 0
    if len(data) > ARCHIVE_MAX:
        raise RefusedError("the archive", f"{len(data)} bytes; at most {ARCHIVE_MAX} are read")
    while (block := bytes(data[at : at + BLOCK])) != bytes(BLOCK):
        if len(block) < BLOCK:
            raise RefusedError(f"byte {at + len(block)}", "the archive ends before its end mark")
        try:
            name, size = block[:100].rstrip(b"\0").decode("ascii"), int(block[124:135], 8)
        except ValueError as error:
            raise RefusedError(f"bytes {at} to {at + BLOCK - 1}", f"not a file's header: {error}") from None
        if not SAFE_NAME.fullmatch(name) or {".", ".."} & set(name.split("/")) or size > FILE_MAX or size < 0:
            raise RefusedError(f"bytes {at} to {at + BLOCK - 1}", f"not a file's header: {name!r}, {size} bytes")
        expected = ustar_header(name, size)
        if wrong := [i for i in range(BLOCK) if block[i] != expected[i]]:
            raise RefusedError(f"byte {at + wrong[0]}, in the header of {name}", f"found {block[wrong[0]]:#04x}")
        if name <= before:
            raise RefusedError(f"byte {at}", f"{name} follows {before}; each name stands once, in order")
        parts = name.casefold().split("/")
        if len(members) == FILES_MAX or any("/".join(parts[: i + 1]) in folded for i in range(len(parts))):
            raise RefusedError(f"byte {at}", f"{name} is another but for case, lies in a file, or is one too many")
        if size > len(data) - at - BLOCK:
            raise RefusedError(
                f"byte {at + 124}, in the header of {name}", f"{size} bytes are announced, the file is shorter"
            )
        folded.add(name.casefold())
        members[name], before = Member(at + BLOCK, size), name
        at += BLOCK + size
        _zeros(data, at, at + -at % BLOCK, name)
        at += -at % BLOCK
    _zeros(data, at, at + 2 * BLOCK, "the last file")
    if len(data) != at + 2 * BLOCK:
        raise RefusedError(
            f"byte {at + 2 * BLOCK}", f"{len(data) - at - 2 * BLOCK} bytes follow the end of the archive"
        )
    return members


def _zeros(data: Data, start: int, end: int, after: str) -> None:
    found = bytes(data[start:end])
    if len(found) < end - start:
        raise RefusedError(f"byte {start + len(found)}", "the archive ends before its end mark")
    if stray := found.strip(b"\0"):
        raise RefusedError(
            f"byte {start + found.index(stray[:1])}, after the end of {after}", "found a byte; expected zeros"
        )


# -- 2. JSON: one value, read in one way ------------------------------------------------------------------------------


def parse_json(content: bytes, *, whole: bool = False) -> Any:
    """Strict JSON. Raises ValueError for doubled keys, NaN, integers beyond 2^53-1 and, where numbers must be whole,
    fractions; for half surrogates, and for text that is not in Unicode NFC, which could look like another."""
    hooks: Fields = {"object_pairs_hook": _object, "parse_int": _integer, "parse_constant": _refuse}
    try:
        document = json.loads(content.decode("utf-8"), parse_float=_refuse if whole else float, **hooks)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not content.isascii() or b"\\u" in content:
        _require_text(document)
    return document


def parse_canonical(content: bytes) -> Any:
    """As `parse_json`, for bytes that must be the one form (RFC 8785) of what they hold, with whole numbers only."""
    document = parse_json(content, whole=True)
    if not (content.isascii() and FAST.encode(document).encode() == content) and canonical(document) != content:
        raise ValueError("this JSON is not in its canonical form (RFC 8785)")
    return document


FAST = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)  # right for ASCII


def canonical(value: Any) -> bytes:
    """RFC 8785, for values without fractions."""
    return _canonical(value).encode()


def _canonical(value: Any) -> str:
    if isinstance(value, dict):
        items = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be"))
        return "{" + ",".join(f"{_canonical(name)}:{_canonical(item)}" for name, item in items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _object(pairs: list[tuple[str, Any]]) -> Fields:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError(f"a key stands twice in one object: {sorted(name for name, _ in pairs)}")
    return result


def _refuse(text: str) -> None:
    raise ValueError(f"{text[:40]} is no whole number")


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) >= 2**53:
        raise ValueError(f"the integer {text[:40]} is beyond 2^53-1")
    return int(text)


def _require_text(value: Any) -> None:
    if isinstance(value, str):
        value.encode()  # a half of a surrogate pair has no encoding
        if not unicodedata.is_normalized("NFC", value):
            raise ValueError(f"the text {value[:80]!r} is not in Unicode NFC")
    for item in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ():
        _require_text(item)


def parse_base64(text: str) -> bytes:
    """Standard base64 in its one form: padding bits are zero, no other alphabet, nothing in between."""
    content = base64.b64decode(text, validate=True)
    if base64.b64encode(content).decode() != text:
        raise ValueError("base64 that is not in its canonical form")
    return content


# -- 3. signatures: Ed25519 (RFC 8032) and DSSE -----------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)


def _point(encoded: bytes) -> Point | None:
    """The point (x, y, 1, xy) of 32 bytes, by RFC 8032, 5.1.3; None for bytes that are not the one form of a point."""
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & 2**255 - 1
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * v**3 * pow(u * v**7, (P - 5) // 8, P) % P
    if (v * x * x + u) % P == 0:
        x = x * ROOT_OF_MINUS_1 % P
    if (v * x * x - u) % P or (sign and not x):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def _add(one: Point, two: Point) -> Point:
    (x1, y1, z1, t1), (x2, y2, z2, t2) = one, two
    a, b = (y1 - x1) * (y2 - x2), (y1 + x1) * (y2 + x2)
    c, d = 2 * D * t1 * t2, 2 * z1 * z2
    e, f, g, h = (b - a) % P, (d - c) % P, (d + c) % P, (b + a) % P
    return e * f % P, g * h % P, f * g % P, e * h % P


def _double(point: Point) -> Point:
    x, y, z, _ = point
    a, b = x * x % P, y * y % P
    h, g = a + b, a - b
    e, f = (h - (x + y) ** 2) % P, (2 * z * z + g) % P
    return e * f % P, g * h % P, f * g % P, e * h % P


def of_small_order(encoded: bytes) -> bool:
    """Whether 32 bytes are a point that eight times itself is nothing, in whatever form."""
    y = (int.from_bytes(encoded, "little") & 2**255 - 1) % P
    point = _point(y.to_bytes(32, "little"))
    return point is not None and _double(_double(_double(point)))[0] == 0


ZERO = (0, 1, 1, 0)
BASE = _point((4 * pow(5, -1, P) % P).to_bytes(32, "little")) or ZERO


@lru_cache(maxsize=4096)
def _table(public_key: bytes) -> tuple[Point, ...] | None:
    """(nothing, B, -A, B - A) for a key A; None for a key that is no point or that is of small order: such a key would
    accept a signature over more than one message."""
    if len(public_key) != 32 or (point := _point(public_key)) is None:
        return None
    if _double(_double(_double(point)))[0] == 0:
        return None
    minus = (P - point[0], point[1], 1, P - point[3])
    return ZERO, BASE, minus, _add(BASE, minus)


def ed25519_verifies(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether this is the key's signature: [S]B = R + [k]A, without cofactor, every encoding in its one form."""
    if Ed25519PublicKey is not None and _table(public_key) is not None:
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        except InvalidSignature:
            return False
        return True
    return ed25519_verifies_alone(public_key, signature, message)


def ed25519_verifies_alone(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """The same, in plain Python: about 2 ms."""
    table, s = _table(public_key), int.from_bytes(signature[32:], "little")
    if table is None or len(signature) != 64 or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public_key + message).digest(), "little") % L
    current = ZERO
    for bit in range(252, -1, -1):
        current = _double(current)
        if choice := (s >> bit & 1) | (k >> bit & 1) << 1:
            current = _add(current, table[choice])
    x, y, z, _ = current
    inverse = pow(z, -1, P)
    x, y = x * inverse % P, y * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


def pae(payload_type: str, payload: bytes) -> bytes:
    """What a DSSE signature covers (DSSE v1, protocol)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


Envelope = namedtuple("Envelope", "payload_type payload signatures")


def parse_envelope(content: bytes) -> Envelope:
    """A DSSE envelope of exactly these fields. Raises ValueError."""
    document = parse_json(content)
    if not isinstance(document, dict) or document.keys() != {"payload", "payloadType", "signatures"}:
        raise ValueError("not a DSSE envelope")
    kind, signatures = document["payloadType"], document["signatures"]
    if not isinstance(kind, str) or not isinstance(document["payload"], str) or not isinstance(signatures, list):
        raise ValueError("malformed DSSE envelope")  # noqa: TRY004  all that is malformed is one kind of error here
    if not all(isinstance(s, dict) and isinstance(s.get("sig"), str) and "keyid" in s for s in signatures):
        raise ValueError("malformed DSSE envelope: signatures")
    return Envelope(kind, parse_base64(document["payload"]), [parse_base64(s["sig"]) for s in signatures])


def signed_by(envelope: Envelope, public_key: bytes) -> bool:
    """Whether one of the signatures is this key's; key ids are hints and prove nothing."""
    message = pae(envelope.payload_type, envelope.payload)
    return any(ed25519_verifies(public_key, signature, message) for signature in envelope.signatures)


# -- 4. tree: RFC 6962 over the entries, C2SP tlog-tiles as files -----------------------------------------------------

WIDTH = 256


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\0" + entry)


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right)


def tree_levels(leaves: list[bytes]) -> list[list[bytes]]:
    """Every perfect subtree, level by level; level 0 are the leaves."""
    rows = [leaves]
    while len(row := rows[-1]) > 1:
        rows.append([node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)])
    return rows


def range_root(rows: list[list[bytes]], start: int, end: int) -> bytes:
    """The root over leaves start..end-1, where a subtree of that many leaves may begin at `start`."""
    if start == end:
        return sha256(b"")
    level = (end - start - 1).bit_length()
    if end - start == 1 << level:
        return rows[level][start >> level]
    middle = start + (1 << level - 1)
    return node_hash(range_root(rows, start, middle), range_root(rows, middle, end))


def inclusion_proof(rows: list[list[bytes]], index: int, start: int, end: int) -> list[bytes]:
    """Sibling hashes from the leaf up (RFC 9162, 2.1.3.1)."""
    if end - start == 1:
        return []
    middle = start + (1 << (end - start - 1).bit_length() - 1)
    if index < middle:
        return [*inclusion_proof(rows, index, start, middle), range_root(rows, middle, end)]
    return [*inclusion_proof(rows, index, middle, end), range_root(rows, start, middle)]


def tile_path(level: int | str, index: int, width: int) -> str:
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    name = "/".join(["x" + group for group in groups[:-1]] + groups[-1:])
    return f"ledger/tile/{level}/{name}" + (f".p/{width}" if width < WIDTH else "")


def tile_row(level: int | str, count: int) -> Iterator[tuple[str, int, int]]:
    """(path, first, width) of the tiles that hold `count` hashes or entries of one level."""
    for index in range(-(-count // WIDTH)):
        width = min(WIDTH, count - index * WIDTH)
        yield tile_path(level, index, width), index * WIDTH, width


def hash_tiles(size: int) -> Iterator[tuple[str, int, int, int]]:
    """(path, level of the tree, first, width) of all tiles of a tree."""
    level = 0
    while size:
        for path, first, width in tile_row(level, size):
            yield path, 8 * level, first, width
        size, level = size // WIDTH, level + 1


def parse_entries(content: bytes) -> list[bytes]:
    """The entries of a bundle file: each after its length in two bytes. Raises ValueError."""
    entries, at = [], 0
    while at < len(content):
        end = at + 2 + int.from_bytes(content[at : at + 2], "big")
        if end > len(content) or at + 2 > len(content):
            raise ValueError(f"byte {at}: an entry does not fit in the {len(content)} bytes there are")
        entries.append(content[at + 2 : end])
        at = end
    return entries


# -- 5. notes: what a log and its witnesses sign ----------------------------------------------------------------------

WHOLE = re.compile(r"0|[1-9][0-9]{0,18}")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
LOG_KEY, COSIGNATURE, MLDSA_COSIGNATURE = 1, 4, 6
Key = namedtuple("Key", "name kind id bytes")
Note = namedtuple("Note", "text signatures")
Checkpoint = namedtuple("Checkpoint", "origin size root")


def is_key_name(text: str) -> bool:
    return bool(text) and "+" not in text and not any(c.isspace() or CONTROL.match(c) for c in text)


def parse_vkey(text: str) -> Key:
    """A key out of `name+keyid+base64`. Raises ValueError when the key id is not this key's."""
    name, _, rest = text.partition("+")
    keyid, _, encoded = rest.partition("+")
    content = parse_base64(encoded)
    kind, key = content[:1], content[1:]
    if not is_key_name(name) or len(key) != {b"\1": 32, b"\4": 32, b"\6": 1312}.get(kind):
        raise ValueError(f"{text[:80]!r} is not a verifier key of a known kind")
    if (expected := sha256(name.encode() + b"\n" + kind + key)[:4]).hex() != keyid:
        raise ValueError(f"the key id of {name!r} is {expected.hex()}, its vkey says {keyid!r}")
    return Key(name, kind[0], expected, key)


def parse_note(content: bytes) -> Note:
    """A signed note: text and (name, key id, signature) lines. Raises ValueError."""
    text = content.decode("utf-8")
    body, empty, below = text.rpartition("\n\n")
    lines = below.split("\n")
    if CONTROL.search(text) or not body or not empty or lines.pop() or not 0 < len(lines) <= 100:
        raise ValueError("not a signed note")
    signatures = []
    for line in lines:
        dash, name, encoded = [*line.split(" ", 2), "", ""][:3]
        blob = parse_base64(encoded)
        if dash != "\N{EM DASH}" or not is_key_name(name) or len(blob) < 5:
            raise ValueError(f"not a signature line: {line[:80]!r}")
        signatures.append((name, blob[:4], blob[4:]))
    return Note(body + "\n", signatures)


def parse_checkpoint(text: str) -> Checkpoint:
    """Origin, size and root, of a note's text. Raises ValueError."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() or not all(lines) or not WHOLE.fullmatch(lines[1]):
        raise ValueError(f"not a checkpoint: {lines[:3]}")
    root = parse_base64(lines[2])
    if len(root) != 32:
        raise ValueError(f"a root of {len(root)} bytes")
    return Checkpoint(lines[0], int(lines[1]), root)


def signature_of(note: Note, key: Key) -> bytes | None:
    """The key's own verified signature under a note, or None. Raises ValueError when a line falsely claims to be it."""
    own = [blob for name, keyid, blob in note.signatures if (name, keyid) == (key.name, key.id)]
    for blob in own:
        if not _note_verifies(note.text, key, blob):
            raise ValueError(f"the signature of {key.name!r} does not match the note")
    return own[0] if own else None


def _note_verifies(text: str, key: Key, blob: bytes) -> bool:
    if key.kind == LOG_KEY:
        return ed25519_verifies(key.bytes, blob, text.encode())
    time, blob = int.from_bytes(blob[:8], "big"), blob[8:]
    if time >= 2**63:
        return False
    if key.kind == COSIGNATURE:
        return ed25519_verifies(key.bytes, blob, f"cosignature/v1\ntime {time}\n{text}".encode())
    raise ImportError("it signs with ML-DSA-44, which only the wheel checks")


def open_checkpoint(content: bytes, log_key: Key) -> Checkpoint:
    """The checkpoint in a note that the log signed. Raises ValueError."""
    note = parse_note(content)
    if signature_of(note, log_key) is None:
        carried = ", ".join(f"{name}+{keyid.hex()}" for name, keyid, _ in note.signatures)
        raise ValueError(f"not signed by {log_key.name}+{log_key.id.hex()}; it carries {carried}")
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != log_key.name:
        raise ValueError(f"a checkpoint of {checkpoint.origin!r} under the key of {log_key.name!r}")
    return checkpoint


Trust = namedtuple("Trust", "logs witnesses groups quorum domains")  # domains: by the bytes of a key


def parse_trust(content: bytes) -> Trust:
    """A trust policy (C2SP tlog-policy); a comment `# domain: NAME` says who runs what the next line names. Raises
    ValueError."""
    if re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", content) or not content.endswith(b"\n"):
        raise ValueError("a trust policy holds no control characters and ends in a newline")
    logs: list[Key] = []
    witnesses: dict[str, Key] = {}
    groups: dict[str, tuple[int, list[str]]] = {}
    domains: dict[bytes, str] = {}
    members: set[str] = set()
    quorum, domain = None, ""
    for line in content.decode("utf-8", "surrogateescape").split("\n"):
        above, domain = domain, ""
        known = witnesses.keys() | groups.keys()
        word, *rest = [item for item in re.split(r"[ \t]+", line) if item] or ["#"]
        if told := re.fullmatch(r"[ \t]*#[ \t]*domain:(.*)", line):
            domain = " ".join(unicodedata.normalize("NFKC", told[1]).casefold().split())
            if not domain:
                raise ValueError("`# domain:` without a name")
        elif word.startswith("#"):
            continue
        elif word == "log" and len(rest) in (1, 2) and (key := parse_vkey(rest[0])).kind != COSIGNATURE:
            if key.bytes in [log.bytes for log in logs]:
                raise ValueError(f"a trust policy has each key once: {line[:80]!r}")
            logs.append(key)
            domains[key.bytes] = above
        elif word == "witness" and len(rest) in (2, 3) and rest[0] not in known | {"none"}:
            key = witnesses[rest[0]] = parse_vkey(rest[1])
            if key.kind == LOG_KEY or [witness.bytes for witness in witnesses.values()].count(key.bytes) > 1:
                raise ValueError(f"a witness has a key of kind 4 or 6, each once: {line[:80]!r}")
            if key.bytes not in [log.bytes for log in logs]:
                domains[key.bytes] = above
        elif word == "group" and len(rest) > 2 and rest[0] not in known | {"none"} and known.issuperset(rest[2:]):
            count = {"any": 1, "all": len(rest) - 2}.get(rest[1]) or int(rest[1] if WHOLE.fullmatch(rest[1]) else 0)
            if not 1 <= count <= len(rest) - 2 or members & set(rest[2:]) or len(set(rest[2:])) < len(rest) - 2:
                raise ValueError(f"a group asks for 1 to all of members that are in no other: {line[:80]!r}")
            members |= set(rest[2:])
            groups[rest[0]] = (count, rest[2:])
        elif word == "quorum" and len(rest) == 1 and quorum is None and rest[0] in known | {"none"}:
            quorum = rest[0]
        else:
            raise ValueError(f"a trust policy has no such line, or not here: {line[:80]!r}")
    if quorum is None:
        raise ValueError("a trust policy has a quorum line")
    return Trust(logs, witnesses, groups, quorum, domains)


def quorum_holds(trust: Trust, seen: set[str], name: str | None = None) -> bool:
    """Whether the witnesses in `seen` are enough."""
    name = trust.quorum if name is None else name
    if name == "none" or name in trust.witnesses:
        return bool(name == "none" or name in seen)
    count, members = trust.groups[name]
    return bool(sum(quorum_holds(trust, seen, member) for member in members) >= count)


# -- 6. what an event is ----------------------------------------------------------------------------------------------

EVENT_TYPE = "application/vnd.pruneguard.event+json"
PROOF_TYPE = "application/vnd.pruneguard.key-proof"
MONITOR = "monitor"  # the service itself, which has no key
ROLES = {"engineer", "approver", "operator", "auditor", "admin"}

# Type: the digests it names (* a list of them) | the fields it has (? may be absent). It may name more of both.
CATALOGUE = """
ledger.opened       | | origin:text
key.registered      | | actor:name person:name public_key:key roles:roles
key.rotated         | | actor:name public_key:key proof:signature
key.revoked         | | actor:name reason:text
role.granted        | | actor:name roles:roles
role.revoked        | | actor:name roles:roles reason:text
policy.adopted      | policy | name:name version:number approvals_min:number server_attested:flag waivers:flag \
                      on_decay:action on_lapse:action steps:steps
run.started         | manifest | run:name model:name
run.finished        | | run:name model:name outcome:text
data.admitted       | data evidence | run:name model:name
model.trained       | model data | run:name model:name
model.pruned        | model parent data lineage | run:name model:name recipe:object
attempt.failed      | | run:name model:name recipe:object reason:words too_mild:flag
verdict.given       | model parent data policy verdict evidence* | run:name model:name split:split passed:flag \
                      rules:count objections:objections
gates.self_tested   | policy report | run:name model:name refused:count of:number
gates.drilled       | policy report | refused:count of:number clean_passed:count clean_of:number
waiver.granted      | model verdict | model:name rule:text reason:text control:text expires:time \
                      before:score after:score
release.proposed    | model verdict | model:name number:number
release.approved    | model | model:name number:number reason:text assurance:level?
traffic.shifted     | model | model:name number:number share:share requests:count? assurance:level?
traffic.copied      | model | model:name number:number share:share? assurance:level?
traffic.diverted    | | model:name to:number? reason:text assurance:level?
traffic.restored    | | model:name reason:text assurance:level?
release.held        | model | model:name number:number reason:text assurance:level?
release.resumed     | model | model:name number:number reason:text assurance:level?
release.rolled_back | model | model:name number:number to:number reason:text alarm:identifier? assurance:level?
batch.sealed        | model batch | model:name number:number rows:count
drift.reported      | model report | model:name number:number drifted:count
alarm.raised        | model | model:name number:number detector:text cause:text evidence:object waiver:identifier?
document.attached   | | framework:text control:text title:text statement:words expires:time? model:name?
hold.placed         | | hold:name scope:scope reason:text
hold.lifted         | | hold:name reason:text
retention.applied   | | class:class before:time entries:ranges reason:text
subject.described   | | person:name commitments:commitments
subject.erased      | | commitments:commitments basis:text
token.issued        | secret | token:name holder:name acts:acts models:models per_second:number expires:time reason:text
token.revoked       | | token:name reason:text
access.denied       | calls | since:time until:time reasons:counts
"""
SHAPES = {kind: (refs.split(), data.split()) for kind, refs, data in
          ([part.strip() for part in line.split("|")] for line in CATALOGUE.strip().splitlines())}  # fmt: skip

CLICKS = {"release.approved", "release.rolled_back", "release.held", "release.resumed", "traffic.shifted",
          "traffic.copied", "traffic.diverted", "traffic.restored"}  # may come unsigned, and then say so  # fmt: skip
UNSIGNED = {"ledger.opened", "run.finished", "data.admitted", "model.trained", "model.pruned", "attempt.failed",
            "verdict.given", "gates.self_tested", "batch.sealed", "drift.reported", "alarm.raised",
            "access.denied"}  # fmt: skip
TELEMETRY = {
    "batch.sealed": 1_000,
    "drift.reported": 100,
    "access.denied": 100,
}  # and of how many the causation ids are remembered


def is_words(value: Any) -> bool:
    """Text of bounded length that holds no control character but newline and tab."""
    return isinstance(value, str) and len(value) <= 4000 and not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", value)


def is_text(value: Any) -> bool:
    return is_words(value) and bool(value.strip())


def is_whole(value: Any, least: int) -> bool:
    return type(value) is int and value >= least


def is_time(value: Any) -> bool:
    if not matches(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")(value):
        return False
    try:
        return bool(moment(value))
    except ValueError:
        return False


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text[:-1])


def matches(pattern: str) -> Holds:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def one_of(*values: str) -> Holds:
    return lambda value: isinstance(value, str) and value in values


def list_of(holds: Holds) -> Holds:
    return lambda value: (
        isinstance(value, list) and bool(value) and all(map(holds, value)) and len(set(value)) == len(value)
    )


def is_encoded(value: Any, size: int) -> bool:
    try:
        return isinstance(value, str) and len(parse_base64(value)) == size
    except ValueError:
        return False


def is_ranges(value: Any) -> bool:
    """[[start, end), ...]: none empty, in order, none touching the next."""
    if not isinstance(value, list) or not value:
        return False
    if not all(isinstance(p, list) and len(p) == 2 and is_whole(p[0], 0) and is_whole(p[1], p[0] + 1) for p in value):
        return False
    return all(before[1] < after[0] for before, after in pairwise(value))


def is_objections(value: Any) -> bool:
    outcomes = ("failed", "underpowered", "no evidence")
    return isinstance(value, dict) and all(is_text(rule) and value[rule] in outcomes for rule in value)


def is_counts(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(is_text(k) and is_whole(value[k], 1) for k in value)


def is_steps(value: Any) -> bool:
    """Shares below 1 that grow, each with the requests and seconds that it is kept for."""
    names = {"share", "requests_min", "seconds_min"}
    if not isinstance(value, list) or not value or not all(isinstance(s, dict) and s.keys() == names for s in value):
        return False
    if not all(is_whole(step["requests_min"], 1) and is_whole(step["seconds_min"], 0) for step in value):
        return False
    shares = [step["share"] for step in value]
    is_part = matches(r"0\.[0-9]{0,11}[1-9]")
    return all(map(is_part, shares)) and all(float(before) < float(after) for before, after in pairwise(shares))


is_digest = matches("sha256:[0-9a-f]{64}")
is_name = matches("[a-z0-9][a-z0-9._-]{0,63}")
is_identifier = matches("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
KINDS = {
    "name": is_name,
    "identifier": is_identifier,
    "time": is_time,
    "text": is_text,
    "words": is_words,
    "number": lambda value: is_whole(value, 1),
    "count": lambda value: is_whole(value, 0),
    "flag": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "share": matches(r"0\.[0-9]{0,11}[1-9]|1"),
    "score": matches(r"(0|[1-9][0-9]{0,8})/[1-9][0-9]{0,8}"),
    "key": lambda value: is_encoded(value, 32) and not of_small_order(base64.b64decode(value)),
    "signature": lambda value: is_encoded(value, 64),
    "roles": list_of(one_of(*ROLES)),
    "objections": is_objections,
    "steps": is_steps,
    "ranges": is_ranges,
    "commitments": list_of(matches("[0-9a-f]{64}")),
    "acts": list_of(one_of("infer", "labels", "operate", "metrics")),
    "models": lambda value: value == ["*"] or list_of(is_name)(value),
    "counts": is_counts,
    "scope": lambda value: (
        one_of("all", "telemetry", "decisions")(value) or (matches("subject:.*")(value) and is_name(value[8:]))
    ),
    "class": one_of("telemetry", "decisions"),
    "action": one_of("roll back", "notify"),
    "level": one_of("server-attested"),
    "split": one_of("gate", "release"),
}

Entry = namedtuple("Entry", "type id time actor refs data causation ledger envelope")


def parse_entry(content: bytes) -> Entry:
    """An entry: an event's bytes, or an envelope around them with its actor's signature. Raises ValueError."""
    envelope = None
    if content.startswith(b'{"payload":'):
        envelope = parse_envelope(content)
        if envelope.payload_type != EVENT_TYPE or len(envelope.signatures) != 1:
            raise ValueError(f"an envelope of {envelope.payload_type!r} with {len(envelope.signatures)} signatures")
    event = parse_canonical(envelope.payload if envelope else content)
    names = {"v", "type", "id", "time", "actor", "refs", "data", "causation", "ledger"}
    if not isinstance(event, dict) or event.keys() != names or type(event["v"]) is not int or event["v"] != 1:
        raise ValueError("not an event of version 1")
    if event["type"] not in SHAPES:
        raise ValueError(f"unknown event type {event['type']!r}")
    if not (is_identifier(event["id"]) and is_name(event["actor"]) and is_time(event["time"])):
        raise ValueError(f"id, actor and time are {event['id']!r}, {event['actor']!r} and {event['time']!r}")
    if not isinstance(event["ledger"], str) or not (event["causation"] is None or is_text(event["causation"])):
        raise ValueError(f"ledger is {event['ledger']!r}, causation {event['causation']!r}")
    if not isinstance(event["refs"], dict) or not isinstance(event["data"], dict):
        raise ValueError("refs and data must be objects")  # noqa: TRY004
    if len(envelope.payload if envelope else content) > 60_000:
        raise ValueError(f"{len(content)} bytes; an entry holds 60000")
    return Entry(**{name: event[name] for name in names - {"v"}}, envelope=envelope)


def misshapen(entry: Entry) -> Iterator[str]:
    """What in an event's digests and fields is not of the kind that the catalogue names."""
    refs, fields = SHAPES[entry.type]
    for name in [name.rstrip("*") for name in refs]:
        if name not in entry.refs:
            yield f"{name} is missing"
    for name, value in entry.refs.items():
        if name + "*" in refs:
            if not isinstance(value, list) or not all(map(is_digest, value)):
                yield f"{name} is not a list of digests"
        elif not is_digest(value):
            yield f"{name} is not a digest"
    for field in fields:
        name, _, kind = field.partition(":")
        value = entry.data.get(name)
        if not (value is None and kind.endswith("?")) and not KINDS[kind.rstrip("?")](value):
            yield f"{name} is {str(value)[:60]!r}; expected {kind}"


# -- 7. who may do what: the numbered rules of `pruneguard/ledger/rules.py`, written a second time --------------------


class Fold(SimpleNamespace):
    """State after the entries so far. A rule yields, for each thing that could be wrong, what is wrong or nothing; and
    last, as a function, what the event changes, which is called only when nothing was wrong."""

    clock: str  # the latest time of any entry that took effect
    MAPPINGS = (
        *("keys", "person", "roles"),  # by actor; a revoked key is None
        *("terms", "in_force", "adopted_by"),  # of policies: by digest, by name, by digest
        *("runs", "makers", "verdicts", "waivers", "releases", "alarms"),  # releases: by model, then number
        *(
            "diverted",
            "holds",
            "subject_of",
            "tokens",
            "remembered",
        ),  # tokens: holder, and whether it ended; remembered: causation ids of the newest telemetry
    )
    SETS = (
        *("keys_ever", "signed_ids", "causations", "ever_in_force", "alarmed_waivers", "erased", "served"),
        *("telemetry", "dropped", "bodiless"),  # positions
    )

    def __init__(self) -> None:
        nothing: dict[str, Any] = {name: {} for name in self.MAPPINGS} | {name: set() for name in self.SETS}
        super().__init__(size=0, id="", origin="", clock="", now="", clocks=[], history=[], **nothing)

    def take(self, entry: Entry | None) -> tuple[list[str], list[str]]:
        """Fold the next entry: ([what is wrong with its signature], [what else is wrong]). None is a dropped body."""
        unsigned: list[str] = []
        forbidden: list[str] = []
        changes: list[Callable[[], None]] = []
        if entry is None:
            self.telemetry.add(self.size)
            self.bodiless.add(self.size)
        elif not (forbidden := list(misshapen(entry))):
            self.now = max(self.clock, entry.time)
            unsigned = list(filter(None, self._signature(entry)))
            rule = getattr(self, "_" + entry.type.replace(".", "_"))
            for found in filter(None, (*self._place(entry), *rule(entry, entry.data, entry.refs))):
                (changes if callable(found) else forbidden).append(found)
            if not unsigned and not forbidden:
                self._effect(entry, changes)
        self.size += 1
        if self.size % WIDTH == 0:
            self.clocks.append(self.clock)
        return unsigned, forbidden

    def _effect(self, entry: Entry, changes: list[Any]) -> None:
        self.clock = self.now
        for change in changes:
            change()
        if entry.envelope is not None:
            self.signed_ids.add(entry.id)
        if entry.causation is not None:
            self.causations.add(entry.causation)
        if entry.type in TELEMETRY:
            self.telemetry.add(self.size)
            newest = self.remembered.setdefault((entry.type, entry.data.get("model")), deque())
            newest.append((self.size, entry.causation))
            if len(newest) > TELEMETRY[entry.type]:
                self.causations.discard(newest.popleft()[1])

    def _signature(self, entry: Entry) -> Found:  # rules 4 and 5
        key = self.keys.get(entry.actor)
        if entry.envelope is None:
            yield entry.type not in UNSIGNED | CLICKS and "only a person's own signature makes this event; it has none"
            return
        if entry.type == "key.registered" and not self.keys:
            key = entry.data["public_key"]
        if key is None:
            yield f"{entry.actor!r} has no key"
        elif not signed_by(entry.envelope, base64.b64decode(key)):
            yield f"the signature is not {entry.actor!r}'s"
        elif entry.ledger != self.id:
            yield f"signed for the ledger {entry.ledger!r}, and this one is {self.id!r}"
        elif entry.id in self.signed_ids:
            yield "this very act has happened already"

    def _place(self, entry: Entry) -> Found:  # rules 1, 3 and 5
        yield not self.id and entry.type != "ledger.opened" and "this ledger was not opened yet"
        yield entry.causation in self.causations and f"{entry.causation!r} has happened already"
        if entry.type in CLICKS:
            click = entry.envelope is None and entry.actor != MONITOR
            if click != (entry.data.get("assurance") is not None):
                yield "assurance is said exactly of a person's act without a signature"

    def _ledger_opened(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        if self.id or entry.envelope is not None or entry.actor != MONITOR:
            yield "a ledger is opened once, by the service, unsigned"
        yield lambda: self.__dict__.update(id=entry.id, origin=data["origin"])

    # people

    def _may(self, actor: str, *roles: str) -> Found:
        yield not self.roles.get(actor, set()) & set(roles) and f"{actor!r} is not an {' or '.join(roles)}"

    def _another_admin(self, entry: Entry, person: str | None) -> Found:
        yield from self._may(entry.actor, "admin")
        yield self.person.get(entry.actor) == person and "nobody's roles are their own to give or take"

    def _roles_of_person(self, person: str) -> set[str]:
        return set().union(*[self.roles[actor] for actor, owner in self.person.items() if owner == person])

    def _not_both(self, person: str, roles: Iterable[str]) -> Found:
        if {"admin", "approver"} <= self._roles_of_person(person) | set(roles):
            yield "nobody is admin and approver at once"

    def _not_last_admin(self, actor: str) -> Found:
        if [other for other, roles in self.roles.items() if "admin" in roles] == [actor]:
            yield f"{actor!r} is the last admin"

    def _fresh_key(self, key: str) -> Found:
        yield key in self.keys_ever and "this key was somebody's before"

    def _key_registered(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        actor, person, roles = data["actor"], data["person"], data["roles"]
        if not self.keys:
            if actor != entry.actor or "admin" not in roles:
                yield "the first key is its own actor's, with the role admin"
        else:
            yield from self._another_admin(entry, person)
        if self.keys.get(actor) is not None or self.person.get(actor, person) != person:
            yield f"{actor!r} has a key, or was another person's"
        for name, others in ((actor, self.person), (person, self.person.values())):
            if name == MONITOR or any(_look(name) == _look(other) for other in {MONITOR, *others} - {name}):
                yield f"{name!r} is, or looks like, another's name"
        yield from self._fresh_key(data["public_key"])
        yield from self._not_both(person, roles)

        def change() -> None:
            self.keys[actor], self.person[actor], self.roles[actor] = data["public_key"], person, set(roles)
            self.keys_ever.add(data["public_key"])

        yield change

    def _key_rotated(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield data["actor"] != entry.actor and "a key is rotated by its own actor"
        yield from self._fresh_key(data["public_key"])
        said = canonical({"ledger": self.id, "actor": data["actor"], "public_key": data["public_key"]})
        key, proof = base64.b64decode(data["public_key"]), base64.b64decode(data["proof"])
        yield not ed25519_verifies(key, proof, pae(PROOF_TYPE, said)) and "the proof is not the new key's"

        def change() -> None:
            self.keys[entry.actor] = data["public_key"]
            self.keys_ever.add(data["public_key"])

        yield change

    def _key_revoked(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        actor = data["actor"]
        if actor != entry.actor:
            yield from self._may(entry.actor, "admin")
        yield self.keys.get(actor) is None and f"{actor!r} has no key"
        yield from self._not_last_admin(actor)
        held = {name: (actor, True) for name, (holder, _) in self.tokens.items() if holder == actor}
        yield lambda: (self.keys.update({actor: None}), self.roles.update({actor: set()}), self.tokens.update(held))

    def _role_granted(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        actor, roles = data["actor"], set(data["roles"])
        if self.keys.get(actor) is None:
            yield f"{actor!r} has no key"
            return
        yield from self._another_admin(entry, self.person[actor])
        yield roles & self.roles[actor] and "some of these roles are there already"
        yield from self._not_both(self.person[actor], roles)
        yield lambda: self.roles[actor].update(roles)

    def _role_revoked(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        actor, roles = data["actor"], set(data["roles"])
        yield from self._another_admin(entry, self.person.get(actor))
        yield not roles <= self.roles.get(actor, set()) and "some of these roles are not there"
        if "admin" in roles:
            yield from self._not_last_admin(actor)
        yield lambda: self.roles[actor].difference_update(roles)

    def _policy_adopted(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        name, policy, person = data["name"], refs["policy"], self.person.get(entry.actor)
        yield from self._may(entry.actor, "approver")
        terms = SimpleNamespace(digest=policy, **{field: data[field] for field in TERMS})
        yield self.terms.get(policy, terms) != terms and "this policy was adopted with other terms"
        current = self.terms.get(self.in_force.get(name))
        if current is not None and current.digest != policy:
            yield terms.version <= current.version and f"version {current.version} is in force already"
            yield person in self.adopted_by.get(policy, ()) and f"{person!r} has adopted it already"

        def change() -> None:
            self.terms[policy] = terms
            persons = self.adopted_by.setdefault(policy, set())
            persons.add(person)
            if current is None or len(persons) >= current.approvals_min:
                self.in_force[name] = policy
                self.ever_in_force.add(policy)

        yield change

    # runs and releases

    def _run_started(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield from self._may(entry.actor, "engineer")
        yield data["run"] in self.runs and f"run {data['run']!r} exists already"

        def change() -> None:
            self.runs[data["run"]] = SimpleNamespace(
                model=data["model"], ended=False, makers={self.person.get(entry.actor)}
            )
            self.releases.setdefault(data["model"], {})

        yield change

    def _work(self, entry: Entry, *, maker: bool = True) -> Found:
        yield from self._may(entry.actor, "engineer")
        run = self.runs.get(entry.data["run"])
        if run is None or run.model != entry.data["model"] or run.ended:
            yield f"run {entry.data['run']!r} is not known, has ended, or is about another model"
        elif maker:
            yield lambda: run.makers.add(self.person[entry.actor])

    def _run_finished(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield from self._work(entry, maker=False)
        yield lambda: setattr(self.runs[data["run"]], "ended", True)

    def _attempt_failed(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield from self._work(entry)

    def _made(self, entry: Entry, made: str, *of: str) -> Callable[[], None]:
        makers = {self.person.get(entry.actor)}.union(*[self.makers.get(one, set()) for one in of])
        return lambda: self.makers.setdefault(made, set()).update(makers)

    def _known(self, *digests: str) -> Found:
        for one in digests:
            yield one not in self.makers and f"no run on record made {one}"

    def _data_admitted(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield from self._work(entry)
        yield self._made(entry, refs["data"])

    def _model_trained(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        sources = [refs[name] for name in ("data", "parent") if name in refs]
        yield from self._work(entry)
        yield from self._known(*sources)
        yield self._made(entry, refs["model"], *sources)

    _model_pruned = _model_trained

    def _was_in_force(self, policy: str) -> Found:
        yield policy not in self.ever_in_force and f"policy {policy} was never in force"

    def _verdict_given(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield from self._work(entry)
        yield from self._was_in_force(refs["policy"])
        yield from self._known(refs["model"], refs["parent"], refs["data"])
        if data["passed"] is not (data["rules"] > 0 and not data["objections"]):
            yield f"passed is {data['passed']}, with {len(data['objections'])} objections of {data['rules']} rules"
        yield len(data["objections"]) > data["rules"] and "more objections than rules"
        verdict = SimpleNamespace(run=data["run"], candidate=refs["model"], twin=refs["parent"], data=refs["data"],
                         policy=refs["policy"], split=data["split"], passed=data["passed"], rules=data["rules"],
                         objections=data["objections"])  # fmt: skip
        yield lambda: self.verdicts.setdefault((data["model"], refs["verdict"]), verdict)

    def _gates_self_tested(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield from self._work(entry, maker=False)
        yield from self._was_in_force(refs["policy"])
        yield data["refused"] > data["of"] and "refused more than there were"

    def _gates_drilled(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield from self._may(entry.actor, "engineer")
        yield from self._was_in_force(refs["policy"])
        yield data["refused"] > data["of"] and "refused more than there were"
        yield data["clean_passed"] > data["clean_of"] and "passed more than there were"

    def _makers_behind(self, verdict: SimpleNamespace) -> set[str | None]:
        parts = (self.makers.get(one, set()) for one in (verdict.candidate, verdict.twin, verdict.data))
        return set().union(self.runs[verdict.run].makers, *parts)

    def _release_verdict(self, data: Fields, refs: Fields) -> tuple[SimpleNamespace | None, list[str]]:
        """The verdict an event names, and what is wrong with resting on it."""
        verdict = self.verdicts.get((data["model"], refs["verdict"]))
        if verdict is None:
            return None, [f"no verdict {refs['verdict']} on {data['model']!r}"]
        wrong = []
        if verdict.candidate != refs["model"]:
            wrong.append("the verdict is about another candidate")
        if verdict.split != "release":
            wrong.append(f"the verdict rests on the {verdict.split!r} split")
        return verdict, wrong

    def _waiver_granted(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        person = self.person.get(entry.actor)
        yield from self._may(entry.actor, "approver")
        verdict, wrong = self._release_verdict(data, refs)
        yield from wrong
        if verdict is None:
            return
        yield person in self._makers_behind(verdict) and f"{entry.actor!r} had a part in what is to be waived"
        if verdict.objections.get(data["rule"], "no evidence") == "no evidence":
            yield f"the verdict has no objection to {data['rule']!r} that could be waived"
        yield not self.terms[verdict.policy].waivers and "the policy allows no waivers"
        if not data["expires"] > self.now or moment(data["expires"]) - moment(self.now) > timedelta(days=90):
            yield f"expires {data['expires']}, and it is {self.now}: at most 90 days"
        passed = verdict.rules - len(verdict.objections)
        if (data["before"], data["after"]) != (f"{passed}/{verdict.rules}", f"{passed + 1}/{verdict.rules}"):
            yield "the scores before and after are others"
        before = self.waivers.get((refs["model"], data["rule"]))
        yield before is not None and before.person == person and "a waiver is extended by somebody else"
        waiver = SimpleNamespace(id=entry.id, person=person, expires=data["expires"], rule=data["rule"])
        yield lambda: self.waivers.update({(refs["model"], data["rule"]): waiver})

    def _lapsed(self, digest: str, rules: Iterable[str]) -> list[str]:
        return [rule for rule in rules if self.waivers[digest, rule].expires <= self.now]

    def _release_proposed(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield from self._may(entry.actor, "engineer")
        verdict, wrong = self._release_verdict(data, refs)
        yield from wrong
        if data["number"] != len(self.releases.get(data["model"], {})) + 1:
            yield f"{data['number']} is not the model's next number"
        if verdict is None:
            return
        terms = self.terms[verdict.policy]
        yield self.in_force[terms.name] != verdict.policy and "the verdict's policy was replaced"
        if not verdict.passed:
            measured = [rule for rule, outcome in verdict.objections.items() if outcome != "no evidence"]
            waived = [rule for rule in measured if (verdict.candidate, rule) in self.waivers]
            if not verdict.objections or not terms.waivers or len(waived) < len(verdict.objections):
                yield "the verdict is a no, and not everything in it is waived"
            elif self._lapsed(verdict.candidate, waived):
                yield "a waiver has lapsed"
        makers = self._makers_behind(verdict) | {self.person.get(entry.actor)}
        release = SimpleNamespace(number=data["number"], model=data["model"], digest=verdict.candidate, makers=makers)
        rests_on = {"verdict": refs["verdict"], "policy": verdict.policy, "waived": list(verdict.objections)}
        binding = [terms, *self._left_behind(data["model"], terms.name)]
        if not verdict.passed:
            yield (
                not all(policy.waivers for policy in binding)
                and "the policy that the model comes from takes no waivers"
            )
        asked = {"needed": max(p.approvals_min for p in binding), "clicks": all(p.server_attested for p in binding)}
        release.__dict__.update(rests_on, **asked, approvals=[], status="proposed", share="0", live_at=None)
        release.__dict__.update(since="", held=False, shadow=False)
        yield lambda: self.releases[data["model"]].update({data["number"]: release})

    def _left_behind(self, model: str, name: str) -> list[SimpleNamespace]:
        """The policy in force under the name of that of the model's newest approved release, if it is another name."""
        approved = [r for r in self.releases.get(model, {}).values() if r.status != "proposed"]
        before = self.terms[approved[-1].policy].name if approved else name
        return [self.terms[self.in_force[before]]] if before != name else []

    def _release(self, data: Fields, refs: Fields) -> SimpleNamespace | None:
        release = self.releases.get(data["model"], {}).get(data["number"])
        return release if release is not None and release.digest == refs["model"] else None

    def _release_approved(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        person = self.person.get(entry.actor)
        yield from self._may(entry.actor, "approver")
        if (release := self._release(data, refs)) is None:
            yield "no such release"
            return
        yield person in release.makers and f"{entry.actor!r} made this release"
        yield any(person == by for by, *_ in release.approvals) and f"{entry.actor!r} has approved it already"
        yield release.status != "proposed" and f"release {release.number} is {release.status}"
        yield self._lapsed(release.digest, release.waived) and "a waiver has lapsed"
        yield entry.envelope is None and not release.clicks and "a policy that binds it asks for a signature"

        def change() -> None:
            release.approvals.append((person, entry.actor, "server-attested" if entry.envelope is None else "signed"))
            if len(release.approvals) >= release.needed:
                release.status = "approved"

        yield change

    def _traffic_shifted(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        if entry.actor != MONITOR:
            yield from self._may(entry.actor, "operator")
        if (release := self._release(data, refs)) is None:
            yield "no such release"
            return
        if release.status not in ("approved", "canary"):
            yield f"release {release.number} is {release.status}"
        else:
            yield from self._next_step(entry, release)
        yield release.held and "it is held"
        yield data["model"] in self.diverted and "the model's traffic is diverted"
        if any(r.status == "canary" and r is not release for r in self.releases[data["model"]].values()):
            yield "another release is in canary"
        yield self._lapsed(release.digest, release.waived) and "a waiver has lapsed"
        if entry.actor != MONITOR and entry.envelope is None and not release.clicks:
            yield "a policy that binds it asks for a signature"

        def change() -> None:
            self.served.add((data["model"], data["number"]))
            release.status, release.share, release.since, release.shadow = "canary", data["share"], self.now, False
            if data["share"] == "1":
                self._retire(self._live(data["model"]))
                release.status, release.live_at = "live", self.size
            self._note(data["model"])

        yield change

    def _next_step(self, entry: Entry, release: SimpleNamespace) -> Found:
        steps, has, share = self.terms[release.policy].steps, float(release.share), float(entry.data["share"])
        shares = [float(step["share"]) for step in steps]
        allowed = {one for one in shares if one < has} | {min([one for one in shares if one > has], default=1)}
        if self._live(release.model) is None:
            allowed.add(1)
        yield share not in allowed and f"its policy has no step from {has:g} to {share:g}"
        if 0 < has < share:
            step = steps[shares.index(has)]
            if (moment(self.now) - moment(release.since)).total_seconds() < step["seconds_min"]:
                yield f"it has not stood at {has:g} for {step['seconds_min']} s"
            if entry.actor == MONITOR:
                counted = "comparison" in entry.refs and entry.data.get("requests") is not None
                yield not counted and "nothing was compared"
                yield counted and entry.data["requests"] < step["requests_min"] and "it has not answered enough"

    def _live(self, model: str) -> SimpleNamespace | None:
        return next((r for r in self.releases[model].values() if r.status == "live"), None)

    def _retire(self, release: SimpleNamespace | None, status: str = "retired") -> None:
        if release is not None:
            release.status, release.share = status, "0"

    def _note(self, model: str) -> None:
        answering = [(r.number, r.share) for r in self.releases[model].values() if r.status in ("live", "canary")]
        if model in self.diverted:
            answering = [] if self.diverted[model] is None else [(self.diverted[model], "1")]
        self.history.append((self.now, self.size, model, answering))

    def _release_rolled_back(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        if (release := self._release(data, refs)) is None:
            yield "no such release"
            return
        terms = self.terms[release.policy]
        if entry.actor == MONITOR:
            alarm = self.alarms.get(data.get("alarm"))
            if alarm is None or alarm[:2] != (data["model"], data["number"]):
                yield "no alarm about this release"
            elif alarm[2] == "canary":
                yield release.status != "canary" and "it was compared as a canary, and is none"
            elif (terms.on_lapse if alarm[2] == "waiver" else terms.on_decay) != "roll back":
                yield "the policy does not let the service roll back for this"
        else:
            yield from self._may(entry.actor, "operator")
        gave_way = [r for r in self.releases[data["model"]].values() if r.status == "retired"]
        target = None
        if release.status == "canary":
            target = self._live(data["model"])
        elif release.status == "live":
            target = max(gave_way, key=lambda r: r.live_at, default=None)
        if target is None or target.number != data["to"]:
            yield f"release {release.number} is {release.status}; there is no way back from it to {data['to']}"

        def change() -> None:
            self._retire(release, "rolled back")
            release.held = False
            if target is not None and self.diverted.get(data["model"]) == release.number:
                self.diverted[data["model"]] = target.number
            if target is not None and target.status != "live":
                target.status, target.share, target.live_at = "live", "1", self.size
                self.alarmed_waivers -= {self.waivers[target.digest, rule].id for rule in target.waived}
            self._note(data["model"])

        yield change

    def _release_held(self, entry: Entry, data: Fields, refs: Fields, *, hold: bool = True) -> Found:
        yield from self._may(entry.actor, "operator")
        if (release := self._release(data, refs)) is None:
            yield "no such release"
            return
        yield entry.envelope is None and not release.clicks and "a policy that binds it asks for a signature"
        yield hold and release.status not in ("approved", "canary") and f"release {release.number} is {release.status}"
        yield release.held == hold and f"it is {'' if hold else 'not '}held"
        yield lambda: setattr(release, "held", hold)

    def _release_resumed(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield from self._release_held(entry, data, refs, hold=False)

    def _taken_away(self, entry: Entry, data: Fields) -> Found:
        yield from self._may(entry.actor, "operator")
        answers = [r for r in self.releases.get(data["model"], {}).values() if r.status in ("live", "canary")]
        if not answers:
            yield "none of its releases takes traffic"
        else:
            bound = self._live(data["model"]) or answers[0]
            yield entry.envelope is None and not bound.clicks and "a policy that binds it asks for a signature"

    def _traffic_diverted(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        model, to = data["model"], data.get("to")
        yield from self._taken_away(entry, data)
        yield model in self.diverted and self.diverted[model] == to and "it is diverted so already"
        if to is None:
            yield "model" in refs and "it names a digest and no release"
        else:
            release = self.releases.get(model, {}).get(to)
            if release is None or release.digest != refs.get("model"):
                yield "no such release to divert to"
            elif release.live_at is None or release.status not in ("live", "retired"):
                yield f"release {to} is {release.status}"
            else:
                yield self._lapsed(release.digest, release.waived) and "a waiver has lapsed"
        yield lambda: self._divert(model, to)

    def _traffic_restored(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield from self._taken_away(entry, data)
        yield data["model"] not in self.diverted and "it is not diverted"
        yield lambda: self._restore(data["model"])

    def _divert(self, model: str, to: Any) -> None:
        self.diverted[model] = to
        self._note(model)

    def _restore(self, model: str) -> None:
        del self.diverted[model]
        self._note(model)

    def _traffic_copied(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        if entry.actor != MONITOR:
            yield from self._may(entry.actor, "operator")
        if (release := self._release(data, refs)) is None:
            yield "no such release"
            return
        begins = data.get("share") is not None
        if entry.actor != MONITOR and entry.envelope is None and not release.clicks:
            yield "a policy that binds it asks for a signature"
        if begins:
            yield release.status != "approved" and f"release {release.number} is {release.status}"
            yield self._live(data["model"]) is None and "nothing is live"
            others = (r for r in self.releases[data["model"]].values() if r is not release)
            yield any(r.shadow for r in others) and "another answers copies"
            yield self._lapsed(release.digest, release.waived) and "a waiver has lapsed"
        else:
            yield not release.shadow and "it answers no copies"

        def change() -> None:
            release.shadow = begins
            self.served.add((data["model"], data["number"]))

        yield change

    # what the service sees

    def _observed(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield entry.actor != MONITOR and f"{entry.actor!r} is not the monitor"
        yield self._release(data, refs) is None and "no such release"

    _batch_sealed = _drift_reported = _observed

    def _alarm_raised(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield from self._observed(entry, data, refs)
        waiver, release = data.get("waiver"), self._release(data, refs)
        yield entry.id in self.alarms and "an alarm has this id already"
        if (data["detector"] == "canary") != ("comparison" in refs):
            yield "an alarm of the detector canary, and no other, names a comparison"
        elif data["detector"] == "canary" and release is not None:
            yield release.status != "canary" and f"release {release.number} is {release.status}"
        if (waiver is not None) != (data["detector"] == "waiver"):
            yield "an alarm of the detector waiver, and no other, names a waiver"
        elif waiver is not None and release is not None:
            lapsed = [self.waivers[release.digest, r].id for r in self._lapsed(release.digest, release.waived)]
            if waiver not in lapsed or waiver in self.alarmed_waivers:
                yield "no waiver of this release by that id has lapsed, or its lapse was told"

        def change() -> None:
            self.alarms[entry.id] = (data["model"], data["number"], data["detector"])
            self.alarmed_waivers.update({waiver} - {None})

        yield change

    # keeping

    def _document_attached(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield self.keys.get(entry.actor) is None and f"{entry.actor!r} has no key"
        yield "document" not in refs and not data["statement"].strip() and "neither a document nor a statement"
        yield data.get("expires") is not None and data["expires"] <= self.now and "it has expired"
        yield data.get("model") is not None and data["model"] not in self.releases and f"no model {data['model']!r}"

    def _hold_placed(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield from self._may(entry.actor, "auditor", "admin")
        yield data["hold"] in self.holds and "this hold stands already"
        yield lambda: self.holds.update({data["hold"]: data["scope"]})

    def _hold_lifted(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield from self._may(entry.actor, "auditor", "admin")
        yield data["hold"] not in self.holds and "no such hold stands"
        yield lambda: self.holds.pop(data["hold"])

    def _retention_applied(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield from self._may(entry.actor, "admin")
        yield data["class"] != "telemetry" and "decisions are not dropped"
        yield moment(self.now) - moment(data["before"]) < timedelta(days=183) and "only what is 183 days old is dropped"
        end = WIDTH * sum(clock < data["before"] for clock in self.clocks)
        for start, stop in data["entries"]:
            if stop > end or not self.telemetry.issuperset(range(start, stop)):
                yield f"entries {start} to {stop - 1} are not all old telemetry"
            elif not self.dropped.isdisjoint(range(start, stop)):
                yield f"entries {start} to {stop - 1} are absent already"
        yield {"telemetry", "all"} & set(self.holds.values()) and "a hold stands"
        yield lambda: self._forget({at for start, stop in data["entries"] for at in range(start, stop)})

    def _forget(self, positions: set[int]) -> None:
        """Remember no more of what is dropped than a reader who comes when it is gone."""
        self.dropped |= positions
        for kind, newest in self.remembered.items():
            self.causations -= {causation for at, causation in newest if at in positions}
            self.remembered[kind] = deque(told for told in newest if told[0] not in positions)

    def _subject_described(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield from self._may(entry.actor, "auditor", "admin")
        yield self.subject_of.keys() & set(data["commitments"]) and "some of these commitments were on record before"
        yield lambda: self.subject_of.update(dict.fromkeys(data["commitments"], data["person"]))

    def _subject_erased(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield from self._may(entry.actor, "auditor", "admin")
        lost = set(data["commitments"])
        if not lost <= self.subject_of.keys() or lost & self.erased:
            yield "some of these commitments are not on record, or erased already"
        subjects = {f"subject:{self.subject_of.get(commitment)}" for commitment in lost}
        yield (subjects | {"all"}) & set(self.holds.values()) and "a hold stands"
        yield lambda: self.erased.update(lost)

    # access

    def _token_issued(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        holder = data["holder"]
        yield from self._another_admin(entry, self.person.get(holder))
        yield self.keys.get(holder) is None and f"{holder!r} has no key"
        yield "operate" in data["acts"] and "operator" not in self.roles.get(holder, ()) and "more than its holder may"
        yield data["token"] in self.tokens and "a token had this name before"
        left = moment(data["expires"]) - moment(self.now)
        yield not timedelta(0) < left <= timedelta(days=366) and "it expires too late, or has"
        yield lambda: self.tokens.update({data["token"]: (holder, False)})

    def _token_revoked(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        holder, ended = self.tokens.get(data["token"], (None, True))
        yield ended and "no such token counts"
        if holder != entry.actor:
            yield from self._may(entry.actor, "admin")
        yield lambda: self.tokens.update({data["token"]: (holder, True)})

    def _access_denied(self, entry: Entry, data: Fields, refs: Fields) -> Found:
        yield entry.actor != MONITOR and f"{entry.actor!r} is not the monitor"
        yield data["until"] < data["since"] and "it ends before it begins"


def _look(name: str) -> str:
    """What a hasty reader sees of a name."""
    return name.translate(str.maketrans("01i", "oll", "._-"))


# -- 8. the steps: each yields (place, what is wrong) -----------------------------------------------------------------

MANIFEST, SEAL, CHECKPOINT, VKEY = "manifest.json", "manifest.dsse.json", "ledger/checkpoint", "ledger/log.vkey"
WITNESSED, TRUST = "ledger/witnessed", "ledger/trust-policy.txt"
FIXED, OPTIONAL = {"VERIFY.md", "tools/verify.py", CHECKPOINT, VKEY}, {WITNESSED, TRUST}
DERIVED = ("attestations/", "keys/", "models/", "data/", "compliance/")
FOLDERS = ("ledger/tile/", "proofs/", "documents/", "frameworks/")  # for the others: KNOWN
STATEMENT_TYPE = "application/vnd.in-toto+json"
KNOWN = re.compile(  # what else may lie in a bundle: made from the log by programs that this one does not have
    r"ledger/.*|manifest(\.dsse)?\.json|VERIFY\.md|tools/verify\.py"
    r"|attestations/([0-9a-f]{64}|runs/[a-z0-9._-]+)\.intoto\.jsonl"
    r"|keys/(people\.json|[a-z-]+\.pub)|models/[0-9a-f]{64}/(model\.sig|mlbom\.cdx\.json|README\.md)"
    r"|data/[0-9a-f]{64}/croissant\.json|compliance/[a-z0-9-]+/[a-z-]+\.(csv|html|json)"
)
DECISIONS = {"verdict.given", "waiver.granted", "release.proposed", "release.approved", "traffic.shifted",
             "release.rolled_back", "release.held", "release.resumed", "traffic.copied", "traffic.diverted",
             "traffic.restored", "alarm.raised"}  # fmt: skip
DOCUMENT_REFS = ("policy", "verdict", "evidence", "expectations", "lineage", "report", "manifest", "document",
                 "comparison")  # fmt: skip
MANIFEST_TYPES: Fields = {
    **dict.fromkeys(("kind", "model", "origin", "root"), str),
    **dict.fromkeys(("start", "end"), (str, type(None))),
    **dict.fromkeys(("frameworks", "files"), list),
    **dict.fromkeys(("absent", "left_out"), dict),
    **dict.fromkeys(("views", "size"), int),
}


class Bundle:
    """An archive, and what is made of it when it is first needed."""

    def __init__(self, data: Data) -> None:
        self.data, self.members = data, archive_members(data)

    def read(self, path: str) -> bytes:
        if (member := self.members.get(path)) is None:
            raise RefusedError(path, "this file is missing")
        return bytes(self.data[member.offset : member.offset + member.size])

    def place(self, path: str, start: int = 0, end: int | None = None) -> str:
        offset, size = self.members[path]
        return f"{path}, bytes {offset + start} to {offset + (size if end is None else end) - 1} of the archive"

    def parsed(self, path: str, parse: Callable[[bytes], Any]) -> Any:
        content = self.read(path)
        try:
            return parse(content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RefusedError(self.place(path), str(error)) from None

    @cached_property
    def manifest(self) -> Fields:
        found: Fields = self.parsed(MANIFEST, parse_manifest)
        return found

    @cached_property
    def checkpoint(self) -> Checkpoint:
        found: Checkpoint = self.parsed(CHECKPOINT, lambda content: parse_checkpoint(parse_note(content).text))
        if found.size > WIDTH * len(self.members):
            raise RefusedError(self.place(CHECKPOINT), f"{found.size} entries; there are not files enough for them")
        return found

    @cached_property
    def log_key(self) -> Key:
        found: Key = self.parsed(VKEY, lambda content: parse_vkey(content.decode().removesuffix("\n")))
        return found

    def entries(self) -> Iterator[tuple[int, list[bytes]]]:
        """Position of the first, and entries, of each bundle of entries; a dropped body is empty."""
        for path, first, width in tile_row("entries", self.checkpoint.size):
            found = self.parsed(path, parse_entries)
            if len(found) != width:
                raise RefusedError(self.place(path), f"{len(found)} entries; expected {width}")
            yield first, found

    @cached_property
    def rows(self) -> list[list[bytes]]:
        """The whole tree, hashed from the entries; the hash of a dropped body is what its tile says."""
        leaves = []
        for first, entries in self.entries():
            hashes = [leaf_hash(entry) for entry in entries]
            if not all(entries):
                told = self.read(tile_path(0, first // WIDTH, len(entries)))
                hashes = [h if e else told[32 * i :][:32] for i, (h, e) in enumerate(zip(hashes, entries, strict=True))]
            leaves += hashes
        return tree_levels(leaves)

    def root(self, size: int) -> bytes:
        return range_root(self.rows, 0, size)

    def entry_place(self, index: int) -> str:
        path, first, _ = next(t for t in tile_row("entries", self.checkpoint.size) if index < t[1] + t[2])
        entries = self.parsed(path, parse_entries)
        start = sum(2 + len(entry) for entry in entries[: index - first])
        return f"entry {index}: {self.place(path, start, start + 2 + len(entries[index - first]))}"

    @cached_property
    def story(self) -> Story:
        return Story(self)


def parse_manifest(content: bytes) -> Fields:
    document = parse_canonical(content)
    if not isinstance(document, dict) or document.keys() != MANIFEST_TYPES.keys() or document["kind"] != "bundle/v1":
        raise ValueError("not the manifest of a bundle that this program knows; expected bundle/v1")
    if not all(isinstance(document[name], kind) for name, kind in MANIFEST_TYPES.items()):
        raise ValueError("malformed manifest")
    for file in document["files"]:
        if file.keys() != {"path", "size", "sha256"} or not is_whole(file["size"], 0) or not is_digest(file["sha256"]):
            raise ValueError("malformed manifest: files")
    return document


class Story(SimpleNamespace):
    """The log folded, and what it says about the bundle's model."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(fold=Fold(), unsigned=[], forbidden=[], unserved=[], told=[], selected=bundle.manifest)
        self.decisions, self.named, self.asked, self.batches, self.drills = ({} for _ in range(5))  # type: ignore[var-annotated]
        for first, entries in bundle.entries():
            for index, raw in enumerate(entries, first):
                try:
                    entry = parse_entry(raw) if raw else None
                except (ValueError, KeyError, TypeError) as error:
                    raise RefusedError(bundle.entry_place(index), str(error)) from None
                unsigned, forbidden = self.fold.take(entry)
                self.unsigned += [(index, reason) for reason in unsigned]
                self.forbidden += [(index, reason) for reason in forbidden]
                if entry is None:
                    self.batches.clear()
                elif not unsigned and not forbidden:
                    self._look(index, entry)
        used = {entry.refs["policy"] for _, entry in self.told if entry.type == "verdict.given"}
        for index, entry in [drill for policy, drill in self.drills.items() if policy in used]:
            self.told.append((index, entry))
            self.asked.setdefault(entry.refs["report"], index)

    def _look(self, index: int, entry: Entry) -> None:
        model, data, chosen = entry.data.get("model"), entry.data, self.selected
        if entry.type == "batch.sealed":
            version, number = (model, data["number"]), data.get("batch")
            if version not in self.fold.served:
                self.unserved.append((index, f"{entry.refs['model']} answered requests; the log gave it no traffic"))
            if type(number) is int:
                if number != (expected := self.batches.get(version, number - 1) + 1):
                    self.unserved.append((index, f"batch {number} of version {version[1]}; expected {expected}"))
                self.batches[version] = number
        if model not in (None, chosen["model"]) or entry.type == "batch.sealed":
            return
        late = chosen["end"] is not None and entry.time >= chosen["end"]
        early = chosen["start"] is not None and entry.time < chosen["start"]
        within = model is not None and not late and not early
        if model is not None and entry.type in DECISIONS:
            self.decisions[index] = within
        for name in DOCUMENT_REFS:
            value = entry.refs.get(name, ())
            for one in [value] if isinstance(value, str) else value:
                self.named.setdefault(one, index)
                if within or (entry.type == "document.attached" and not late):
                    self.asked.setdefault(one, index)
        if entry.type == "policy.adopted" or (within and entry.type == "verdict.given"):
            self.told.append((index, entry))
        if entry.type == "gates.drilled" and not late:
            self.drills[entry.refs["policy"]] = (index, entry)


def listed(bundle: Bundle) -> Faults:
    manifest, paths = bundle.manifest, [file["path"] for file in bundle.manifest["files"]]
    present = bundle.members.keys() - {MANIFEST, SEAL}
    for path in sorted((set(paths) | FIXED) - present):
        yield path, "this file is missing"
    for path in sorted(present):
        if path not in paths:
            yield path, "the manifest does not list this file"
        elif path not in FIXED | OPTIONAL and not path.startswith((*FOLDERS, *DERIVED)):
            yield path, "a bundle has no such file"
    if paths != sorted(set(paths)):
        yield MANIFEST, "files are not listed once each, in order"
    for file in manifest["files"]:
        if file["path"] in present and (found := digest(bundle.read(file["path"]))) != file["sha256"]:
            yield bundle.place(file["path"]), f"its digest is {found}; the manifest says {file['sha256']}"
        elif file["path"] in present and bundle.members[file["path"]].size != file["size"]:
            yield bundle.place(file["path"]), f"the manifest says {file['size']} bytes"
    said, signed = (manifest["origin"], manifest["size"], manifest["root"]), bundle.checkpoint
    if said != (signed.origin, signed.size, signed.root.hex()):
        yield MANIFEST, f"origin, size and root are {said}; the checkpoint says otherwise"


def log_signed(bundle: Bundle) -> Faults:
    key, note = bundle.log_key, bundle.read(CHECKPOINT)
    if bundle.read(VKEY) != f"{vkey_of(key)}\n".encode() or key.kind != LOG_KEY:
        yield bundle.place(VKEY), "not one verifier key of an Ed25519 log on a line"
    try:
        open_checkpoint(note, key)
        if len(parse_note(note).signatures) != 1:
            yield bundle.place(CHECKPOINT), "more than the log's own signature stands below it"
    except ValueError as error:
        yield bundle.place(CHECKPOINT), str(error)


def vkey_of(key: Key) -> str:
    return f"{key.name}+{key.id.hex()}+{base64.b64encode(bytes([key.kind]) + key.bytes).decode()}"


def sealed(bundle: Bundle) -> Faults:
    manifest, content = bundle.manifest, bundle.read(SEAL)
    subject = [{"name": MANIFEST, "digest": {"sha256": digest(bundle.read(MANIFEST))[7:]}}]
    predicate = {name: manifest[name] for name in ("model", "origin", "size", "root")}
    kinds = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://pruneguard.dev/bundle/v1"}
    for reason in not_of_the_log(bundle, content, canonical({**kinds, "subject": subject, "predicate": predicate})):
        yield bundle.place(SEAL), reason


def attested(bundle: Bundle) -> Faults:
    for path in bundle.members:
        if path.startswith("attestations/"):
            *lines, rest = bundle.read(path).split(b"\n")
            if rest or not all(lines):
                yield bundle.place(path), "not one envelope on each line, and a newline behind each"
            for number, line in enumerate(lines, 1):
                for reason in not_of_the_log(bundle, line):
                    yield f"{bundle.place(path)}, line {number}", reason


def not_of_the_log(bundle: Bundle, content: bytes, payload: bytes | None = None) -> Iterator[str]:
    """Why these bytes are not the one envelope in which the log's key signs a statement."""
    try:
        envelope = parse_envelope(content)
    except ValueError as error:
        yield str(error)
        return
    signatures = [{"keyid": vkey_of(bundle.log_key), "sig": base64.b64encode(s).decode()} for s in envelope.signatures]
    form = {"payloadType": STATEMENT_TYPE, "payload": base64.b64encode(envelope.payload).decode()}
    if envelope.payload_type != STATEMENT_TYPE:
        yield f"its payload is of type {envelope.payload_type!r}"
    elif not signed_by(envelope, bundle.log_key.bytes):
        yield f"the signature is not that of {vkey_of(bundle.log_key)}"
    elif len(signatures) != 1 or canonical({**form, "signatures": signatures}) != content:
        yield "not the one form of this envelope: one signature, and the log's key as its key id"
    elif payload not in (None, envelope.payload):
        yield "it is a statement about another manifest than this bundle's"


def people_signed(bundle: Bundle) -> Faults:
    for index, reason in bundle.story.unsigned:
        yield bundle.entry_place(index), reason


def rooted(bundle: Bundle) -> Faults:
    size = bundle.checkpoint.size
    if bundle.root(size) == bundle.checkpoint.root:
        return
    yield CHECKPOINT, f"its root is not the one of the {size} entries"
    for path, first, width in tile_row(0, size):
        content = bundle.read(path) if path in bundle.members else b""
        for offset in range(width if content else 0):
            if bundle.rows[0][first + offset] != content[32 * offset :][:32]:
                yield bundle.entry_place(first + offset), "the entry's hash is not the one in the tree"


def tiled(bundle: Bundle) -> Faults:
    size = bundle.checkpoint.size
    expected = {path for path, _, _ in tile_row("entries", size)}
    for path, level, first, width in hash_tiles(size):
        expected.add(path)
        content, right = bundle.read(path), b"".join(bundle.rows[level][first : first + width])
        if content != right:
            at = next((i for i in range(0, len(right), 32) if content[i : i + 32] != right[i : i + 32]), len(right))
            yield bundle.place(path, at, at + 32), "not the hash of the entries below it"
    for path in sorted(p for p in bundle.members if p.startswith("ledger/tile/") and p not in expected):
        yield path, f"no part of a log of {size} entries"


def proven(bundle: Bundle) -> Faults:
    size = bundle.checkpoint.size
    for path in [path for path in bundle.members if path.startswith("proofs/")]:
        index = path[len("proofs/") : -len(".tlog-proof")]
        if path != f"proofs/{index}.tlog-proof" or not WHOLE.fullmatch(index) or int(index) >= size:
            yield bundle.place(path), f"no proof about one of {size} entries has this name"
            continue
        hashes = [base64.b64encode(one) for one in inclusion_proof(bundle.rows, int(index), 0, size)]
        lines = [b"c2sp.org/tlog-proof@v1", b"index " + index.encode(), *hashes, b"", bundle.read(CHECKPOINT)]
        if bundle.read(path) != b"\n".join(lines):
            yield bundle.place(path), f"not the proof that entry {index} is in the checkpoint's tree"


def lawful(bundle: Bundle) -> Faults:
    story, model = bundle.story, bundle.manifest["model"]
    for index, reason in story.forbidden:
        yield bundle.entry_place(index), reason
    if bundle.checkpoint.origin != story.fold.origin:
        yield bundle.entry_place(0), f"the log was opened as {story.fold.origin!r}, its checkpoint is of another"
    if model not in story.fold.releases:
        yield MANIFEST, f"the log knows no model {model!r}"


def as_written(bundle: Bundle) -> Faults:
    """A policy's terms are in its document, the outcome of a verdict or of a drill is its document's. Whether that
    outcome follows from the evidence, this program does not decide."""
    used = {entry.refs["policy"] for _, entry in bundle.story.told if entry.type == "verdict.given"}
    for index, entry in bundle.story.told:
        name, said, read = WRITTEN[entry.type]
        path = document_path(entry.refs[name])
        if entry.refs["policy"] in used:
            if path not in bundle.members:
                yield f"{bundle.entry_place(index)}; {path}", "cannot be compared: this file is missing"
            elif document_path(found := digest(bundle.read(path))) != path:
                yield f"{bundle.entry_place(index)}; {bundle.place(path)}", f"cannot be compared: its digest is {found}"
            elif bundle.parsed(path, read) != said(entry):
                yield bundle.entry_place(index), f"its {name} document says something else"


def policy_terms(content: bytes) -> list[Any]:
    policy = parse_json(content)
    return [policy[name] for name in TERMS]


def drill_outline(content: bytes) -> list[Any]:
    report = parse_json(content)
    return [report["policy"], *(report[name] for name in COUNTS)]


def verdict_outline(content: bytes) -> Any:
    verdict = parse_json(content)
    objections = {one["rule"]: one["outcome"] for one in verdict["findings"] if one["outcome"] != "passed"}
    named = [verdict[name] for name in VERDICT_FIELDS]
    return named, sorted(verdict["evidence"]), len(verdict["findings"]), objections


VERDICT_FIELDS = ("policy", "candidate", "twin", "data")
TERMS = ("name", "version", "approvals_min", "server_attested", "waivers", "on_decay", "on_lapse", "steps")
COUNTS = ("refused", "of", "clean_passed", "clean_of")


def verdict_said(entry: Entry) -> Any:
    named = [entry.refs[name] for name in ("policy", "model", "parent", "data")]
    return named, sorted(entry.refs["evidence"]), entry.data["rules"], entry.data["objections"]


WRITTEN: dict[str, tuple[str, Callable[[Entry], Any], Callable[[bytes], Any]]] = {
    "verdict.given": ("verdict", verdict_said, verdict_outline),
    "policy.adopted": ("policy", lambda entry: [entry.data[term] for term in TERMS], policy_terms),
    "gates.drilled": (
        "report",
        lambda entry: [entry.refs["policy"], *(entry.data[name] for name in COUNTS)],
        drill_outline,
    ),
}


def document_path(name: str) -> str:
    return "documents/" + name.replace(":", "/")


def documented(bundle: Bundle) -> Faults:
    for path in bundle.members:
        if path.startswith("documents/") and document_path(found := digest(bundle.read(path))) != path:
            yield bundle.place(path), f"its digest is {found}"


def complete(bundle: Bundle) -> Faults:
    story, present, manifest = bundle.story, bundle.members, bundle.manifest
    whole = manifest["start"] is None and manifest["end"] is None
    for index, needed in story.decisions.items():
        if needed and f"proofs/{index}.tlog-proof" not in present:
            yield f"proofs/{index}.tlog-proof", f"this file is missing; {bundle.entry_place(index)}: a decision"
    for one, index in story.asked.items():
        if document_path(one) not in present and one not in manifest["absent"]:
            yield document_path(one), f"this file is missing; {bundle.entry_place(index)} names {one}"
    for name in manifest["frameworks"]:
        if f"frameworks/{name}.json" not in present:
            yield f"frameworks/{name}.json", "this file is missing; the manifest names this framework"
    known = story.asked if whole else story.named
    wanted = {f"proofs/{i}.tlog-proof" for i, within in story.decisions.items()} | {document_path(d) for d in known}
    wanted |= {f"frameworks/{name}.json" for name in manifest["frameworks"]}
    for path in sorted(present):
        strict = path.startswith(("proofs/", "documents/", "frameworks/"))
        if (strict and path not in wanted) or not (strict or KNOWN.fullmatch(path)):
            yield path, "nothing that was selected asks for this file"
    for one in sorted(manifest["absent"]):
        if document_path(one) in present:
            yield document_path(one), "the manifest calls this document absent"
        elif one not in known:
            yield MANIFEST, f"calls {one} absent, which no selected entry names"
    if whole and manifest["left_out"] != {"entries": 0, "decisions": 0}:
        yield MANIFEST, f"leaves out {manifest['left_out']}, and has no span"


def bodies_dropped(bundle: Bundle) -> Faults:
    fold = bundle.story.fold
    for index in sorted(fold.bodiless - fold.dropped)[:1]:
        yield bundle.entry_place(index), "it has no body, and no retention says why"


def trafficked(bundle: Bundle) -> Faults:
    for index, reason in bundle.story.unserved:
        yield bundle.entry_place(index), reason


# -- anchoring: how far a log can be trusted not to have been rewritten by whoever holds its key ----------------------


class Anchoring:
    """What an auditor brings, weighed with what the bundle brings: `guarantee` and `remarks` after `check` has run."""

    def __init__(self, held: bytes | None, trust: Trust | None, clock: float) -> None:
        self.held, self.trust, self.clock = held, trust, clock
        self.guarantee = "none"
        self.remarks: list[str] = []

    def check(self, bundle: Bundle) -> Faults:
        self.guarantee = "none"
        key, policy, seen, size = bundle.log_key, self.trust, set(), None
        if self.held is not None:
            yield from self._continues(bundle)
        if TRUST in bundle.members:
            own = bundle.parsed(TRUST, parse_trust)
            policy = policy or own
            if own.logs and key not in own.logs:
                yield TRUST, f"it does not list this log, {vkey_of(key)}"
        if self.trust is not None and self.trust.logs and key not in self.trust.logs:
            yield VKEY, f"your trust policy does not list this log, {vkey_of(key)}"
        if WITNESSED in bundle.members:
            checkpoint = bundle.parsed(WITNESSED, lambda content: open_checkpoint(content, key))
            if checkpoint.size > bundle.checkpoint.size:
                yield WITNESSED, f"witnesses saw {checkpoint.size} entries, this log ends at {bundle.checkpoint.size}"
                return
            if bundle.root(checkpoint.size) != checkpoint.root:
                yield WITNESSED, f"witnesses saw another history: their first {checkpoint.size} entries differ"
                return
            size, note = checkpoint.size, parse_note(bundle.read(WITNESSED))
            for name, witness in policy.witnesses.items() if policy else ():
                why, wrong = self._weigh(note, key, witness)
                if wrong:
                    yield WITNESSED, f"{name}: {why}"
                self.remarks.append(f"{name}: {why or 'cosigned'}")
                if not why:
                    seen.add(name)
        quorum = policy is not None and quorum_holds(policy, seen)
        if self.trust is not None and not quorum:
            yield WITNESSED, f"your trust policy asks for {self.trust.quorum!r}; what counts is {sorted(seen)}"
            return
        words = ["held"] if self.held is not None else []
        if seen and quorum:
            strength = self._independent(key, seen) or "witnessed in the same trust domain"
            part = f" for the first {size} of {bundle.checkpoint.size} entries" if size < bundle.checkpoint.size else ""
            words.append(strength + part)
        self.guarantee = ", and ".join(words) or "self-signed only"

    def _continues(self, bundle: Bundle) -> Faults:
        try:
            before = open_checkpoint(self.held or b"", bundle.log_key)
        except ValueError as error:
            yield "the checkpoint you held", str(error)
            return
        if before.size > bundle.checkpoint.size:
            yield CHECKPOINT, f"this log ends at {bundle.checkpoint.size} entries, and {before.size} were seen before"
        elif bundle.root(before.size) != before.root:
            yield CHECKPOINT, f"its first {before.size} entries are not those that were seen before"

    def _weigh(self, note: Note, log_key: Key, witness: Key) -> tuple[str, bool]:
        """Why a witness does not count, and whether that is a fault; nothing when it does count."""
        if witness.bytes == log_key.bytes:
            return "does not count, its key is the log's own", False
        try:
            blob = signature_of(note, witness)
        except ValueError as error:
            return str(error), True
        except ImportError as error:
            return f"does not count, it cannot be checked here: {error}", False
        if blob is None:
            return "did not cosign", False
        time = int.from_bytes(blob[:8], "big")
        if time > self.clock + 300:
            return f"signed at {time}, in the future of {self.clock}", True
        return ("does not count, it says no time", False) if not time else ("", False)

    def _independent(self, key: Key, seen: set[str]) -> str:
        """`k of n independent`: domains that the auditor's own policy names, and that are not the log's."""
        if self.trust is None:
            self.remarks.append("nobody but the log's operator vouches for these witnesses")
            return ""
        own = self.trust.domains.get(key.bytes, "")
        by_name: dict[str, str] = {}
        for witness in self.trust.witnesses.values():
            by_name.setdefault(witness.name, self.trust.domains.get(witness.bytes, ""))
        counted = {by_name[self.trust.witnesses[name].name] for name in seen} - {"", own}
        if not own or not counted:
            self.remarks.append("no witness that counts is in a domain other than the log's, by your trust policy")
            return ""
        return f"{len(counted)} of {len(set(by_name.values()) - {'', own})} independent"


# -- 9. the report ----------------------------------------------------------------------------------------------------

LEVELS = ("files", "signatures", "tree", "anchoring", "semantics", "artefacts", "completeness")
STEPS = (
    ("files", "the manifest lists exactly this content", listed),
    ("signatures", "the log signed its checkpoint", log_signed),
    ("signatures", "the log signed the manifest", sealed),
    ("signatures", "the log signed each attestation", attested),
    ("signatures", "every act of a person carries their own signature", people_signed),
    ("tree", "the entries lead to the signed root", rooted),
    ("tree", "the hash tiles are those of the entries", tiled),
    ("tree", "each proof shows its entry in the tree", proven),
    ("anchoring", "the log is anchored as far as it says", None),
    ("semantics", "no entry breaks a rule", lawful),
    ("semantics", "policies, verdicts and drills are as they are written", as_written),
    ("artefacts", "documents are those that the events name", documented),
    ("completeness", "every decision has its proof, every document is there", complete),
    ("completeness", "bodies are absent only by retention", bodies_dropped),
    ("completeness", "what answered had been given traffic", trafficked),
)
UNCHECKED = (
    "whether each verdict follows from its evidence, each step of a canary from what was counted, and whether cards, "
    "tables and attestations say what the log leads to: `pruneguard audit verify` decides and makes them again",
    "weights and rows, which are not in a bundle: entries name them by SHA-256",
)


def verify(data: Data, *, held: bytes | None = None, trust: Trust | None = None, clock: float | None = None) -> Fields:
    """Run every step over the bytes of a bundle; `held` is a checkpoint's bytes, `trust` a parsed trust policy."""
    anchoring, archive = Anchoring(held, trust, time.time() if clock is None else clock), "the archive has one form"
    report: Fields = {
        "kind": "audit-report/v1",
        "checks": [],
        "log_key": None,
        "history": [],
        "unchecked": list(UNCHECKED),
    }
    try:
        bundle = Bundle(data)
        report["checks"].append(_check("files", archive))
        for level, what, step in STEPS:
            report["checks"] += _run(bundle, level, what, step or anchoring.check)
        report["history"] = list(standing(bundle)) if all(check["ok"] for check in report["checks"]) else []
        report["log_key"] = vkey_of(bundle.log_key)
    except RefusedError as error:
        if not report["checks"]:
            report["checks"].append(_check("files", archive, error.place, error.detail))
    failed = [LEVELS.index(check["level"]) for check in report["checks"] if not check["ok"]]
    report["ok"], report["exit_code"] = not failed, 10 + min(failed) if failed else 0
    report["guarantee"] = anchoring.guarantee if not failed else "none"
    report["remarks"] = anchoring.remarks
    report["absent"] = 0 if failed else len(bundle.story.fold.bodiless)
    return report


def _check(level: str, what: str, place: str = "", detail: str = "") -> Fields:
    return {"level": level, "what": what, "ok": not (place or detail), "place": place, "detail": detail}


def _run(bundle: Bundle, level: str, what: str, step: Callable[[Bundle], Faults]) -> list[Fields]:
    faults: list[tuple[str, str]] = []
    try:
        faults += islice(step(bundle), 20)
    except RefusedError as error:
        faults.append((error.place, error.detail))
    except Exception as error:  # noqa: BLE001  hostile bytes may make any step raise: a failed check, no crash
        faults.append(("the bundle", f"cannot be checked: {type(error).__name__} {error}"))
    return [_check(level, what, place, detail) for place, detail in faults] or [_check(level, what)]


def standing(bundle: Bundle) -> Iterator[Fields]:
    """Who was live when: one line for each change of what answers, with who approved it."""
    fold, model = bundle.story.fold, bundle.manifest["model"]
    for clock, index, name, answering in fold.history:
        if name == model:
            versions = []
            for number, share in answering:
                release = fold.releases[model][number]
                by = ", ".join(f"{actor} ({how})" for _, actor, how in release.approvals)
                waived = f"; waived: {', '.join(sorted(release.waived))}" if release.waived else ""
                versions.append(f"version {number} ({release.digest[7:19]}) {share}, approved by {by}{waived}")
            yield {"time": clock, "entry": index, "answering": versions}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--held", type=Path, metavar="CHECKPOINT", help="a ledger/checkpoint that you kept")
    parser.add_argument("--trust", type=Path, metavar="POLICY", help="your own trust policy (C2SP tlog-policy)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    try:
        trust = parse_trust(args.trust.read_bytes()) if args.trust else None
        held = args.held.read_bytes() if args.held else None
        if held is not None and held.startswith(b"{"):  # as `pruneguard` keeps it
            held = json.loads(held)["note"].encode()
        with args.bundle.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if args.bundle.stat().st_size else b""
            report = verify(data, held=held, trust=trust)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        parser.error(str(error))
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        _print(report, args)
    return int(report["exit_code"])


def _print(report: Fields, args: argparse.Namespace) -> None:
    for check in report["checks"]:
        where, why = (
            (f" at {check['place']}" if check["place"] else ""),
            (f": {check['detail']}" if check["detail"] else ""),
        )
        print(f"{'ok  ' if check['ok'] else 'FAIL'} {check['level']:<12} {check['what']}{where}{why}")
    for line in report["history"]:
        print(f"live {line['time']} (entry {line['entry']}): {'; '.join(line['answering']) or 'nothing'}")
    for remark in report["remarks"]:
        print(f"note {remark}")
    for remark in report["unchecked"]:
        print(f"not checked: {remark}")
    compared = (
        "your trust policy" if args.trust else "the checkpoint you held" if args.held else "nothing: do it yourself"
    )
    print(f"log key {report['log_key']}, compared with {compared}")
    print(f"{args.bundle}: {'verified' if report['ok'] else 'NOT verified'}; guarantee: {report['guarantee']}")


if __name__ == "__main__":
    sys.exit(main())
