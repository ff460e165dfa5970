"""Attacks 27 to 32: statements that are signed, and say something else than they seem to."""

from dataclasses import replace

from pruneguard import testing
from pruneguard.audit import bundle
from pruneguard.audit.report import Level
from pruneguard.ledger import dsse
from pruneguard.ledger.events import PAYLOAD_TYPE, Entry
from pruneguard.policy import Policy
from tests.attacks.attacker import ENTRIES, Forger, appended, bytes_of, caught, changed, entry
from tests.audit.conftest import Told, listed, whole


def attestations(told: Told) -> list[str]:
    """Files of statements about versions, those with the most lines first."""
    paths = [path for path in told.files if path.startswith(bundle.ATTESTATIONS) and "/runs/" not in path]
    return sorted(paths, key=lambda path: -told.files[path].count(b"\n"))


def test_27_a_valid_signature_over_another_type_of_payload_is_refused(told: Told) -> None:
    forger = Forger(told)
    at = forger.position("release.approved", number=2)
    event = Entry.decode(forger.entries[at]).event
    other = bytes_of(event, by=forger.signers["grace"], payload_type="application/json")
    right, wrong = (len(raw).to_bytes(2) + raw for raw in (forger.entries[at], other))
    caught(changed(told, ENTRIES, lambda content: content.replace(right, wrong)), Level.SIGNATURES, entry(at))
    seal = dsse.Envelope.decode(told.files[bundle.SEAL])
    key = testing.log_key()
    again = dsse.Envelope.sign(seal.payload, "application/json", keyid=key.verifier.vkey, key=key.key).encode()
    caught({**told.files, bundle.SEAL: again}, Level.SIGNATURES, "manifest.dsse.json, bytes .*type")


def test_28_a_statement_about_another_digest_played_again_is_found(told: Told) -> None:
    one, other = attestations(told)[:2]
    files = listed({**told.files, one: told.files[other]})
    caught(files, Level.ARTEFACTS, f"{one}, bytes .*line 1", alone=None)
    forger = Forger(told)
    first, second = (forger.position("release.approved", number=number) for number in (1, 2))
    forger.entries[second] = forger.entries[first]
    caught(forger.files(), Level.SIGNATURES, f"{entry(second)}.*happened already")


def test_29_one_key_that_signs_twice_is_one_approval(told: Told) -> None:
    forger = Forger(told)
    strict = replace(Policy.decode(told.artifacts.get(policy_of(told))), version=2, approvals_min=2)
    forger.act("policy.adopted", "grace", {"policy": told.artifacts.put(strict.encode())}, **strict.terms)
    forger.propose()
    approval = forger.approve()
    again = forger.approve()
    forger.shift()
    caught(forger.files(), Level.SEMANTICS, f"{entry(again)}")
    envelope = dsse.Envelope.decode(forger.entries[approval])
    twice = replace(envelope, signatures=envelope.signatures * 2).encode()
    caught(appended(told, twice), Level.SIGNATURES, f"{entry(29)}.*2 signatures")


def policy_of(told: Told) -> str:
    (digest,) = told.ledger.state().policies
    return digest


def test_30_a_key_id_proves_nothing(told: Told) -> None:
    forger = Forger(told)
    at = forger.position("release.approved", number=2)
    event = Entry.decode(forger.entries[at]).event
    grace, otto = forger.signers["grace"], forger.signers["otto"]
    content = dsse.Envelope.decode(forger.entries[at]).payload
    lying = dsse.Envelope.sign(content, PAYLOAD_TYPE, keyid=grace.sign(event).signatures[0][0], key=otto.key)
    forger.entries[at] = lying.encode()
    caught(forger.files(), Level.SIGNATURES, f"{entry(at)}.*signature is not 'grace'")
    seal = dsse.Envelope.decode(told.files[bundle.SEAL])
    claimed = dsse.Envelope.sign(
        seal.payload, bundle.STATEMENT_TYPE, keyid=testing.log_key().verifier.vkey, key=otto.key
    )
    caught({**told.files, bundle.SEAL: claimed.encode()}, Level.SIGNATURES, "manifest.dsse.json, bytes")


def test_31_a_statement_taken_out_of_its_file_is_missed(told: Told) -> None:
    path = attestations(told)[0]
    lines = told.files[path].splitlines(keepends=True)
    assert len(lines) > 2
    shorter = b"".join(lines[:1] + lines[2:])
    caught({**told.files, path: shorter}, Level.FILES, f"{path}, bytes")
    caught(
        listed({**told.files, path: shorter}), Level.COMPLETENESS, f"{path}: 1 of {len(lines)} statements", alone=None
    )
    without = {name: content for name, content in told.files.items() if name != path}
    caught(listed(without), Level.COMPLETENESS, f"{path}: this file is missing", alone=None)


def test_32_nothing_rides_along_with_a_models_signature(told: Told) -> None:
    model = next(path for path in told.files if path.startswith("models/")).rsplit("/", 1)[0]
    for name in (".git/hooks", ".gitattributes", ".github/x.yml", "extra.py"):
        files = {**told.files, f"{model}/{name}": b"import os"}
        caught(files, Level.FILES, f"{model}/{name}: the manifest does not list")
        caught(listed(files), Level.COMPLETENESS, f"{model}/{name}: nothing that was selected asks for this file")
    data = bytearray(whole(told.files))
    at = data.index(f"{model}/README.md".encode() + b"\x00")
    assert data[at + 100 : at + 107] == b"0000644"
    data[at + 100 : at + 107] = b"0000755"
    caught(bytes(data), Level.FILES, f"byte {at + 104}, in the header of {model}/README.md")
