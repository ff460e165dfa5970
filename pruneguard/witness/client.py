"""Ask one witness to cosign a checkpoint. Whatever it answers, only its own valid signature comes out."""

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from socket import SHUT_RDWR
from typing import TypeAlias
from urllib.parse import urlsplit

from pruneguard.errors import IntegrityError, InvalidInputError, UnavailableError
from pruneguard.ledger import notes
from pruneguard.ledger.trust import Witness
from pruneguard.witness import protocol
from pruneguard.witness.protocol import Answer

TIMEOUT_SECONDS = 10.0
SKEW_SECONDS = 300
ANSWER_BYTES_MAX = 64 * 1024

Prove: TypeAlias = Callable[[int], Sequence[bytes]]
"""The proof that the log only grew from an older size to the checkpoint's."""

_SIZE = re.compile(r"(0|[1-9][0-9]{0,18})\n")


def cosignature(
    witness: Witness,
    note: notes.Note,
    *,
    known_size: int,
    prove: Prove,
    timeout_s: float = TIMEOUT_SECONDS,
    clock: Callable[[], float] = time.time,
) -> notes.Signature:
    """The witness's signature of a checkpoint, where it last saw `known_size` entries, or says what it saw instead.

    Raises UnavailableError when it cannot be reached or is not ready, InvalidInputError for an answer that is none, and
    IntegrityError when it has seen a history that does not lead here.
    """
    size = notes.Checkpoint.parse(note.text).size
    answer = _asked(witness, note, known_size, prove, timeout_s)
    if answer.status == 409:
        told = _size(witness, answer)
        if told > size:
            raise IntegrityError(
                f"witness {witness.name!r} has seen {told} entries of this log, which holds {size}: an old backup was "
                "restored, or its end was cut off. Do not go on with it: restore a backup that has them all"
            )
        answer = _asked(witness, note, told, prove, timeout_s)
        if answer.status == 409 and told == size == _size(witness, answer):  # as the format has it for another root
            raise IntegrityError(
                f"witness {witness.name!r} has seen {size} entries of this log too, and refuses these: it has seen "
                "another history. Find out which one is true"
            )
    if answer.status == 200:
        return _signature(witness, note, answer.body, now=clock())
    said = f"witness {witness.name!r} answered {answer.status}: {' '.join(answer.body[:200].split())!r}"
    if answer.status == 422:
        raise IntegrityError(f"{said}. It has seen another history of this log: find out which one is true")
    if answer.status in (403, 404):
        raise InvalidInputError(f"{said}; give its operator this log's verifier key")
    raise UnavailableError(f"{said}; it is asked again")


def _asked(witness: Witness, note: notes.Note, old: int, prove: Prove, timeout_s: float) -> Answer:
    proof = tuple(prove(old)) if old else ()
    return _post(witness, protocol.Request(old, proof, note.encode()).encode(), timeout_s)


def _size(witness: Witness, answer: Answer) -> int:
    if not (told := _SIZE.fullmatch(answer.body)) or answer.content_type.partition(";")[0] != "text/x.tlog.size":
        raise InvalidInputError(f"witness {witness.name!r} answered 409 without the size that it knows")
    return int(told[1])


def _signature(witness: Witness, note: notes.Note, body: str, *, now: float) -> notes.Signature:
    lines = body.split("\n")
    if lines.pop() or len(lines) > 16:
        raise InvalidInputError(f"witness {witness.name!r} answered with something else than lines of signatures")
    given = notes.Note(note.text, tuple(notes.parse_signature(line) for line in lines))
    try:
        signed = given.signed_by(witness.verifier)
    except IntegrityError as error:
        raise InvalidInputError(f"witness {witness.name!r} answered with a signature that does not hold") from error
    if signed is None:
        raise InvalidInputError(f"witness {witness.name!r} did not sign with {witness.verifier.vkey}, its key here")
    if abs(signed.time - now) > SKEW_SECONDS:
        raise InvalidInputError(
            f"witness {witness.name!r} signed at {signed.time}, and it is {int(now)} here: one of the clocks is wrong"
        )
    return signed


def _post(witness: Witness, body: bytes, timeout_s: float) -> Answer:
    try:
        url = urlsplit(witness.url)
        port = url.port
    except ValueError as error:
        raise InvalidInputError(f"witness {witness.name!r} has the address {witness.url!r}: {error}") from error
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise InvalidInputError(
            f"witness {witness.name!r} has the address {witness.url!r}; expected http(s)://host/..."
        )
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    try:
        connection = kind(url.hostname, port, timeout=timeout_s)
        connection.connect()
        with _ending(connection, timeout_s):
            connection.request("POST", url.path.rstrip("/") + protocol.PATH, body, {"Content-Type": "text/plain"})
            answer = connection.getresponse()
            content = answer.read(ANSWER_BYTES_MAX + 1)
            if answer.length and len(content) <= ANSWER_BYTES_MAX:
                raise TimeoutError(f"{answer.length} bytes of its answer did not come")
    except (OSError, HTTPException, ValueError) as error:  # the last is a path that is no ASCII
        raise UnavailableError(
            f"witness {witness.name!r} at {witness.url} does not answer: {type(error).__name__} {error}"
        ) from error
    if len(content) > ANSWER_BYTES_MAX:
        raise InvalidInputError(f"witness {witness.name!r} answered with more than {ANSWER_BYTES_MAX} bytes")
    return Answer(answer.status, content.decode("utf-8", "replace"), answer.headers.get("Content-Type", ""))


@contextmanager
def _ending(connection: HTTPConnection, seconds: float) -> Iterator[None]:
    """Close the connection at the end, and cut it when all of it together takes longer than one answer may."""

    def cut() -> None:
        with suppress(OSError, AttributeError):  # it has ended by itself
            connection.sock.shutdown(SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        connection.close()
