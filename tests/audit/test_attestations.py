"""Statements say what happened; each way to spoil a file of them is found by whoever makes the set again."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pruneguard import canonical, testing
from pruneguard.audit import bundle
from pruneguard.audit.report import EXIT_CODES, Level
from pruneguard.audit.selection import Selection
from pruneguard.audit.verify import verify
from pruneguard.audit.views import vocabulary as words
from pruneguard.audit.views.attestations import attestations, path, run_path
from pruneguard.errors import InvalidInputError
from pruneguard.ledger import dsse
from pruneguard.ledger.state import Waiver
from pruneguard.pruning.lineage import decode
from tests.audit.conftest import Told, listed, packed


def waived(selection: Selection, digest: str, *, clock: str) -> Selection:
    """The same at another time, with every failed rule of a model taken on until the end of January."""
    verdict = next(v for v in selection.state.models[selection.model].verdicts if v.candidate == digest)
    taken_on = {
        (digest, rule): Waiver(
            event="",
            model=selection.model,
            digest=digest,
            rule=rule,
            verdict=verdict.digest,
            reason="for | the drill",
            control="a person looks",
            granted_by="grace",
            granted_at="2026-01-05T10:00:00.000000Z",
            expires="2026-02-01T00:00:00.000000Z",
            before="2/5",
            after="3/5",
            index=0,
        )
        for rule in verdict.objections
    }
    return replace(selection, state=replace(selection.state, waivers=taken_on, clock=clock))


def statements(selection: Selection, model: str, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(payload) for payload in attestations(selection)[path(model)]]
    return [statement for statement in found if statement["predicateType"] == kind]


# -- what they say


def test_every_cut_verdict_and_run_has_its_statements(told: Told, selection: Selection) -> None:
    story, made = told.story, attestations(selection)
    files = {path(digest) for digest in (story.twin, story.candidate, story.rejected)} | {run_path("digits-1")}
    assert set(made) == files
    for digest, cuts in ((story.twin, 0), (story.candidate, 1), (story.rejected, 1)):
        assert len(statements(selection, digest, words.PRUNE_LINEAGE)) == cuts
        assert len(statements(selection, digest, words.SUMMARY)) == 1
        assert len(statements(selection, digest, words.TEST_RESULT)) == (4 if digest == story.twin else 5)
    for payload in (payload for payloads in made.values() for payload in payloads):
        statement = json.loads(payload)
        assert statement["_type"] == "https://in-toto.io/Statement/v1"
        assert canonical.encode(statement) == payload


def test_a_lineage_statement_names_what_the_weights_can_be_made_from(told: Told, selection: Selection) -> None:
    (statement,) = statements(selection, told.story.candidate, words.PRUNE_LINEAGE)
    predicate = statement["predicate"]
    cut = decode(told.artifacts.get("sha256:" + predicate["lineage"]["digest"]["sha256"]))
    assert predicate["dense"]["digest"]["sha256"] == words.hexadecimal(cut.dense)
    assert predicate["prunedInit"]["digest"]["sha256"] == words.hexadecimal(cut.weights)
    assert predicate["method"]["name"] == "prune channels"
    assert predicate["method"]["recipe"] == [dict(step) for step in cut.recipe]
    assert predicate["removed"] == {"channels": {"layer": [2, 3]}}
    assert predicate["sparsity"] == 0.5
    (layer,) = predicate["layers"]
    assert (layer["shapeBefore"], layer["shapeAfter"]) == ([4, 2], [2, 2])
    assert set(layer["keptIndices"]) == {"sha256"}


def test_gates_pass_or_fail_one_by_one(told: Told, selection: Selection) -> None:
    results = {
        statement["predicate"]["configuration"][0]["annotations"]["rule"]: statement["predicate"]
        for statement in statements(selection, told.story.rejected, words.TEST_RESULT)
    }
    assert {rule: found["result"] for rule, found in results.items()} == {
        "no leakage": "PASSED",
        "accuracy": "FAILED",
        "as good as the twin": "FAILED",
        "in every class": "FAILED",
        "faster": "PASSED",
    }
    assert results["accuracy"]["failedTests"] == ["accuracy"]
    assert results["accuracy"]["passedTests"] == results["accuracy"]["warnedTests"] == []
    assert results["faster"]["passedTests"] == ["faster"]


def test_a_summary_says_what_came_of_it_and_rests_on_the_statements_before(told: Told, selection: Selection) -> None:
    for digest, result, level in (
        (told.story.candidate, "PASSED", words.PASSED_LEVEL),
        (told.story.rejected, "FAILED", "FAILED"),
    ):
        *before, last = attestations(selection)[path(digest)]
        predicate = json.loads(last)["predicate"]
        assert (predicate["verificationResult"], predicate["verifiedLevels"]) == (result, [level])
        digests = ["sha256:" + one["digest"]["sha256"] for one in predicate["inputAttestations"]]
        assert digests == [canonical.digest(payload) for payload in before]


def test_provenance_names_manifest_data_twin_and_policy(told: Told, selection: Selection) -> None:
    (payload,) = attestations(selection)[run_path("digits-1")]
    statement = json.loads(payload)
    built, ran = statement["predicate"]["buildDefinition"], statement["predicate"]["runDetails"]
    story = told.story
    assert {s["digest"]["sha256"] for s in statement["subject"]} == {
        words.hexadecimal(digest) for digest in (story.twin, story.candidate, story.rejected)
    }
    assert built["externalParameters"]["manifest"]["content"] == {"kind": "manifest/v1", "model": "digits"}
    assert [one["name"] for one in built["resolvedDependencies"]] == ["data", "twin", "policy"]
    assert ran["metadata"]["invocationId"] == "digits-1"
    assert ran["metadata"]["startedOn"] < ran["metadata"]["finishedOn"]


def test_a_failed_rule_that_is_waived_says_both_and_fails_again_when_the_waiver_lapses(
    told: Told, selection: Selection
) -> None:
    story = told.story
    then = waived(selection, story.rejected, clock="2026-01-31T23:59:59.999999Z")
    lapsed = waived(selection, story.rejected, clock="2026-02-01T00:00:00.000000Z")
    for state, result, level, standing in (
        (then, "PASSED", words.WAIVED_LEVEL, "waived until"),
        (lapsed, "FAILED", "FAILED", "waiver lapsed on"),
    ):
        last = statements(state, story.rejected, words.SUMMARY)[-1]
        assert (last["predicate"]["verificationResult"], last["predicate"]["verifiedLevels"]) == (result, [level])
        about = last["subject"][0]["annotations"]
        assert (about["score"], about["scoreWithWaivers"]) == ("2/5", "5/5" if state is then else "2/5")
        assert len(about["waivers"]) == 3
        assert all(
            waiver["standing"].startswith(standing) and waiver["grantedBy"] == "grace" for waiver in about["waivers"]
        )
        tests = statements(state, story.rejected, words.TEST_RESULT)[-5:]
        failed = [t for t in tests if t["predicate"]["configuration"][0]["annotations"]["outcome"] == "failed"]
        assert {t["predicate"]["result"] for t in failed} == {"WARNED" if state is then else "FAILED"}
        assert all(standing in t["predicate"]["configuration"][0]["annotations"]["waiver"] for t in failed)


def test_a_document_that_the_bundle_lacks_is_attested_by_its_digest_alone(told: Told, selection: Selection) -> None:
    blind = replace(selection, document=lambda digest: None)
    (statement,) = statements(blind, told.story.candidate, words.PRUNE_LINEAGE)
    assert "layers" not in statement["predicate"]
    assert statement["predicate"]["lineage"]["digest"]
    assert len(statements(blind, told.story.candidate, words.SUMMARY)) == 1
    assert statements(blind, told.story.candidate, words.TEST_RESULT) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"kind":"verdict/v1"}',
        b'{"kind":"prune-lineage/v1","method":"channels"}',
        b'{"kind":"verdict/v1","policy":1,"candidate":2,"twin":3,"data":4,"evidence":[5],"findings":[],"passed":false}',
    ],
)
def test_hostile_documents_are_refused_and_never_crash(selection: Selection, content: bytes) -> None:
    hostile = replace(selection, document=lambda digest: content)
    with pytest.raises(InvalidInputError):
        attestations(hostile)


# -- what can be done to them, by the holder of the log's key too


def line(told: Told, payload: bytes, **changes: Any) -> bytes:
    key = testing.log_key()
    envelope = dsse.Envelope.decode(bundle.sign(payload, key))
    return replace(envelope, **changes).encode()


def _wrong_type(told: Told, lines: list[bytes]) -> None:
    payload, key = dsse.Envelope.decode(lines[0]).payload, testing.log_key()
    lines[0] = dsse.Envelope.sign(payload, "application/json", keyid=key.verifier.vkey, key=key.key).encode()


def _another_models(told: Told, lines: list[bytes]) -> None:
    lines[0] = told.files[path(told.story.rejected)].split(b"\n")[0]


def _signed_twice(told: Told, lines: list[bytes]) -> None:
    envelope = dsse.Envelope.decode(lines[0])
    lines[0] = replace(envelope, signatures=envelope.signatures * 2).encode()


def _signed_by_a_second_too(told: Told, lines: list[bytes]) -> None:
    envelope, other = dsse.Envelope.decode(lines[0]), testing.people()["ada"].key
    second = dsse.Envelope.sign(envelope.payload, envelope.payload_type, keyid="ada", key=other).signatures
    lines[0] = replace(envelope, signatures=envelope.signatures + second).encode()


def _keyid_lies(told: Told, lines: list[bytes]) -> None:
    envelope = dsse.Envelope.decode(lines[0])
    lines[0] = replace(envelope, signatures=(("ada", envelope.signatures[0][1]),)).encode()


def _right_keyid_of_another_key(told: Told, lines: list[bytes]) -> None:
    envelope, other = dsse.Envelope.decode(lines[0]), testing.people()["ada"].key
    keyid = testing.log_key().verifier.vkey
    lines[0] = dsse.Envelope.sign(envelope.payload, envelope.payload_type, keyid=keyid, key=other).encode()


def _payload_with_a_space(told: Told, lines: list[bytes]) -> None:
    document = json.loads(lines[0])
    document["payload"] = base64.b64encode(base64.b64decode(document["payload"]) + b" ").decode()
    lines[0] = canonical.encode(document)


def _parsed_otherwise(told: Told, lines: list[bytes]) -> None:
    """A second `payload`: who reads the first checks other bytes than who reads the last."""
    lines[0] = lines[0].replace(b'{"payload":', b'{"payload":"e30=","payload":', 1)


def _another_base64(told: Told, lines: list[bytes]) -> None:
    document = json.loads(lines[0])
    document["signatures"][0]["sig"] = document["signatures"][0]["sig"].rstrip("=")
    lines[0] = canonical.encode(document)


def _url_safe_base64(told: Told, lines: list[bytes]) -> None:
    document = json.loads(lines[0])
    document["signatures"][0]["sig"] = document["signatures"][0]["sig"].replace("+", "-").replace("/", "_")
    lines[0] = canonical.encode(document)


def _spaces_between(told: Told, lines: list[bytes]) -> None:
    lines[0] = lines[0].replace(b'","', b'", "', 1)


def _another_statement(told: Told, lines: list[bytes]) -> None:
    statement = json.loads(dsse.Envelope.decode(lines[-1]).payload)
    statement["predicate"]["verificationResult"] = "PASSED?"
    lines[-1] = bundle.sign(canonical.encode(statement), testing.log_key())


def _doubled(told: Told, lines: list[bytes]) -> None:
    lines.append(lines[0])


def _reordered(told: Told, lines: list[bytes]) -> None:
    lines[0], lines[1] = lines[1], lines[0]


def _deleted(told: Told, lines: list[bytes]) -> None:
    del lines[2]


ATTACKS: dict[Callable[[Told, list[bytes]], None], Level] = {
    _wrong_type: Level.SIGNATURES,
    _another_models: Level.ARTEFACTS,
    _signed_twice: Level.SIGNATURES,
    _signed_by_a_second_too: Level.SIGNATURES,
    _keyid_lies: Level.SIGNATURES,
    _right_keyid_of_another_key: Level.SIGNATURES,
    _payload_with_a_space: Level.SIGNATURES,
    _parsed_otherwise: Level.SIGNATURES,
    _another_base64: Level.SIGNATURES,
    _url_safe_base64: Level.SIGNATURES,
    _spaces_between: Level.SIGNATURES,
    _another_statement: Level.ARTEFACTS,
    _doubled: Level.ARTEFACTS,
    _reordered: Level.ARTEFACTS,
    _deleted: Level.COMPLETENESS,
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__.strip("_"))
def test_a_spoiled_attestation_is_found_though_the_manifest_agrees_with_it(
    told: Told, tmp_path: Path, attack: Callable[[Told, list[bytes]], None]
) -> None:
    place = path(told.story.candidate)
    lines = told.files[place].splitlines()
    attack(told, lines)
    spoiled = {**told.files, place: b"".join(line + b"\n" for line in lines)}
    assert spoiled[place] != told.files[place]
    report = verify(packed(listed(spoiled), tmp_path / "b.tar"))
    failed = [check for check in report.checks if not check.ok]
    assert report.exit_code == EXIT_CODES[ATTACKS[attack]], failed
    assert any(check.place.startswith(place) for check in failed)


def test_a_deleted_file_of_attestations_is_found(told: Told, tmp_path: Path) -> None:
    place = path(told.story.candidate)
    report = verify(packed(listed({p: c for p, c in told.files.items() if p != place}), tmp_path / "b.tar"))
    assert report.exit_code == EXIT_CODES[Level.COMPLETENESS]
    assert any(check.place == place for check in report.checks if not check.ok)
