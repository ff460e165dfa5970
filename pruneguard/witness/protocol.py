"""What a witness is asked, and when it says no. Pure: https://c2sp.org/tlog-witness (v1.0.0), `add-checkpoint`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.ledger import merkle, notes

PATH = "/add-checkpoint"
PROOF_LINES_MAX = 63
REQUEST_BYTES_MAX = 128 * 1024
"""Room for a full proof and a checkpoint with sixteen signatures of the largest kind."""

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Request:
    """The log went from `old` entries to the checkpoint in `note`, and `proof` shows that it only grew."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        lines = "".join(f"{notes.encode_base64(value)}\n" for value in self.proof)
        return f"old {self.old}\n{lines}\n".encode() + self.note

    @classmethod
    def parse(cls, body: bytes) -> "Request":
        """Raises InvalidInputError for what is not exactly a request; the note is looked at later."""
        head, empty, note = body.partition(b"\n\n")
        try:
            first, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise InvalidInputError("a request begins with ASCII lines") from error
        if not (old := _OLD.fullmatch(first)) or not empty or len(lines) > PROOF_LINES_MAX:
            raise InvalidInputError(
                f"expected `old SIZE`, at most {PROOF_LINES_MAX} hashes, an empty line and a checkpoint"
            )
        proof = tuple(notes.decode_base64(line) for line in lines)
        if any(len(value) != 32 for value in proof):
            raise InvalidInputError("a line of the proof is not a hash of 32 bytes")
        return cls(int(old[1]), proof, note)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status of HTTP, and the body that goes with it."""

    status: int
    body: str
    content_type: str = "text/plain; charset=utf-8"


def opened(
    request: Request, logs: Mapping[str, Sequence[notes.Verifier]]
) -> tuple[notes.Note, notes.Checkpoint] | Answer:
    """The checkpoint, signed by a key that is known for its origin; or the answer that says why not."""
    try:
        note = notes.Note.parse(request.note)
    except InvalidInputError as error:
        return Answer(403, f"{error}\n")  # what cannot be read carries no signature: as litewitness answers
    try:
        checkpoint = notes.Checkpoint.parse(note.text)
    except InvalidInputError as error:
        return Answer(400, f"{error}\n")
    if not (keys := logs.get(checkpoint.origin)):
        return Answer(404, f"this witness does not know a log {checkpoint.origin!r}\n")
    try:
        signed = [note.signed_by(key) for key in keys]
    except IntegrityError as error:
        return Answer(403, f"{error}\n")
    if not any(signed):
        return Answer(403, f"no signature of a key that is known for {checkpoint.origin!r}\n")
    if request.old > checkpoint.size:
        return Answer(400, f"the old size {request.old} is above the checkpoint's, {checkpoint.size}\n")
    return note, checkpoint


def refused(request: Request, checkpoint: notes.Checkpoint, *, latest: notes.Checkpoint | None) -> Answer | None:
    """Why a witness that last cosigned `latest` must not cosign this; None when it may."""
    size = latest.size if latest else 0
    if request.old != size:
        return Answer(409, f"{size}\n", "text/x.tlog.size")
    if not checkpoint.size and checkpoint.root != merkle.EMPTY_ROOT:
        return Answer(422, "the root of an empty log is the hash of nothing\n")
    if not request.old:
        return Answer(422, "a consistency proof from size 0 is empty\n") if request.proof else None
    assert latest is not None  # its size is not 0
    grew = merkle.verify_consistency(
        old=request.old, new=checkpoint.size, old_root=latest.root, new_root=checkpoint.root, proof=request.proof
    )
    if not grew:
        return Answer(422, f"the consistency proof does not lead from the {size} entries cosigned to this checkpoint\n")
    return None
