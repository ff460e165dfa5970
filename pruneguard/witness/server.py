"""A witness over HTTP, with the standard library only.

POST /add-checkpoint               cosign a checkpoint that continues the last one
GET  /<origin hash>/checkpoint     the newest checkpoint that was cosigned, for monitors
"""

import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from types import TracebackType
from typing import Any, Self

from pruneguard.errors import InvalidInputError, PruneGuardError, UnavailableError
from pruneguard.ledger import notes
from pruneguard.witness import protocol
from pruneguard.witness.keys import WitnessKey
from pruneguard.witness.protocol import Answer
from pruneguard.witness.state import State

CONNECTIONS_MAX = 64
IDLE_SECONDS_MAX = 10.0
CONNECTION_SECONDS_MAX = 60.0
"""After which a connection is closed, whatever goes on in it: none can be held by sending a byte now and then."""

log = logging.getLogger(__name__)

_LENGTH = re.compile(r"[0-9]{1,9}")


class Witness:
    """Decides, remembers, signs. Safe to call from any thread, beside other processes on the same state."""

    def __init__(
        self,
        state: State,
        keys: Sequence[WitnessKey],
        logs: Sequence[notes.Verifier],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not keys or not logs:
            raise InvalidInputError("a witness needs a key of its own and a log to watch")
        self._state, self._keys, self._clock = state, tuple(keys), clock
        self._logs: Mapping[str, Sequence[notes.Verifier]] = {
            origin: [key for key in logs if key.name == origin] for origin in {key.name for key in logs}
        }
        self._origins = {hashlib.sha256(origin.encode()).hexdigest(): origin for origin in self._logs}

    def add_checkpoint(self, body: bytes) -> Answer:
        """The answer to a request; a cosignature is in it only when what it says is on the disk."""
        try:
            request = protocol.Request.parse(body)
        except InvalidInputError as error:
            return Answer(400, f"{error}\n")
        if isinstance(found := protocol.opened(request, self._logs), Answer):
            return found
        note, checkpoint = found
        with self._state.deciding(checkpoint.origin) as slot:
            if (refusal := protocol.refused(request, checkpoint, latest=slot.latest)) is not None:
                if refusal.status == 422:  # the log signed it: perhaps the proof that it shows two histories
                    log.warning("refused to cosign: %s; from %d on: %r", refusal.body, request.old, request.note)
                return refusal
            now = int(self._clock())
            lines = tuple(notes.cosign(note, name=key.name, key=key.key, time=now) for key in self._keys)
            known = {(key.name, key.keyid) for key in self._logs[checkpoint.origin]}
            signed = tuple(s for s in note.signatures if (s.name, s.keyid) in known)
            slot.store(notes.Note(note.text, (*signed, *lines)).encode())
        return Answer(200, "".join(line.encode() for line in lines))

    def checkpoint(self, origin_hash: str) -> Answer:
        """The newest cosigned checkpoint of the log whose origin has this SHA-256, in hex."""
        origin = self._origins.get(origin_hash)
        note = None if origin is None else self._state.note(origin)
        return Answer(404, "no such checkpoint\n") if note is None else Answer(200, note.decode())


class WitnessServer:
    """Serves a witness in threads of its own; port 0 takes any free one. Use it as a context, or start and stop it."""

    def __init__(self, witness: Witness, *, host: str = "127.0.0.1", port: int = 0) -> None:
        try:
            self._http = _Http((host, port), witness)
        except (OSError, OverflowError) as error:
            raise UnavailableError(f"cannot listen on {host} port {port}: {error}; choose another") from error
        self.host, self.port = host, int(self._http.server_address[1])
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.1,), name="witness", daemon=True)

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.ident is not None:
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], witness: Witness) -> None:
        self.witness = witness
        self._free = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)  # a log asks again; a thread for everybody would end the witness

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.info("the connection of %s broke", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "pruneguard-witness", ""
    timeout = IDLE_SECONDS_MAX
    server: _Http

    def setup(self) -> None:
        super().setup()
        self._end = threading.Timer(CONNECTION_SECONDS_MAX, _cut, [self.connection])
        self._end.daemon = True
        self._end.start()

    def finish(self) -> None:
        self._end.cancel()
        super().finish()

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not _LENGTH.fullmatch(length):
            self._answer(Answer(411, "send a Content-Length\n"), close=True)
        elif int(length) > protocol.REQUEST_BYTES_MAX:
            self._answer(Answer(413, f"at most {protocol.REQUEST_BYTES_MAX} bytes are read\n"), close=True)
        elif len(body := self.rfile.read(int(length))) < int(length):
            self.close_connection = True
        elif self.path != protocol.PATH:
            self._answer(Answer(404, f"POST {protocol.PATH} is all there is\n"))
        else:
            self._answer(self._tried(lambda: self.server.witness.add_checkpoint(body)))

    def do_GET(self) -> None:
        match self.path.split("/"):
            case ["", origin_hash, "checkpoint"]:
                self._answer(self._tried(lambda: self.server.witness.checkpoint(origin_hash)))
            case _:
                self._answer(Answer(404, "GET /<SHA-256 of the origin, in hex>/checkpoint\n"))

    def log_message(self, format: str, *args: Any) -> None:
        log.info("%s %s", self.address_string(), format % args)

    def _tried(self, act: Callable[[], Answer]) -> Answer:
        try:
            return act()
        except PruneGuardError as error:
            log.error("%s", error)
            return Answer(503 if isinstance(error, UnavailableError) else 500, "this witness cannot decide now\n")

    def _answer(self, answer: Answer, *, close: bool = False) -> None:
        content = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(content)))
        if close:
            self.send_header("Connection", "close")  # which also makes the handler close it
        self.end_headers()
        self.wfile.write(content)


def _cut(connection: socket) -> None:
    with suppress(OSError):  # it has ended by itself
        connection.shutdown(SHUT_RDWR)
