"""The verifier in one file: its cryptography, its readers, and that it needs nothing and says what it has not done."""

import ast
import base64
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from pruneguard import canonical, testing
from pruneguard.audit import bundle
from pruneguard.audit.standalone import verify as standalone
from pruneguard.audit.verify import verify
from pruneguard.errors import InvalidInputError
from pruneguard.held import Kept
from pruneguard.ledger import dsse, merkle, notes, tiles
from pruneguard.ledger.trust import TrustPolicy
from tests import trees
from tests.attacks.attacker import NOW, Forger, cosigned, trust
from tests.audit.conftest import Told, contents, listed, packed, whole

PROGRAM = Path(standalone.__file__)


@pytest.fixture(scope="module")
def plain(told: Told) -> dict[str, bytes]:
    """The bundle of the story without control frameworks."""
    return contents(told.ledger, told.artifacts, model=told.story.model, frameworks={})


def failures(report: dict[str, object]) -> list[str]:
    return [f"{check['level']} {check['place']}: {check['detail']}" for check in report["checks"] if not check["ok"]]  # type: ignore[attr-defined]


# -- the program


def test_it_imports_the_standard_library_and_cryptography_if_there_is_one() -> None:
    imported = set()
    for node in ast.walk(ast.parse(PROGRAM.read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level
            imported.add(str(node.module).partition(".")[0])
    assert imported - sys.stdlib_module_names == {"cryptography"}


def test_it_runs_out_of_a_bundle_in_a_python_that_has_nothing_installed(
    plain: dict[str, bytes], tmp_path: Path
) -> None:
    path, program = packed(plain, tmp_path / "b.tar"), tmp_path / "verify.py"
    program.write_bytes(plain[bundle.PROGRAM])
    bare = [sys.executable, "-I", "-S", program, path]
    nothing = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import cryptography"], capture_output=True, check=False
    )
    assert nothing.returncode == 1
    ran = subprocess.run(bare, capture_output=True, text=True, check=True)
    assert "verified; guarantee: self-signed only" in ran.stdout
    path.write_bytes(path.read_bytes().replace(b"digits", b"digitz", 1))
    assert subprocess.run(bare, capture_output=True, check=False).returncode == 10


def test_it_says_who_answered_when_and_what_it_did_not_do(
    plain: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = packed(plain, tmp_path / "b.tar")
    assert standalone.main([str(path)]) == 0
    said = capsys.readouterr().out
    assert said.count("live 20") == 4
    assert "version 2 (28a63136a50d) 1, approved by grace (signed)" in said
    assert "not checked: whether each verdict follows from its evidence" in said
    assert f"log key {testing.log_key().verifier.vkey}, compared with nothing" in said
    assert standalone.main([str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["kind"] == "audit-report/v1"
    assert report["log_key"] == testing.log_key().verifier.vkey
    assert [line["entry"] for line in report["history"]] == [12, 21, 22, 28]


def test_what_it_cannot_read_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "trust").write_bytes(b"quorum nobody\n")
    (tmp_path / "empty").write_bytes(b"")
    for arguments in (["no.tar"], ["empty", "--trust", "trust"], ["empty", "--held", "no"]):
        with pytest.raises(SystemExit) as ended:
            standalone.main([str(tmp_path / name) if not name.startswith("-") else name for name in arguments])
        assert ended.value.code == 2
        assert "error: " in capsys.readouterr().err
    assert standalone.main([str(tmp_path / "empty")]) == 10


# -- Ed25519

# RFC 8032, section 7.1: secret key, message, signature.
VECTORS = (
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        "b00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
        "c027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e"
        "2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17a"
        "d9bef1177331a704",
    ),
)


@pytest.mark.parametrize(("secret", "message", "signature"), VECTORS)
def test_the_vectors_of_rfc_8032_hold(secret: str, message: str, signature: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)).public_key().public_bytes_raw()
    assert standalone.ed25519_verifies_alone(key, bytes.fromhex(signature), bytes.fromhex(message))
    assert not standalone.ed25519_verifies_alone(key, bytes.fromhex(signature), bytes.fromhex(message) + b"x")


def believed(key: bytes, signature: bytes, message: bytes) -> bool:
    """By `cryptography`."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def test_it_agrees_with_cryptography_on_good_and_on_changed_signatures() -> None:
    chance, agreed = random.Random(8032), 0
    for _ in range(150):
        private = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
        key, message = private.public_key().public_bytes_raw(), chance.randbytes(chance.randrange(80))
        signature = private.sign(message)
        assert standalone.ed25519_verifies_alone(key, signature, message)
        parts = [bytearray(key), bytearray(signature), bytearray(message + b"x")]
        changed = chance.choice(parts)
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        spoiled = bytes(parts[0]), bytes(parts[1]), bytes(parts[2])
        assert standalone.ed25519_verifies_alone(*spoiled) is believed(*spoiled) is False
        agreed += 1
    assert agreed == 150


def test_a_signature_has_one_form() -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    key, signature = private.public_key().public_bytes_raw(), private.sign(b"m")
    s = int.from_bytes(signature[32:], "little")
    for other in (s + standalone.L, s + 2 * standalone.L, standalone.L - s):
        forged = signature[:32] + (other % 2**256).to_bytes(32, "little")
        assert not standalone.ed25519_verifies_alone(key, forged, b"m")
        assert not standalone.ed25519_verifies(key, forged, b"m")
    for length in (0, 32, 63, 65):
        assert not standalone.ed25519_verifies_alone(key, (signature + b"\0")[:length], b"m")
        assert not standalone.ed25519_verifies(key, (signature + b"\0")[:length], b"m")
    assert not standalone.ed25519_verifies(key[:31], signature, b"m")


def small_order() -> list[bytes]:
    """Encodings of the eight points of small order, and those of them that are not canonical."""
    p, d = standalone.P, standalone.D
    eighth = next(y for y in (pow(n, 1, p) for n in range(2, 3)) if y)
    assert eighth == 2
    ys = {0, 1, p - 1, p, p + 1}
    root = pow(d, -1, p)  # y^2 of the points of order 8 solves d*y^4 + 2*y^2 - 1 = 0
    for sign in (1, -1):
        square = (-1 + sign * square_root((1 + d) % p)) * root % p
        try:
            y = square_root(square)
        except ValueError:
            continue
        ys |= {y, p - y}
    return [(y | sign << 255).to_bytes(32, "little") for y in sorted(ys) for sign in (0, 1)]


def square_root(square: int) -> int:
    p = standalone.P
    root = pow(square, (p + 3) // 8, p)
    if root * root % p != square % p:
        root = root * standalone.ROOT_OF_MINUS_1 % p
    if root * root % p != square % p:
        raise ValueError
    return root


def test_a_key_that_would_accept_more_than_one_message_is_no_key() -> None:
    keys = small_order()
    assert len(keys) >= 10
    for key in keys:
        for point in keys:
            signature = point + bytes(32)  # S = 0: R = -k*A, which a key of small order meets for every eighth message
            for number in range(8):
                assert not standalone.ed25519_verifies(key, signature, b"%d" % number)
                assert not standalone.ed25519_verifies_alone(key, signature, b"%d" % number)
    assert any(believed(key, point + bytes(32), b"%d" % n) for key in keys for point in keys for n in range(8))


# -- readers

NUMBERS = [b"1e5", b"1.0", b"0.5", b"-0", b"00", b"NaN", b"1e400", b"9007199254740991", b"9007199254740992", b"9" * 400]
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300)
@given(values)
def test_its_canonical_json_is_that_of_rfc_8785(value: object) -> None:
    try:
        expected = rfc8785.dumps(value)  # type: ignore[arg-type]
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        return
    assert standalone.canonical(value) == expected


@settings(max_examples=300)
@given(st.binary(max_size=40) | values.map(lambda value: json.dumps(value).encode()) | st.sampled_from(NUMBERS))
def test_it_reads_as_canonical_what_the_product_reads_so(content: bytes) -> None:
    expected = attempt(canonical.decode_canonical, content)
    assert attempt(standalone.parse_canonical, content) == expected


def attempt(read: Callable[[bytes], Any], content: bytes) -> tuple[bool, Any]:
    """What came of it; nothing where it was refused."""
    try:
        return True, read(content)
    except (InvalidInputError, ValueError):
        return False, None


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 255, 256, 257, 300])
def test_its_tree_is_the_products(size: int) -> None:
    leaves = [merkle.leaf_hash(b"%d" % n) for n in range(size)]
    rows, levels = standalone.tree_levels(leaves), trees.levels(leaves)
    for part in {0, 1, size // 2, size}:
        assert standalone.range_root(rows, 0, part) == merkle.Frontier.read(part, levels.node).root()
    for index in {0, size // 3, size - 1}:
        assert standalone.inclusion_proof(rows, index, 0, size) == merkle.inclusion(index, size, levels.node)
    assert {path for path, *_ in standalone.hash_tiles(size)} == {bundle.ledger_path(t) for t in tiles.hash_tiles(size)}
    assert standalone.tile_path(1, 1234067, 5) == "ledger/tile/1/x001/x234/067.p/5"


def test_a_version_of_anything_that_it_does_not_know_is_refused(plain: dict[str, bytes]) -> None:
    manifest = plain[bundle.MANIFEST]
    for spoiled in (
        manifest.replace(b"bundle/v1", b"bundle/v2"),
        manifest.replace(b'"absent":', b'"about":1,"absent":'),
    ):
        assert spoiled != manifest
        assert standalone.verify(whole({**plain, bundle.MANIFEST: spoiled}))["exit_code"] == 10
    unknown = listed({**plain, "compliance/other/thing.exe": b"x"})
    report = standalone.verify(whole(unknown))
    assert report["exit_code"] == 16
    assert failures(report) == ["completeness compliance/other/thing.exe: nothing that was selected asks for this file"]


# -- trust


def policies() -> list[bytes]:
    good = trust(1, 2, quorum="any")
    lines = good.decode().splitlines()
    spoiled = [
        good.replace(b"quorum them", b"quorum w1"),
        good.replace(b"quorum them", b"quorum none"),
        good.replace(b"quorum them", b"quorum others"),
        good.replace(b"any", b"2"),
        good.replace(b"any", b"3"),
        good.replace(b"any", b"0"),
        good.replace(b"any", b"01"),
        good.replace(b"any", "\uff12".encode()),
        good.replace(b"any w1 w2", b"any w1 w1"),
        good.replace(b"domain: d1", b"domain:  "),
        good.replace(b" ", b"\t"),
        good.replace(b"\n", b"\r\n"),
        good[:-1],
        good + b"quorum them\n",
        good + b"witness w3 " + lines[3].split()[2].encode() + b"\n",
        good + b"group again any w1\n",
        good + b"nonsense\n",
        good + b"log " + lines[1].split()[1].encode() + b"\n",
        b"\n".join(reversed(good.splitlines())) + b"\n",
        b"",
        b"\xff\xfe\n",
    ]
    return [good, *spoiled]


@pytest.mark.parametrize("content", policies())
def test_it_reads_a_trust_policy_as_the_product_does(content: bytes) -> None:
    (read, expected), (also, found) = attempt(TrustPolicy.parse, content), attempt(standalone.parse_trust, content)
    assert read is also
    if not read:
        return
    assert found.quorum == expected.quorum
    assert [key.name for key in found.logs] == [log.verifier.name for log in expected.logs]
    for seen in ([], ["w1"], ["w2"], ["w1", "w2"]):
        assert standalone.quorum_holds(found, set(seen)) is expected.satisfied(set(seen))
    for witness in expected.witnesses:
        assert found.domains[witness.verifier.public_key] == witness.domain


@pytest.mark.parametrize(
    ("seeds", "policy", "keep", "guarantee"),
    [
        ((), None, False, "self-signed only"),
        ((), None, True, "held"),
        ((1,), None, False, "self-signed only"),
        ((1, 2), trust(1, 2, quorum="any"), False, "2 of 2 independent"),
        ((1,), trust(1, 2, quorum="any"), True, "held, and 1 of 2 independent"),
        ((1,), trust(1, quorum="any").replace(b"d1", b"operator"), False, "witnessed in the same trust domain"),
        (
            (1,),
            trust(1, quorum="any").replace(b"# domain: operator\n", b""),
            False,
            "witnessed in the same trust domain",
        ),
        ((1,), trust(1, 2, quorum="all"), False, "none"),
    ],
)
def test_its_guarantee_is_the_products(
    plain: dict[str, bytes],
    told: Told,
    tmp_path: Path,
    seeds: tuple[int, ...],
    policy: bytes | None,
    keep: bool,
    guarantee: str,
) -> None:
    files = {**plain, bundle.WITNESSED: cosigned(plain[bundle.CHECKPOINT], *seeds)} if seeds else plain
    path, held = packed(listed(files), tmp_path / "b.tar"), tmp_path / "held"
    held.write_bytes(told.ledger.checkpoint)
    report = verify(
        path,
        memory=Kept(held) if keep else None,
        trust=None if policy is None else TrustPolicy.parse(policy),
        clock=NOW,
    )
    alone = standalone.verify(
        path.read_bytes(),
        held=held.read_bytes() if keep else None,
        trust=None if policy is None else standalone.parse_trust(policy),
        clock=NOW,
    )
    assert report.guarantee == alone["guarantee"] == guarantee
    assert report.exit_code == alone["exit_code"] == (13 if guarantee == "none" else 0)


def test_a_bundle_that_another_key_signed_as_a_whole_is_told_only_by_what_the_auditor_brings(
    plain: dict[str, bytes], told: Told
) -> None:
    other = testing.log_key("other").key
    verifier = notes.verifier_of(testing.ORIGIN, other)
    checkpoint = notes.Checkpoint.parse(notes.Note.parse(plain[bundle.CHECKPOINT]).text)

    def signed(statement: bytes) -> bytes:
        return dsse.Envelope.sign(statement, bundle.STATEMENT_TYPE, keyid=verifier.vkey, key=other).encode()

    note = checkpoint.sign(other)
    files = {path: content for path, content in plain.items() if path not in (bundle.MANIFEST, bundle.SEAL)}
    for path, content in files.items():
        if path.startswith(bundle.ATTESTATIONS):
            lines = [signed(dsse.Envelope.decode(line).payload) for line in content.splitlines()]
            files[path] = b"".join(line + b"\n" for line in lines)
        elif path.startswith(bundle.PROOFS):
            files[path] = content.replace(plain[bundle.CHECKPOINT], note)
    files |= {bundle.CHECKPOINT: note, bundle.VKEY: f"{verifier.vkey}\n".encode()}
    files = listed({**files, bundle.MANIFEST: plain[bundle.MANIFEST]})
    files[bundle.SEAL] = signed(bundle.Manifest.decode(files[bundle.MANIFEST]).statement())
    data = whole(files)
    alone = standalone.verify(data)
    assert alone["exit_code"] == 0
    assert alone["log_key"] == verifier.vkey
    assert alone["guarantee"] == "self-signed only"
    assert standalone.verify(data, held=told.ledger.checkpoint)["exit_code"] == 13
    assert standalone.verify(data, trust=standalone.parse_trust(trust(1)), clock=NOW)["exit_code"] == 13


@pytest.mark.parametrize(
    "wrap", [lambda note: note, lambda note: json.dumps({"kind": "held/v1", "note": note.decode()}).encode()]
)
def test_a_held_checkpoint_may_be_a_bare_one_or_one_that_the_product_kept(
    plain: dict[str, bytes],
    told: Told,
    tmp_path: Path,
    wrap: Callable[[bytes], bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, held = packed(plain, tmp_path / "b.tar"), tmp_path / "held"
    held.write_bytes(wrap(told.ledger.checkpoint))
    assert standalone.main([str(path), "--held", str(held)]) == 0
    assert "guarantee: held" in capsys.readouterr().out
    other = testing.memory_ledger(origin="elsewhere")
    held.write_bytes(wrap(other.checkpoint))
    assert standalone.main([str(path), "--held", str(held)]) == 13


def test_it_never_calls_a_forged_history_verified(told: Told) -> None:
    forger = Forger(told)
    forger.propose()
    forger.shift()
    report = standalone.verify(whole(forger.files()))
    assert report["exit_code"] == 14
    assert report["guarantee"] == "none"
    assert not report["history"]
    assert base64.b64encode(b"") == b""
