"""What the verifier may say about a log's anchors: each guarantee, and every way to be told more than there is."""

from collections.abc import Sequence

import pytest

from pruneguard import held
from pruneguard.audit.anchoring import (
    SKEW_SECONDS,
    TRUST_POLICY,
    WITNESSED,
    Anchoring,
    Tree,
    assess,
)
from pruneguard.ledger import notes
from pruneguard.ledger.trust import TrustPolicy
from pruneguard.witness.keys import WitnessKey
from tests.witness.logs import TinyLog, key

NOW = 1_700_000_000
LOG = TinyLog()
KEYS = {
    name: WitnessKey(f"{name}.example/w", key(seed)) for seed, name in enumerate(("city", "bank", "uni", "acme"), 40)
}


def tree(log: TinyLog = LOG, size: int = 30) -> Tree:
    return Tree(log.verifier, log.checkpoint(size), log.root)


def witnessed(
    *names: str, log: TinyLog = LOG, size: int = 30, time: int = NOW - 60, extra: Sequence[notes.Signature] = ()
) -> bytes:
    note = notes.Note.parse(log.note(size))
    lines = [notes.cosign(note, name=KEYS[name].name, key=KEYS[name].key, time=time) for name in names]
    return notes.Note(note.text, (*note.signatures, *lines, *extra)).encode()


def policy(
    quorum: str = "any", *, log_domain: str = "acme", domains: dict[str, str] | None = None, log: TinyLog | None = LOG
) -> bytes:
    """A policy of four witnesses; acme is the log's own operator."""
    told = {"city": "city", "bank": "bank", "uni": "uni", "acme": "acme"} if domains is None else domains
    lines = [] if log is None else [f"# domain: {log_domain}" if log_domain else "", f"log {log.verifier.vkey}"]
    for name, own in KEYS.items():
        lines += [f"# domain: {told[name]}" if told.get(name) else "", f"witness {name} {own.verifier.vkey}"]
    if quorum == "none":
        return "\n".join([*lines, "quorum none", ""]).encode()
    return "\n".join([*lines, f"group all-of-them {quorum} {' '.join(KEYS)}", "quorum all-of-them", ""]).encode()


def seen(log: TinyLog = LOG, size: int = 20) -> held.Seen:
    return held.Seen(log.note(size).decode(), "2026-01-02T03:04:05Z", "the bundle of January")


def told(anchoring: Anchoring) -> str:
    return "; ".join(f"{place}: {why}" for place, why in anchoring.faults)


def trusting(content: bytes | None = None) -> TrustPolicy:
    return TrustPolicy.parse(policy() if content is None else content)


# -- each guarantee -----------------------------------------------------------------------------------------------


def test_with_nothing_but_the_log_it_is_self_signed() -> None:
    assert assess(tree(), clock=NOW) == Anchoring("self-signed only")


@pytest.mark.parametrize("size", [0, 1, 20, 29, 30])
def test_what_continues_an_earlier_look_is_held(size: int) -> None:
    assert assess(tree(), clock=NOW, seen=seen(size=size)).guarantee == "held"


def test_the_bundles_own_policy_never_makes_anybody_independent() -> None:
    bundled = policy(domains={"city": "city", "bank": "bank", "uni": "uni", "acme": "acme"})
    found = assess(tree(), clock=NOW, witnessed=witnessed(*KEYS), bundled=bundled)
    assert found.guarantee == "witnessed in the same trust domain"
    assert not found.faults
    assert any("bring a trust policy of yours" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("signers", "guarantee"),
    [
        (["city"], "1 of 3 independent"),
        (["city", "uni"], "2 of 3 independent"),
        (["city", "bank", "uni"], "3 of 3 independent"),
        (["city", "bank", "uni", "acme"], "3 of 3 independent"),
        (["acme"], "witnessed in the same trust domain"),
    ],
)
def test_the_auditors_policy_says_who_is_independent(signers: list[str], guarantee: str) -> None:
    found = assess(tree(), clock=NOW, witnessed=witnessed(*signers), trust=trusting())
    assert (found.guarantee, found.faults) == (guarantee, ())


def test_held_and_witnessed_are_said_together() -> None:
    found = assess(tree(), clock=NOW, witnessed=witnessed("city"), trust=trusting(), seen=seen())
    assert found.guarantee == "held, and 1 of 3 independent"


def test_what_was_cosigned_before_says_how_much_it_covers() -> None:
    found = assess(tree(), clock=NOW, witnessed=witnessed("city", size=12), trust=trusting())
    assert found.guarantee == "1 of 3 independent for the first 12 of 30 entries"


def test_an_mldsa_witness_counts_as_any_other() -> None:
    own = WitnessKey("pq.example/w", notes.new_mldsa_key())
    note = notes.Note.parse(LOG.note(30))
    line = notes.cosign(note, name=own.name, key=own.key, time=NOW)
    text = f"# domain: acme\nlog {LOG.verifier.vkey}\n# domain: pq\nwitness pq {own.verifier.vkey}\nquorum pq\n"
    found = assess(tree(), clock=NOW, witnessed=witnessed(extra=[line]), trust=trusting(text.encode()))
    assert found.guarantee == "1 of 1 independent"


# -- no more than there is ----------------------------------------------------------------------------------------


def test_witnesses_of_one_domain_count_once() -> None:
    trust = trusting(policy(domains={"city": "North Bank", "bank": "north  bank", "uni": "uni", "acme": "acme"}))
    found = assess(tree(), clock=NOW, witnessed=witnessed("city", "bank"), trust=trust)
    assert found.guarantee == "1 of 2 independent"


def test_a_witness_in_the_logs_domain_is_not_independent_however_it_is_spelt() -> None:
    trust = trusting(
        policy(log_domain="Acme", domains={"city": "ACME", "bank": "\N{FULLWIDTH LATIN SMALL LETTER A}cme"})
    )
    found = assess(tree(), clock=NOW, witnessed=witnessed("city", "bank"), trust=trust)
    assert found.guarantee == "witnessed in the same trust domain"


def test_who_is_in_no_named_domain_is_not_independent() -> None:
    found = assess(tree(), clock=NOW, witnessed=witnessed("city"), trust=trusting(policy(domains={"bank": "bank"})))
    assert found.guarantee == "witnessed in the same trust domain"


@pytest.mark.parametrize("content", [policy(log_domain=""), policy(log=None)], ids=["no domain", "no log"])
def test_nobody_is_independent_of_a_log_whose_operator_is_not_named(content: bytes) -> None:
    found = assess(tree(), clock=NOW, witnessed=witnessed("city", "bank"), trust=trusting(content))
    assert found.guarantee == "witnessed in the same trust domain"
    assert any("who runs this log" in remark for remark in found.remarks)


def test_two_keys_of_one_witness_count_once() -> None:
    twin = WitnessKey(KEYS["city"].name, key(99))
    lines = policy("none").decode() + f"# domain: elsewhere\nwitness city2 {twin.verifier.vkey}\n"
    text = lines.replace("quorum none\n", "") + "quorum none\n"
    line = notes.cosign(notes.Note.parse(LOG.note(30)), name=twin.name, key=twin.key, time=NOW)
    found = assess(tree(), clock=NOW, witnessed=witnessed("city", extra=[line]), trust=trusting(text.encode()))
    assert found.guarantee == "1 of 3 independent"


def test_one_cosignature_twice_counts_once() -> None:
    line = notes.Note.parse(witnessed("city")).signatures[-1]
    two = trusting(policy("2"))
    found = assess(tree(), clock=NOW, witnessed=witnessed("city", extra=[line]), trust=two)
    assert found.guarantee == "none"
    assert "what counts is 'city'" in told(found)


def test_the_logs_own_key_under_a_witnesss_name_does_not_count() -> None:
    own = WitnessKey("shell.example/w", LOG.key)
    line = notes.cosign(notes.Note.parse(LOG.note(30)), name=own.name, key=own.key, time=NOW)
    text = f"# domain: acme\nlog {LOG.verifier.vkey}\n# domain: shell\nwitness shell {own.verifier.vkey}\nquorum none\n"
    found = assess(tree(), clock=NOW, witnessed=witnessed(extra=[line]), trust=trusting(text.encode()))
    assert found.guarantee == "self-signed only"
    assert "shell: does not count, its key is the log's own" in found.remarks


def test_cosignatures_that_no_policy_names_are_no_guarantee() -> None:
    for bundled in (None, b"quorum none\n"):
        assert assess(tree(), clock=NOW, witnessed=witnessed(*KEYS), bundled=bundled).guarantee == "self-signed only"
    assert assess(tree(), clock=NOW, witnessed=witnessed(), bundled=policy("none")).guarantee == "self-signed only"
    assert assess(tree(), clock=NOW, bundled=policy("none"), trust=trusting(policy("none"))).guarantee == (
        "self-signed only"
    )


def test_whom_the_bundle_names_counts_for_nothing_where_the_auditor_names_others() -> None:
    bank = f"witness bank {KEYS['bank'].verifier.vkey}\nquorum none\n"
    theirs = trusting(f"# domain: acme\nlog {LOG.verifier.vkey}\n# domain: bank\n{bank}".encode())
    found = assess(tree(), clock=NOW, witnessed=witnessed("city", "uni"), bundled=policy(), trust=theirs)
    assert found.guarantee == "self-signed only"


def test_a_quorum_of_the_bundles_own_that_is_not_met_is_no_fault_and_no_guarantee() -> None:
    found = assess(tree(), clock=NOW, witnessed=witnessed("city"), bundled=policy("2"))
    assert (found.guarantee, found.faults) == ("self-signed only", ())
    assert any("fewer witnesses" in remark for remark in found.remarks)


@pytest.mark.parametrize("signers", [[], ["city"]])
def test_a_quorum_that_the_auditor_demands_and_that_is_not_met_is_a_fault(signers: list[str]) -> None:
    found = assess(tree(), clock=NOW, witnessed=witnessed(*signers), trust=trusting(policy("2")), seen=seen())
    assert found.guarantee == "none"
    assert [place for place, _ in found.faults] == [WITNESSED]
    missing = assess(tree(), clock=NOW, trust=trusting(policy("2")))
    assert "what counts is none" in told(missing)


# -- what was tampered with ---------------------------------------------------------------------------------------


def altered(note: bytes, *, time: int) -> bytes:
    parsed = notes.Note.parse(note)
    *rest, last = parsed.signatures
    return notes.Note(
        parsed.text, (*rest, notes.Signature(last.name, last.keyid, time.to_bytes(8) + last.blob[8:]))
    ).encode()


OTHER = TinyLog(name="log.example/other")
FORK = TinyLog(forked_at=10)


def collided() -> bytes:
    """A line with the right name and key id, by another key."""
    note = notes.Note.parse(LOG.note(30))
    line = notes.cosign(note, name=KEYS["city"].name, key=key(77), time=NOW)
    return witnessed(extra=[notes.Signature(line.name, KEYS["city"].verifier.keyid, line.blob)])


def moved() -> bytes:
    """The cosignature of another log's checkpoint."""
    line = notes.Note.parse(witnessed("city", log=OTHER)).signatures[-1]
    return witnessed(extra=[line])


@pytest.mark.parametrize(
    ("note", "why"),
    [
        (altered(witnessed("city"), time=NOW - 61), "does not match"),
        (witnessed("city", time=NOW + SKEW_SECONDS + 1), "in the future"),
        (witnessed("city", time=2**63 - 1), "in the future"),
        (collided(), "does not match"),
        (moved(), "does not match"),
        (witnessed("city", log=OTHER), "not signed by"),
        (witnessed("city", log=FORK), "another history"),
        (witnessed("city", log=FORK, size=12), "another history"),
        (witnessed("city", size=31), "its end was cut off"),
        (witnessed("city").replace(b"\n30\n", b"\n29\n"), "does not match"),
        (witnessed("city")[:-1], "not a signed note"),
        (b"", "not a signed note"),
    ],
)
@pytest.mark.parametrize("auditors", [True, False], ids=["auditor's policy", "bundle's policy"])
def test_a_cosigned_checkpoint_that_was_tampered_with_is_a_fault_in_its_place(
    note: bytes, why: str, *, auditors: bool
) -> None:
    content = policy("none")
    trust = TrustPolicy.parse(content) if auditors else None
    found = assess(tree(), clock=NOW, witnessed=note, bundled=None if auditors else content, trust=trust)
    assert found.guarantee == "none"
    assert [place for place, _ in found.faults] == [WITNESSED]
    assert why in told(found)


def test_a_clock_a_little_ahead_is_no_fault() -> None:
    found = assess(tree(), clock=NOW, witnessed=witnessed("city", time=NOW + SKEW_SECONDS), trust=trusting())
    assert found.guarantee == "1 of 3 independent"


@pytest.mark.parametrize(("age", "guarantee"), [(3600, "1 of 3 independent"), (3601, "self-signed only")])
def test_a_cosignature_older_than_the_auditor_wants_does_not_count(age: int, guarantee: str) -> None:
    trust = trusting(policy("none"))
    found = assess(tree(), clock=NOW, witnessed=witnessed("city", time=NOW - age), trust=trust, age_seconds_max=3600)
    assert (found.guarantee, found.faults) == (guarantee, ())


def test_a_cosignature_of_no_moment_does_not_count() -> None:
    found = assess(tree(), clock=NOW, witnessed=witnessed("city", time=0), trust=trusting(policy("none")))
    assert found.guarantee == "self-signed only"


@pytest.mark.parametrize(
    ("log", "size", "place", "why"),
    [
        (FORK, 20, "ledger/checkpoint", "its first 20 entries are not those that were seen before"),
        (FORK, 30, "ledger/checkpoint", "its first 30 entries are not those that were seen before"),
        (LOG, 31, "ledger/checkpoint", "this log ends at 30 entries, and 31 were seen before"),
        (OTHER, 20, "the checkpoint you held", "not signed by"),
    ],
)
def test_what_does_not_continue_an_earlier_look_is_a_fault_that_says_when_and_where(
    log: TinyLog, size: int, place: str, why: str
) -> None:
    found = assess(tree(), clock=NOW, seen=seen(log, size), witnessed=witnessed("city"), trust=trusting())
    assert found.guarantee == "none"
    assert [at for at, _ in found.faults] == [place]
    assert why in told(found)
    assert "seen 2026-01-02T03:04:05Z in the bundle of January" in told(found)


def test_a_fork_that_parted_after_the_earlier_look_is_what_witnesses_are_for() -> None:
    later = TinyLog(forked_at=25)
    assert assess(tree(later), clock=NOW, seen=seen()).guarantee == "held"
    found = assess(tree(later), clock=NOW, seen=seen(), witnessed=witnessed("city"), trust=trusting())
    assert "another history" in told(found)


def test_a_log_that_the_auditor_does_not_list_is_a_fault_whoever_cosigned_it() -> None:
    found = assess(tree(), clock=NOW, witnessed=witnessed("city"), trust=trusting(policy(log=OTHER)))
    assert [place for place, _ in found.faults] == ["ledger/log.vkey"]


@pytest.mark.parametrize("content", [b"quorum none", b"", policy(log=OTHER), policy().replace(b"quorum", b"qourum")])
def test_a_bundled_policy_that_is_none_or_another_logs_is_a_fault(content: bytes) -> None:
    for trust in (None, trusting(policy("none"))):
        found = assess(tree(), clock=NOW, witnessed=witnessed("city"), bundled=content, trust=trust)
        assert [place for place, _ in found.faults] == [TRUST_POLICY]


def test_every_line_of_every_witness_must_hold_even_where_the_quorum_is_met_without_it() -> None:
    good = notes.Note.parse(witnessed("city", "bank"))
    spoilt = notes.Note(good.text, (*good.signatures[:-1], notes.Signature(*_parts(good.signatures[-1])))).encode()
    found = assess(tree(), clock=NOW, witnessed=spoilt, trust=trusting())
    assert "bank.example/w" in told(found)


def _parts(line: notes.Signature) -> tuple[str, bytes, bytes]:
    return line.name, line.keyid, line.blob[:-1] + bytes([line.blob[-1] ^ 1])
