"""A witness as others meet it: over HTTP, many at once, broken off, and killed."""

import hashlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Thread

import pytest

from pruneguard.errors import IntegrityError, InvalidInputError, UnavailableError
from pruneguard.ledger import notes
from pruneguard.witness import keys, server
from pruneguard.witness.keys import WitnessKey
from pruneguard.witness.protocol import REQUEST_BYTES_MAX, Answer, Request
from pruneguard.witness.server import Witness, WitnessServer
from pruneguard.witness.state import State
from tests.witness.logs import TinyLog, key

OWN = WitnessKey("witness.example/w", key(7))


def post(port: int, request: Request | bytes, *, path: str = "/add-checkpoint") -> Answer:
    return ask(port, "POST", path, request if isinstance(request, bytes) else request.encode())


def ask(port: int, method: str, path: str, body: bytes | None = None) -> Answer:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read().decode(), answer.headers["Content-Type"])
    finally:
        connection.close()


@pytest.fixture
def log() -> TinyLog:
    return TinyLog(200)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "witness.sqlite")


@pytest.fixture
def serving(state: State, log: TinyLog) -> Iterator[WitnessServer]:
    with WitnessServer(Witness(state, [OWN], [log.verifier])) as running:
        yield running


def test_it_cosigns_over_http_and_says_what_it_cosigned(serving: WitnessServer, log: TinyLog) -> None:
    answer = post(serving.port, log.request(0, 5))
    assert answer.status == 200
    origin_hash = hashlib.sha256(log.name.encode()).hexdigest()
    shown = ask(serving.port, "GET", f"/{origin_hash}/checkpoint")
    assert shown.body.encode() == log.note(5) + answer.body.encode()
    assert post(serving.port, log.request(0, 6)) == Answer(409, "5\n", "text/x.tlog.size")


def test_what_it_has_not_cosigned_it_does_not_show(serving: WitnessServer, log: TinyLog) -> None:
    for origin in (log.name, "log.example/stranger"):
        assert ask(serving.port, "GET", f"/{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint").status == 404
    assert ask(serving.port, "GET", "/").status == 404
    assert post(serving.port, log.request(0, 5), path="/other").status == 404


def test_one_connection_carries_many_requests(serving: WitnessServer, log: TinyLog) -> None:
    connection = HTTPConnection("127.0.0.1", serving.port, timeout=30)
    for old, new in ((0, 3), (3, 4), (4, 9)):
        connection.request("POST", "/add-checkpoint", log.request(old, new).encode())
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
    connection.close()


def test_strangers_lines_are_not_kept(serving: WitnessServer, state: State, log: TinyLog) -> None:
    note = notes.Note.parse(log.note(5))
    stranger = notes.sign(note.text, name="stranger", key=key(9)).signatures
    many = notes.Note(note.text, (*stranger, *note.signatures)).encode()
    assert post(serving.port, Request(0, (), many)).status == 200
    kept = notes.Note.parse(state.note(log.name) or b"")
    assert [line.name for line in kept.signatures] == [log.name, OWN.name]


def test_a_request_too_large_is_not_read(serving: WitnessServer, log: TinyLog) -> None:
    with socket.create_connection(("127.0.0.1", serving.port), timeout=30) as raw:
        raw.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (REQUEST_BYTES_MAX + 1))
        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")
    assert post(serving.port, log.request(0, 5)).status == 200


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"+5", b"9" * 5000, b"\xd9\xa7"])
def test_a_length_that_is_no_number_is_refused(serving: WitnessServer, length: bytes) -> None:
    with socket.create_connection(("127.0.0.1", serving.port), timeout=30) as raw:
        raw.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: " + length + b"\r\n\r\n")
        assert raw.recv(4096).startswith(b"HTTP/1.1 411 ")


def test_a_body_in_pieces_of_unknown_length_is_refused(serving: WitnessServer) -> None:
    with socket.create_connection(("127.0.0.1", serving.port), timeout=30) as raw:
        raw.sendall(b"POST /add-checkpoint HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nold 0\r\n0\r\n\r\n")
        assert raw.recv(4096).startswith(b"HTTP/1.1 411 ")


def test_a_request_broken_off_changes_nothing(serving: WitnessServer, state: State, log: TinyLog) -> None:
    body = log.request(0, 5).encode()
    with socket.create_connection(("127.0.0.1", serving.port), timeout=30) as raw:
        raw.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:-1])
        raw.shutdown(socket.SHUT_WR)
        assert raw.recv(4096) == b""
    assert state.note(log.name) is None


def test_whoever_sends_a_byte_now_and_then_is_cut_off(
    state: State, log: TinyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECTION_SECONDS_MAX", 0.2)
    with WitnessServer(Witness(state, [OWN], [log.verifier])) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=server.IDLE_SECONDS_MAX / 2) as raw:
            raw.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 100\r\n\r\nold")
            assert raw.recv(4096) == b""
        assert post(running.port, log.request(0, 5)).status == 200


def test_more_connections_than_it_has_threads_for_do_not_end_it(
    state: State, log: TinyLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 3)
    with WitnessServer(Witness(state, [OWN], [log.verifier])) as running:
        idle = [socket.create_connection(("127.0.0.1", running.port), timeout=30) for _ in range(4)]
        assert idle[3].recv(1) == b""  # the fourth is turned away
        for one in idle:
            one.close()
        assert until_answered(running.port, log.request(0, 5)).status == 200


def until_answered(port: int, request: Request) -> Answer:
    """The threads of connections that just closed end in their own time."""
    for _ in range(1_000):
        try:
            return post(port, request)
        except OSError:
            continue
    raise AssertionError("it never answered")


def test_of_many_who_extend_the_same_checkpoint_all_end_on_one_history(
    serving: WitnessServer, state: State, log: TinyLog
) -> None:
    """Two histories of one log race from the same size: whichever is first, nothing of the other is ever cosigned."""
    fork = TinyLog(200, forked_at=10)
    assert post(serving.port, log.request(0, 10)).status == 200

    def climb(side: TinyLog) -> list[tuple[int, bytes]]:
        """Cosigned sizes and roots, following the size that the witness names."""
        signed, size = list[tuple[int, bytes]](), 10
        for new in range(11, 60):
            answer = post(serving.port, side.request(min(size, new), new))
            if answer.status == 200:
                signed.append((new, side.root(new)))
                size = new
            elif answer.status == 409:
                size = int(answer.body)
            else:
                assert answer.status == 422
        return signed

    with ThreadPoolExecutor(8) as pool:
        sides = [log, fork] * 4
        cosigned = [pair for signed in pool.map(climb, sides) for pair in signed]
    true, false = ({(size, side.root(size)) for size in range(11, 60)} for side in (log, fork))
    assert cosigned
    assert set(cosigned) <= true or set(cosigned) <= false
    kept = notes.Checkpoint.parse(notes.Note.parse(state.note(log.name) or b"").text)
    assert (kept.size, kept.root) == max(cosigned)


def test_two_processes_on_one_state_never_cosign_two_histories(tmp_path: Path, log: TinyLog) -> None:
    fork = TinyLog(200, forked_at=0)
    files = prepared(tmp_path, log)
    with served(files) as one, served(files) as two, ThreadPoolExecutor(8) as pool:
        asked = [(one, log), (two, fork), (one, fork), (two, log)] * 5
        answers = list(pool.map(lambda pair: (pair[1], post(pair[0][1], pair[1].request(0, 20))), asked))
    winners = {side is log for side, answer in answers if answer.status == 200}
    assert len(winners) == 1
    assert {answer.status for _, answer in answers} <= {200, 409}


def prepared(folder: Path, log: TinyLog) -> list[str]:
    """A key and a log's verifier key on disk, and the arguments that name them."""
    keys.new(folder / "w.key", OWN.name)
    (folder / "log.vkey").write_text(f"{log.verifier.vkey}\n")
    names = {"--key": "w.key", "--log": "log.vkey", "--state": "w.sqlite"}
    return [part for option, name in names.items() for part in (option, str(folder / name))]


@contextmanager
def served(arguments: list[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`pruneguard witness serve` in a process of its own, and its port."""
    command = [sys.executable, "-m", "pruneguard.cli", "witness", "serve", *arguments, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        yield process, int(line.rpartition(":")[2].split(",")[0])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_witness_killed_at_any_moment_never_forgets_what_it_signed(tmp_path: Path, log: TinyLog) -> None:
    """Kill -9 in the middle of a commit, over and over: the next one knows at least what the last one signed."""
    arguments, signed = prepared(tmp_path, log), [0]
    for turn in range(6):
        enough = len(signed) + 3 * turn
        with served(arguments) as (process, port):
            climbing = Thread(target=climb, args=(port, log, signed))
            climbing.start()
            kill_at_a_commit(process, tmp_path / "w.sqlite-journal", lambda enough=enough: len(signed) > enough)
            climbing.join()
        with served(arguments) as (_, port):
            answer = post(port, log.request(0, 1))
            assert (answer.status, int(answer.body) >= signed[-1]) == (409, True)
            known = int(answer.body)
            assert post(port, TinyLog(200, forked_at=0).request(known, 199)).status == 422
            assert post(port, log.request(known, known)).status == 200
    assert len(signed) > 15


def climb(port: int, log: TinyLog, signed: list[int]) -> None:
    """Step by step from where the witness is; adds each size that came back signed, until nothing does."""
    size = signed[-1]
    with suppress(OSError, HTTPException):
        while True:
            answer = post(port, log.request(size, size + 1))
            if answer.status == 409:
                size = int(answer.body)
            else:
                assert answer.status == 200
                size += 1
                signed.append(size)


def kill_at_a_commit(process: subprocess.Popen[str], journal: Path, ready: Callable[[], bool]) -> None:
    """While a rollback journal lies there, a decision is on its way to the disk."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (ready() and journal.exists()):
        pass
    process.kill()
    process.wait()


def test_terminated_it_ends_well(tmp_path: Path, log: TinyLog) -> None:
    with served(prepared(tmp_path, log)) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_taken_port_is_told(serving: WitnessServer, state: State, log: TinyLog) -> None:
    with pytest.raises(UnavailableError, match=str(serving.port)):
        WitnessServer(Witness(state, [OWN], [log.verifier]), port=serving.port)


def test_a_damaged_state_signs_nothing(tmp_path: Path, log: TinyLog) -> None:
    path = tmp_path / "w.sqlite"
    with WitnessServer(Witness(State(path), [OWN], [log.verifier])) as running:
        path.write_bytes(b"no database at all, and long enough to be read as a header of one" * 99)
        assert post(running.port, log.request(0, 5)).status == 500
    with pytest.raises(IntegrityError):
        State(path)


def test_a_state_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnavailableError):
        State(tmp_path / "folder")


def test_a_witness_needs_nothing_of_the_service() -> None:
    program = (
        "import sys, sysconfig\n"
        "before = set(sys.modules)\n"
        "import pruneguard.cli.witness, pruneguard.witness.server, pruneguard.witness.keys, pruneguard.witness.client\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    foreign = set(ran.stdout.split()) - sys.stdlib_module_names - {"pruneguard"}
    assert foreign <= {"cryptography", "rfc8785", "cffi", "_cffi_backend", "_openssl"}


# -- keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", keys.ALGORITHMS)
def test_a_key_survives_its_file_and_nobody_else_can_read_it(tmp_path: Path, algorithm: str) -> None:
    made = keys.new(tmp_path / "w.key", "witness.example/w", algorithm=algorithm)
    assert keys.load(tmp_path / "w.key").verifier == made.verifier
    assert (tmp_path / "w.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(InvalidInputError, match="never overwritten"):
        keys.new(tmp_path / "w.key", "witness.example/w")


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    keys.new(tmp_path / "w.key", "witness.example/w")
    (tmp_path / "w.key").chmod(0o644)
    with pytest.raises(InvalidInputError, match="chmod 600"):
        keys.load(tmp_path / "w.key")


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"kind": "log-key/v1"}', '{"kind": "witness-key/v1", "vkey": 3}'])
def test_a_file_that_is_no_key_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "w.key"
    path.touch(mode=0o600)
    path.write_text(content)
    with pytest.raises(InvalidInputError, match=str(path)):
        keys.load(path)


def test_a_key_beside_another_keys_name_is_refused(tmp_path: Path) -> None:
    keys.new(tmp_path / "a.key", "witness.example/a")
    keys.new(tmp_path / "b.key", "witness.example/b")
    vkeys = [keys.load(tmp_path / name).verifier.vkey for name in ("a.key", "b.key")]
    content = (tmp_path / "a.key").read_text().replace(vkeys[0], vkeys[1])
    (tmp_path / "a.key").write_text(content)
    with pytest.raises(InvalidInputError, match="not the one"):
        keys.load(tmp_path / "a.key")


def test_a_key_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="witness new"):
        keys.load(tmp_path / "none.key")


def test_no_key_has_a_name_that_forges_a_line_or_an_unknown_algorithm(tmp_path: Path) -> None:
    for name, algorithm in (("two words", "ed25519"), ("w", "rsa")):
        with pytest.raises(InvalidInputError):
            keys.new(tmp_path / "w.key", name, algorithm=algorithm)
    assert list(tmp_path.iterdir()) == []
