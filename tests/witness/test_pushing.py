"""The log's side: real witnesses over HTTP, witnesses that are away, slow, wrong or malicious, and what is kept."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pruneguard.errors import IntegrityError, InvalidInputError, UnavailableError
from pruneguard.ledger import notes
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.trust import TrustPolicy, Witness
from pruneguard.testing import START, memory_ledger, register
from pruneguard.witness import client, server
from pruneguard.witness.cosigned import Cosigned, bundle_files
from pruneguard.witness.keys import WitnessKey
from pruneguard.witness.protocol import Request
from pruneguard.witness.pushing import Pushing, Round, push
from pruneguard.witness.server import WitnessServer
from pruneguard.witness.state import State
from tests.witness.logs import TinyLog, key

LOG = TinyLog()
OWN = WitnessKey("witness.example/w", key(7))


class Stage:
    """A ledger, its witnesses by name, and the policy that names them."""

    def __init__(self, folder: Path, names: tuple[str, ...], quorum: str) -> None:
        self.folder, self.ledger = folder, memory_ledger()
        self.keys = {name: WitnessKey(f"{name}.example/w", key(seed)) for seed, name in enumerate(names, 50)}
        self.cosigned = Cosigned(folder / "anchors" / "witnessed")
        self._running = dict[str, WitnessServer]()
        for name in names:
            self.start(name)
        lines = [f"witness {name} {self.keys[name].verifier.vkey} {one.url}" for name, one in self._running.items()]
        members = " ".join(names)
        text = "\n".join([*lines, f"group enough {quorum} {members}", "quorum enough", ""])
        self.policy = TrustPolicy.parse(text.encode())

    def start(self, name: str, port: int = 0) -> None:
        state = State(self.folder / f"{name}.sqlite")
        witness = server.Witness(state, [self.keys[name]], [self.ledger.verifier])
        self._running[name] = running = WitnessServer(witness, port=port)
        running.start()

    def stop(self, name: str) -> int:
        self._running[name].stop()
        return self._running.pop(name).port

    def close(self) -> None:
        for running in self._running.values():
            running.stop()

    def push(self) -> Round:
        return push(self.ledger, self.policy, self.cosigned, timeout_s=5)

    def kept(self) -> tuple[int, list[str]]:
        """Size of the note that is kept, and whose lines it carries besides the log's."""
        note = self.cosigned.read(self.ledger.verifier)
        assert note is not None
        verified = [w.name for w in self.policy.witnesses if note.signed_by(w.verifier)]
        assert len(note.signatures) == 1 + len(verified)
        return notes.Checkpoint.parse(note.text).size, verified


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, ("a", "b", "c"), "2")
    yield stage
    stage.close()


def test_every_witness_signs_and_their_lines_are_kept_on_one_note(stage: Stage) -> None:
    assert stage.push() == Round(1, ("a", "b", "c"), {})
    assert stage.kept() == (1, ["a", "b", "c"])
    register(stage.ledger)
    assert stage.push() == Round(5, ("a", "b", "c"), {})
    assert stage.kept() == (5, ["a", "b", "c"])


def test_what_did_not_grow_is_not_asked_again_until_it_is_old(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.push()
    before = stage.cosigned.path.read_bytes()
    for name in ("a", "b", "c"):
        stage.stop(name)
    assert stage.push() == Round(1, ("a", "b", "c"), {})
    assert stage.cosigned.path.read_bytes() == before
    monkeypatch.setattr("pruneguard.witness.pushing.REFRESH_SECONDS", -1)
    assert stage.push().failures.keys() == {"a", "b", "c"}


def test_a_witness_that_is_away_costs_its_own_line_and_catches_up(stage: Stage) -> None:
    stage.push()
    port = stage.stop("b")
    register(stage.ledger)
    done = stage.push()
    assert done.cosigned == ("a", "c")
    assert "does not answer" in done.failures["b"]
    assert stage.kept() == (5, ["a", "c"])
    stage.start("b", port)
    assert stage.push() == Round(5, ("a", "b", "c"), {})
    assert stage.kept() == (5, ["a", "b", "c"])


def test_a_larger_note_short_of_the_quorum_does_not_replace_one_that_has_it(stage: Stage) -> None:
    stage.push()
    for name in ("b", "c"):
        stage.stop(name)
    register(stage.ledger)
    assert stage.push().cosigned == ("a",)
    assert stage.kept() == (1, ["a", "b", "c"])


def test_a_forgotten_file_is_made_again_by_the_size_that_the_witness_names(stage: Stage) -> None:
    stage.push()
    register(stage.ledger)
    stage.push()
    stage.cosigned.path.unlink()
    assert stage.push() == Round(5, ("a", "b", "c"), {})
    assert stage.kept() == (5, ["a", "b", "c"])


def test_a_forked_ledger_is_told_by_the_witnesses_where_nothing_was_kept(stage: Stage) -> None:
    register(stage.ledger)
    stage.push()
    stage.cosigned.path.unlink()
    stage.ledger = memory_ledger()  # an old backup
    for reason in stage.push().failures.values():
        assert "has seen 5 entries of this log, which holds 1" in reason
    register(stage.ledger, time=START + timedelta(minutes=1))  # and what was appended to it
    for reason in stage.push().failures.values():
        assert "another history" in reason
    assert not stage.cosigned.path.exists()


def test_a_forked_ledger_is_found_by_what_was_kept_before_anybody_is_asked(stage: Stage) -> None:
    register(stage.ledger)
    stage.push()
    stage.ledger = memory_ledger()
    with pytest.raises(IntegrityError, match=r"cosigned 5 entries .* holds 1"):
        stage.push()
    register(stage.ledger, time=START + timedelta(minutes=1))
    with pytest.raises(IntegrityError, match="another history than the 5 entries"):
        stage.push()
    assert stage.kept()[0] == 5


def test_a_bundle_gets_the_policy_and_the_note_unless_the_ledger_was_forked(stage: Stage) -> None:
    assert bundle_files(stage.cosigned, None, stage.ledger) == {}
    assert bundle_files(stage.cosigned, b"quorum none\n", stage.ledger) == {"ledger/trust-policy.txt": b"quorum none\n"}
    register(stage.ledger)
    stage.push()
    files = bundle_files(stage.cosigned, b"quorum none\n", stage.ledger)
    assert files["ledger/witnessed"] == stage.cosigned.path.read_bytes()
    with pytest.raises(InvalidInputError, match="line 1"):
        bundle_files(stage.cosigned, b"none\n", stage.ledger)
    with pytest.raises(IntegrityError):
        bundle_files(stage.cosigned, b"quorum none\n", memory_ledger())


# -- the file -----------------------------------------------------------------------------------------------------

ANY = TrustPolicy.parse(f"witness w {OWN.verifier.vkey}\nquorum none\n".encode())


def line(size: int, *, log: TinyLog = LOG, own: WitnessKey = OWN, at: int = 1_700_000_000) -> notes.Signature:
    return notes.cosign(notes.Note.parse(log.note(size)), name=own.name, key=own.key, time=at)


def merge(cosigned: Cosigned, size: int, *lines: notes.Signature, log: TinyLog = LOG) -> None:
    cosigned.merge(notes.Note.parse(log.note(size)), lines, log=LOG.verifier, policy=ANY)


def test_a_smaller_note_never_replaces_a_larger_one(tmp_path: Path) -> None:
    cosigned = Cosigned(tmp_path / "witnessed")
    merge(cosigned, 20, line(20))
    before = cosigned.path.read_bytes()
    merge(cosigned, 19, line(19))
    assert cosigned.path.read_bytes() == before
    merge(cosigned, 21, line(21))
    assert b"\n21\n" in cosigned.path.read_bytes()


def test_lines_of_one_note_come_together_and_the_newer_of_a_key_wins(tmp_path: Path) -> None:
    cosigned, other = Cosigned(tmp_path / "witnessed"), WitnessKey("other.example/w", key(8))
    merge(cosigned, 20, line(20, at=5))
    merge(cosigned, 20, line(20, own=other), line(20, at=4))
    note = cosigned.read(LOG.verifier)
    assert note is not None
    assert note.signatures == (*notes.Note.parse(LOG.note(20)).signatures, line(20, own=other), line(20, at=5))


def test_two_histories_of_one_size_are_never_merged(tmp_path: Path) -> None:
    cosigned, fork = Cosigned(tmp_path / "witnessed"), TinyLog(forked_at=3)
    merge(cosigned, 20, line(20))
    with pytest.raises(IntegrityError, match="two histories"):
        merge(cosigned, 20, line(20, log=fork), log=fork)


def test_a_kept_file_that_was_changed_is_told(tmp_path: Path) -> None:
    cosigned = Cosigned(tmp_path / "witnessed")
    cosigned.path.write_bytes(LOG.note(20).replace(b"\n20\n", b"\n21\n"))
    with pytest.raises(IntegrityError, match="changed it"):
        merge(cosigned, 30, line(30))


def test_many_who_keep_at_once_lose_no_line(tmp_path: Path) -> None:
    cosigned = Cosigned(tmp_path / "witnessed")
    own = [WitnessKey(f"w{seed}.example", key(seed)) for seed in range(1, 13)]
    threads = [threading.Thread(target=merge, args=(cosigned, 20, line(20, own=one))) for one in own]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    note = cosigned.read(LOG.verifier)
    assert note is not None
    assert all(note.signed_by(one.verifier) for one in own)


# -- witnesses that answer something else ---------------------------------------------------------------------------

Reply = Callable[[BaseHTTPRequestHandler, Request], None]


@contextmanager
def answering(reply: Reply) -> Iterator[str]:
    """A server that reads a request and does what it likes; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            reply(self, Request.parse(body))

        def log_message(self, *_: object) -> None: ...

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None: ...

    http = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}/prefix/"
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def says(status: int, body: str, **headers: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler, _: Request) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body.encode())

    return reply


def signing(**changes: object) -> Reply:
    """What a witness that signs something else than it was asked would send."""

    def reply(handler: BaseHTTPRequestHandler, request: Request) -> None:
        note = notes.Note.parse(request.note)
        if "log" in changes:
            note = notes.Note.parse(LOG.note(3))
        own = changes.get("own", OWN)
        assert isinstance(own, WitnessKey)
        moment = int(time.time()) + int(str(changes.get("later", 0)))
        says(200, notes.cosign(note, name=own.name, key=own.key, time=moment).encode())(handler, request)

    return reply


def asked(url: str, *, timeout_s: float = 5.0) -> notes.Signature:
    return client.cosignature(
        Witness("w", OWN.verifier, url),
        notes.Note.parse(LOG.note(9)),
        known_size=4,
        prove=lambda old: LOG.proof(old, 9),
        timeout_s=timeout_s,
    )


def test_what_an_honest_witness_signs_comes_out() -> None:
    with answering(signing()) as url:
        signed = asked(url)
    assert OWN.verifier.verifies(LOG.checkpoint(9).text(), signed.blob)


def dripping(handler: BaseHTTPRequestHandler, _: Request) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(100):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.05)


def silent(handler: BaseHTTPRequestHandler, _: Request) -> None:
    time.sleep(1)


STRANGER = WitnessKey("witness.example/w", key(8))
SIZE = {"Content_Type": "text/x.tlog.size"}


@pytest.mark.parametrize(
    ("reply", "kind", "why"),
    [
        (says(200, ""), InvalidInputError, "did not sign"),
        (says(200, "garbage"), InvalidInputError, "something else"),
        (says(200, "garbage\n"), InvalidInputError, "not"),
        (says(200, "\N{EM DASH} witness.example/w AAAA\n"), InvalidInputError, "not a signature line"),
        (says(200, "\xff\n" * 40), InvalidInputError, "something else"),
        (says(200, "x" * 70_000), InvalidInputError, "more than"),
        (says(200, LOG.note(9).decode()), InvalidInputError, "not"),
        (signing(own=STRANGER), InvalidInputError, "did not sign with"),
        (signing(log=LOG), InvalidInputError, "does not hold"),
        (signing(later=3600), InvalidInputError, "clocks"),
        (signing(later=-3600), InvalidInputError, "clocks"),
        (says(409, "5\n"), InvalidInputError, "without the size"),
        (says(409, "five\n", **SIZE), InvalidInputError, "without the size"),
        (says(409, "05\n", **SIZE), InvalidInputError, "without the size"),
        (says(409, "-1\n", **SIZE), InvalidInputError, "without the size"),
        (says(409, "10\n", **SIZE), IntegrityError, "has seen 10 entries of this log, which holds 9"),
        (says(409, "5\n", **SIZE), UnavailableError, "answered 409"),
        (says(409, "9\n", **SIZE), IntegrityError, "has seen 9 entries of this log too"),
        (says(422, "no\n"), IntegrityError, "another history"),
        (says(404, "who?\n"), InvalidInputError, "verifier key"),
        (says(403, "no\n"), InvalidInputError, "verifier key"),
        (says(503, "later\n"), UnavailableError, "asked again"),
        (says(302, "", Location="http://127.0.0.1:9/"), UnavailableError, "answered 302"),
        (silent, UnavailableError, "does not answer"),
        (dripping, UnavailableError, "does not answer"),
        (lambda handler, _: handler.wfile.write(b"\x00\x01\x02"), UnavailableError, "does not answer"),
        (lambda handler, _: handler.connection.close(), UnavailableError, "does not answer"),
    ],
)
def test_of_any_other_answer_nothing_is_kept(reply: Reply, kind: type[Exception], why: str) -> None:
    with answering(reply) as url, pytest.raises(kind, match=why):
        asked(url, timeout_s=0.4)


def test_an_answer_in_drops_is_cut_off_in_time() -> None:
    began = time.monotonic()
    with answering(dripping) as url, pytest.raises(UnavailableError, match="does not answer"):
        asked(url, timeout_s=0.4)
    assert time.monotonic() - began < 4  # the drops would go on for five seconds


@pytest.mark.parametrize(
    "url", ["", "witness.example", "ftp://w", "http://", "http://w?x", "http://[::1", "http://w:port", "http://w\xff/"]
)
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises((InvalidInputError, UnavailableError), match="'w'"):
        asked(url)


# -- the thread -----------------------------------------------------------------------------------------------------


def test_the_thread_pushes_what_is_appended_and_ends_when_told(stage: Stage) -> None:
    rounds, pushed = list[Round](), threading.Semaphore(0)

    def heard(done: Round) -> None:
        rounds.append(done)
        pushed.release()

    pushing = Pushing(
        lambda: stage.ledger.reopen(), stage.policy, stage.cosigned, interval_s=0.01, timeout_s=5, report=heard
    )
    with pushing:
        assert pushed.acquire(timeout=30)
        register(stage.ledger)
        while rounds[-1].size < 5:
            assert pushed.acquire(timeout=30)
    assert rounds[-1] == Round(5, ("a", "b", "c"), {})
    assert stage.kept() == (5, ["a", "b", "c"])
    assert not [thread for thread in threading.enumerate() if thread.name == "witnesses"]


def test_trouble_is_logged_once_and_its_end_too(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    port = stage.stop("a")
    rounds = threading.Semaphore(0)
    opened = list[Ledger]()

    def open_ledger() -> Ledger:
        opened.append(stage.ledger.reopen())
        if len(opened) == 1:
            raise UnavailableError("the ledger is away")
        return opened[-1]

    with (
        caplog.at_level("INFO", "pruneguard.witness.pushing"),
        Pushing(open_ledger, stage.policy, stage.cosigned, interval_s=0.01, report=lambda _: rounds.release()),
    ):
        for _ in range(6):
            assert rounds.acquire(timeout=30)
        stage.start("a", port)
        while "cosigned by a again" not in caplog.text:
            assert rounds.acquire(timeout=30)
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [sum(name in text and "is away" in text for text in told) for name in ("by a:", "by b:", "by c:")] == [1] * 3
    assert sum("does not answer" in text for text in told) == 1
