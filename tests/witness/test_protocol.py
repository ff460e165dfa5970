"""The witness protocol against litewitness's own test script, and each rule of the specification by itself."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pruneguard.errors import InvalidInputError
from pruneguard.ledger import merkle, notes
from pruneguard.witness.keys import WitnessKey
from pruneguard.witness.protocol import Request
from pruneguard.witness.server import Witness
from pruneguard.witness.state import State
from tests.witness.logs import TinyLog, key

# FiloSottile/torchwood @341dc2f, cmd/litewitness/testdata: what is sent to litewitness, and what it must answer.
TORCHWOOD = Path(__file__).parents[1] / "assets" / "torchwood"
SIGSUM = notes.Verifier(
    "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562",
    notes.ED25519,
    bytes.fromhex("ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f"),
)
SUMDB = notes.Verifier.parse("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")
ASKED = re.compile(r"^POST .*?/add-checkpoint\n```\n(.*?)```\nHTTP (\d+)\n\[Asserts\]\nbody (.*?)\n", re.DOTALL | re.M)
TIME = 1_700_000_000


def witness_of(folder: Path, *logs: notes.Verifier, seed: int = 7) -> Witness:
    own = WitnessKey("example.com/witness", key(seed))
    return Witness(State(folder / "witness.sqlite"), [own], logs, clock=lambda: TIME)


@pytest.fixture
def log() -> TinyLog:
    return TinyLog()


@pytest.fixture
def witness(tmp_path: Path, log: TinyLog) -> Witness:
    return witness_of(tmp_path, log.verifier)


def script(name: str) -> list[tuple[bytes, int, str]]:
    return [(body.encode(), int(status), told) for body, status, told in ASKED.findall((TORCHWOOD / name).read_text())]


def test_litewitness_own_script_gets_the_answers_that_it_expects(tmp_path: Path) -> None:
    witness = witness_of(tmp_path, SIGSUM)
    steps = script("add-checkpoint.hurl")
    assert [status for _, status, _ in steps] == [200, 403, 403, 422, 422, 200, 409, 200, 409]
    for body, status, told in steps:
        answer = witness.add_checkpoint(body)
        if "unknown log" in told:
            status = 404  # litewitness says 403 here; the specification says 404
        assert answer.status == status, body
        if status == 200:
            assert answer.body.startswith("— example.com/witness ")
        if status == 409:
            assert f'== "{answer.body[:-1]}\\n"' in told
            assert answer.content_type == "text/x.tlog.size"


def test_a_key_counts_for_the_origin_that_it_is_named_after_and_for_no_other(tmp_path: Path) -> None:
    """The Go checksum database signs under another name than its origin's, which C2SP tlog-policy forbids."""
    [(body, _, _)] = script("sumdb.hurl")
    assert notes.Note.parse(Request.parse(body).note).signed_by(SUMDB) is not None
    assert witness_of(tmp_path, SUMDB).add_checkpoint(body).status == 404


def test_a_cosignature_is_over_the_checkpoint_that_was_sent(witness: Witness, log: TinyLog) -> None:
    answer = witness.add_checkpoint(log.request(0, 5).encode())
    assert answer.status == 200
    line = notes.parse_signature(answer.body.removesuffix("\n"))
    note = notes.Note(log.checkpoint(5).text(), (line,))
    assert note.signed_by(WitnessKey("example.com/witness", key(7)).verifier) is not None
    assert line.time == TIME


def test_every_step_from_every_size_is_followed(tmp_path: Path, log: TinyLog) -> None:
    for old in range(1, 14):
        witness = witness_of(tmp_path / str(old), log.verifier)
        for before, after in ((0, old), (old, old), (old, 14), (14, 40)):
            assert witness.add_checkpoint(log.request(before, after).encode()).status == 200


def test_a_repeated_checkpoint_is_cosigned_again(witness: Witness, log: TinyLog) -> None:
    first = witness.add_checkpoint(log.request(0, 9).encode())
    assert witness.add_checkpoint(log.request(9, 9).encode()) == first


@pytest.mark.parametrize(("old", "new"), [(0, 9), (8, 9), (9, 8), (10, 12)])
def test_a_size_that_was_not_the_last_is_answered_with_the_last(
    witness: Witness, log: TinyLog, old: int, new: int
) -> None:
    witness.add_checkpoint(log.request(0, 7).encode())
    answer = witness.add_checkpoint(replace(log.request(min(old, new), new), old=min(old, new)).encode())
    assert (answer.status, answer.body, answer.content_type) == (409, "7\n", "text/x.tlog.size")


def test_an_old_size_above_the_checkpoints_is_malformed(witness: Witness, log: TinyLog) -> None:
    assert witness.add_checkpoint(replace(log.request(0, 7), old=8).encode()).status == 400


@pytest.mark.parametrize("forked_at", [0, 3, 6])
def test_a_fork_is_refused_at_the_same_size_and_above(witness: Witness, log: TinyLog, forked_at: int) -> None:
    witness.add_checkpoint(log.request(0, 7).encode())
    other = TinyLog(forked_at=forked_at)
    for new in (7, 12):
        assert witness.add_checkpoint(other.request(7, new).encode()).status == 422
    assert witness.add_checkpoint(log.request(7, 12).encode()).status == 200  # and it cost the true log nothing


def test_a_history_that_forks_after_what_was_seen_is_not_yet_one_of_two(witness: Witness, log: TinyLog) -> None:
    witness.add_checkpoint(log.request(0, 7).encode())
    assert witness.add_checkpoint(TinyLog(forked_at=7).request(7, 12).encode()).status == 200
    assert witness.add_checkpoint(log.request(7, 12).encode()).status == 409
    assert witness.add_checkpoint(log.request(12, 13).encode()).status == 422


@pytest.mark.parametrize("spoil", ["extra", "missing", "reordered", "changed", "empty"])
def test_a_proof_that_is_not_exactly_right_is_refused(witness: Witness, log: TinyLog, spoil: str) -> None:
    witness.add_checkpoint(log.request(0, 7).encode())
    request = log.request(7, 12)
    proofs = {
        "extra": (*request.proof, request.proof[0]),
        "missing": request.proof[:-1],
        "reordered": request.proof[::-1],
        "changed": (bytes(32), *request.proof[1:]),
        "empty": (),
    }
    assert witness.add_checkpoint(replace(request, proof=proofs[spoil]).encode()).status == 422
    assert witness.add_checkpoint(request.encode()).status == 200


def test_from_nothing_the_proof_is_empty(witness: Witness, log: TinyLog) -> None:
    assert witness.add_checkpoint(replace(log.request(0, 7), proof=(bytes(32),)).encode()).status == 422


def test_an_empty_log_has_the_root_of_nothing(witness: Witness, log: TinyLog) -> None:
    for root, status in ((bytes(32), 422), (merkle.EMPTY_ROOT, 200)):
        note = notes.Checkpoint(log.name, 0, root).sign(log.key)
        assert witness.add_checkpoint(Request(0, (), note).encode()).status == status
    assert witness.add_checkpoint(log.request(0, 3).encode()).status == 200


def test_a_log_that_nobody_named_is_unknown(witness: Witness) -> None:
    stranger = TinyLog(name="log.example/stranger")
    assert witness.add_checkpoint(stranger.request(0, 3).encode()).status == 404


def test_a_checkpoint_signed_by_nobody_known_is_forbidden(witness: Witness, log: TinyLog) -> None:
    other = Ed25519PrivateKey.generate()
    stranger = notes.sign(log.checkpoint(3).text(), name="stranger", key=other).encode()
    same_name = notes.sign(log.checkpoint(3).text(), name=log.name, key=other).encode()
    line = notes.Signature(log.name, log.verifier.keyid, other.sign(log.checkpoint(3).text().encode()))
    same_id = notes.Note(log.checkpoint(3).text(), (line,)).encode()
    for note in (stranger, same_name, same_id):
        assert witness.add_checkpoint(Request(0, (), note).encode()).status == 403


def test_a_false_line_beside_a_true_one_spoils_the_note(witness: Witness, log: TinyLog) -> None:
    true = notes.Note.parse(log.note(3))
    false = notes.Signature(log.name, log.verifier.keyid, bytes(64))
    for lines in ((*true.signatures, false), (false, *true.signatures)):
        answer = witness.add_checkpoint(Request(0, (), notes.Note(true.text, lines).encode()).encode())
        assert answer.status == 403


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: b"",
        lambda body: body.replace(b"old 7", b"old 07"),
        lambda body: body.replace(b"old 7", b"old +7"),
        lambda body: body.replace(b"old 7", b"old -7"),
        lambda body: body.replace(b"old 7", b"OLD 7"),
        lambda body: body.replace(b"old 7", b" old 7"),
        lambda body: body.replace(b"old 7", b"old 99999999999999999999"),
        lambda body: body.replace(b"old 7", "old \N{ARABIC-INDIC DIGIT SEVEN}".encode()),
        lambda body: body.replace(b"old 7\n", b"old 7\r\n"),
        lambda body: body.replace(b"old 7\n", b"old 7\nAAAA\n"),
        lambda body: body.replace(b"old 7\n", b"old 7\n" + b"A" * 42 + b"B=\n"),
        lambda body: body.replace(b"old 7\n", b"old 7\n" + 60 * (b"A" * 43 + b"=\n")),
        lambda body: body.replace(b"\n\n", b"\n", 1),
    ],
)
def test_what_is_not_exactly_a_request_is_malformed(witness: Witness, log: TinyLog, spoil) -> None:
    witness.add_checkpoint(log.request(0, 7).encode())
    body = log.request(7, 12).encode()
    assert spoil(body) != body
    assert witness.add_checkpoint(spoil(body)).status == 400


@pytest.mark.parametrize(
    "spoil",
    [
        lambda note: b"",
        lambda note: note[:-1],
        lambda note: note + b"\n",
        lambda note: note + b"\xff",
        lambda note: note.replace("—".encode(), b"-"),
        lambda note: note.replace(b"\n12\n", b"\n13\n"),
        lambda note: note.partition(b"\n\n")[0] + b"\n\n",
    ],
)
def test_what_carries_no_valid_signature_is_forbidden(witness: Witness, log: TinyLog, spoil) -> None:
    request = log.request(0, 12)
    assert witness.add_checkpoint(replace(request, note=spoil(request.note)).encode()).status == 403


@pytest.mark.parametrize("text", ["log.example/tiny\n012\n", "log.example/tiny\n12\n", "log.example/tiny\n-1\nAAAA\n"])
def test_what_the_log_signed_and_is_no_checkpoint_is_malformed(witness: Witness, log: TinyLog, text: str) -> None:
    note = notes.sign(text, name=log.name, key=log.key).encode()
    assert witness.add_checkpoint(Request(0, (), note).encode()).status == 400


def test_a_request_survives_its_bytes(log: TinyLog) -> None:
    request = log.request(7, 12)
    assert Request.parse(request.encode()) == request


def test_a_log_may_have_several_keys_and_a_witness_too(tmp_path: Path, log: TinyLog) -> None:
    old_key = Ed25519PrivateKey.generate()
    own = [WitnessKey("example.com/witness", key(seed)) for seed in (1, 2)]
    own.append(WitnessKey("example.com/witness", notes.new_mldsa_key()))
    logs = [notes.verifier_of(log.name, old_key), log.verifier]
    witness = Witness(State(tmp_path / "w.sqlite"), own, logs, clock=lambda: TIME)
    answer = witness.add_checkpoint(log.request(0, 7).encode())
    lines = tuple(notes.parse_signature(line) for line in answer.body.splitlines())
    note = notes.Note(log.checkpoint(7).text(), lines)
    assert [note.signed_by(one.verifier) for one in own] == list(lines)


def test_without_a_key_or_a_log_there_is_no_witness(tmp_path: Path, log: TinyLog) -> None:
    state = State(tmp_path / "w.sqlite")
    with pytest.raises(InvalidInputError):
        Witness(state, [], [log.verifier])
    with pytest.raises(InvalidInputError):
        Witness(state, [WitnessKey("w", key(1))], [])
