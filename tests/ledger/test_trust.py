"""Trust policies: the specification's own example, quorums, and every line that is refused, by its number."""

import itertools

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from pruneguard.errors import InvalidInputError
from pruneguard.ledger import notes
from pruneguard.ledger.trust import TrustPolicy


def vkey(name: str, kind: int = notes.COSIGNATURE) -> str:
    """A verifier key that is the same on every call."""
    key = Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b".")[:32])
    return notes.Verifier(name, kind, key.public_key().public_bytes_raw()).vkey


LOG = vkey("log.example/x", notes.ED25519)

# C2SP tlog-policy, "Example policy", with keys.
EXAMPLE = f"""\
log {LOG}

witness X1 {vkey("X1")}
witness X2 {vkey("X2")}
witness X3 {vkey("X3")}
group X-witnesses 2 X1 X2 X3

witness Y1 {vkey("Y1")}
witness Y2 {vkey("Y2")}
witness Y3 {vkey("Y3")}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def parse(text: str) -> TrustPolicy:
    return TrustPolicy.parse(text.encode())


def test_the_specifications_example_asks_for_two_of_x_and_one_of_y() -> None:
    policy = parse(EXAMPLE)
    names = [witness.name for witness in policy.witnesses]
    for count in range(7):
        for chosen in itertools.combinations(names, count):
            xs, ys = (sum(name.startswith(side) for name in chosen) for side in "XY")
            assert policy.satisfied(set(chosen)) == (xs >= 2 and ys >= 1)


@given(st.integers(1, 6), st.integers(1, 6), st.sets(st.integers(0, 5)))
def test_more_cosignatures_never_unmake_a_quorum(size: int, needed: int, have: set[int]) -> None:
    members = [f"w{at}" for at in range(size)]
    lines = [f"witness {name} {vkey(name)}" for name in members]
    lines += [f"group g {min(needed, size)} {' '.join(members)}", "quorum g"]
    policy = parse("\n".join(lines) + "\n")
    chosen = {f"w{at}" for at in have}
    met = policy.satisfied(chosen)
    assert met == (len(chosen & set(members)) >= min(needed, size))
    assert not met or all(policy.satisfied(chosen | {name}) for name in members)


def test_a_quorum_of_none_asks_for_no_witness_and_one_witness_for_that_one() -> None:
    assert parse("quorum none\n").satisfied(set())
    policy = parse(f"witness w {vkey('w')}\nquorum w\n")
    assert not policy.satisfied(set())
    assert not policy.satisfied({"v"})
    assert policy.satisfied({"w"})


def test_who_runs_what_stands_on_the_line_above() -> None:
    policy = parse(
        f"# domain: Acme  Inc.\nlog {LOG} https://log.example\n\n# domain: audit.example\nwitness a {vkey('a')} "
        f"https://a.example\n# run by whoever\nwitness b {vkey('b')}\n# domain: lost.example\n\nwitness c {vkey('c')}\n"
        f"\t #\tdomain:\t\N{FULLWIDTH LATIN CAPITAL LETTER A}UDIT.example\nwitness d {vkey('d')}\nquorum none\n"
    )
    (log,) = policy.logs
    assert (log.domain, log.url) == ("acme inc.", "https://log.example")
    assert policy.log(log.verifier) == log
    assert policy.log(notes.Verifier.parse(vkey("log.example/x", notes.COSIGNATURE))) is None
    assert [witness.domain for witness in policy.witnesses] == ["audit.example", "", "", "audit.example"]
    assert policy.witnesses[0].url == "https://a.example"


def test_tabs_spaces_and_comments_are_read_past() -> None:
    policy = parse(f"\t# why\n \t\n  witness\tw \t {vkey('w')}  \n\tquorum  w\t\n")
    assert policy.quorum == "w"


def test_names_are_octets_and_two_that_look_alike_are_two() -> None:
    kelvin = "\N{KELVIN SIGN}"
    policy = parse(f"witness K {vkey('k1')}\nwitness {kelvin} {vkey('k2')}\nquorum {kelvin}\n")
    assert not policy.satisfied({"K"})
    assert policy.satisfied({kelvin})
    raw = TrustPolicy.parse(f"witness % {vkey('w')}\nquorum %\n".encode().replace(b"%", b"\xff\xfe"))
    assert raw.satisfied({raw.witnesses[0].name})


def test_a_key_of_either_kind_of_cosignature_is_a_witness() -> None:
    own = notes.cosigner_of("witness.example/pq", notes.new_mldsa_key())
    assert parse(f"witness w {own.vkey}\nquorum w\n").witnesses[0].verifier == own


def test_thirty_two_of_everything_is_read() -> None:
    lines = [f"log {vkey(f'l{at}', notes.ED25519)}" for at in range(32)]
    lines += [f"witness w{at} {vkey(f'w{at}')}" for at in range(32)]
    lines += [f"group g{at} any w{at}" for at in range(31)]
    lines += [f"group all all {' '.join(f'g{at}' for at in range(31))}", "quorum all"]
    policy = parse("\n".join(lines) + "\n")
    assert policy.satisfied({f"w{at}" for at in range(31)})
    assert not policy.satisfied({f"w{at}" for at in range(30)})


W = f"witness w {vkey('w')}\n"
V = f"witness v {vkey('v')}\n"


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", None, "no quorum"),
        (W, None, "no quorum"),
        ("quorum none", 1, "newline"),
        (W + "quorum v\n", 2, "no witness or group 'v'"),
        ("quorum w\n" + W, 1, "no witness or group 'w'"),
        (W + "quorum w\nquorum w\n", 3, "second quorum"),
        ("quorum none\nquorum none\n", 2, "second quorum"),
        (W + W + "quorum w\n", 2, "each stands once"),
        (W + f"witness w {vkey('v')}\nquorum w\n", 2, "is taken"),
        (f"witness none {vkey('w')}\nquorum none\n", 1, "is taken"),
        (W + "group w any w\nquorum w\n", 2, "is taken"),
        (f"log {LOG}\nlog {vkey('log.example/x', notes.ED25519)}\nquorum none\n", 2, "each stands once"),
        (W + "group g any none\nquorum g\n", 2, "cannot be a member"),
        (W + "group g any w w\nquorum g\n", 2, "once"),
        (W + V + "group g any w\ngroup h any w v\nquorum h\n", 4, "once"),
        (W + "group g any g\nquorum g\n", 2, "no witness or group 'g'"),
        (W + "group g any\nquorum g\n", 2, "expected `log"),
        (W + "group g 2 w\nquorum g\n", 2, "2 of 1"),
        (W + "group g 0 w\nquorum g\n", 2, "threshold"),
        (W + "group g 01 w\nquorum g\n", 2, "threshold"),
        (W + "group g -1 w\nquorum g\n", 2, "threshold"),
        (W + "group g some w\nquorum g\n", 2, "threshold"),
        (W + "quorum w w\n", 2, "expected `log"),
        (W + "quorum\n", 2, "expected `log"),
        ("Quorum none\n", 1, "expected `log"),
        (f"witness w {vkey('w')} https://w.example more\nquorum w\n", 1, "expected `log"),
        (f"witness x {vkey('w').replace('w+', 'x+')}\nquorum x\n", 1, "key id"),
        (f"witness w {vkey('w', notes.ED25519)}\nquorum w\n", 1, "type 1"),
        (f"log {vkey('w')}\nquorum none\n", 1, "type 4"),
        ("witness w PRIVATE+KEY+w+00000000+AAAA\nquorum w\n", 1, "base64"),
        ("quorum none\r\n", 1, "character"),
        ("quorum\x0bnone\n", 1, "character"),
        ("# bell \x07\nquorum none\n", 1, "character"),
        ("# domain:\nquorum none\n", 1, "without a name"),
    ],
)
def test_a_line_that_is_wrong_is_named_by_its_number(text: str, line: int | None, why: str) -> None:
    place = f"line {line} of" if line else ""
    with pytest.raises(InvalidInputError, match=f"{place}.*{why}"):
        parse(text)


def test_a_key_name_that_is_no_text_and_a_file_without_end_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="line 1"):
        TrustPolicy.parse(f"witness w {vkey('w')}\nquorum w\n".encode().replace(b" w+", b" \xff+"))
    with pytest.raises(InvalidInputError, match="at most"):
        TrustPolicy.parse(b"#" * 1_000_001)
