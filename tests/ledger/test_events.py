"""Events on the wire: one form of bytes for each, and nothing that two readers could read in two ways."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneguard import canonical, testing
from pruneguard.audit.standalone import verify as standalone
from pruneguard.errors import InvalidInputError
from pruneguard.ledger import dsse, shapes
from pruneguard.ledger.events import CATALOGUE, CLICKED, ENTRY_BYTES_MAX, PAYLOAD_TYPE, SIGNED, TELEMETRY, Entry, Event
from tests.ledger.making import digest, raw, signer

EVENT = Event(
    "run.finished",
    "ada",
    {"run": "r1", "model": "digits", "outcome": "proposed"},
    {},
    "r1/finish",
    id="01890a5d-ac96-774b-bcce-b302099a8057",
    time="2026-01-05T09:00:00.000000Z",
)
CONTENT = EVENT.encode()


def test_an_event_comes_back_from_its_bytes() -> None:
    assert Event.decode(CONTENT) == EVENT
    assert Entry.decode(CONTENT) == Entry(EVENT, None)


def test_an_envelope_brings_the_event_and_its_proof() -> None:
    envelope = signer("ada").sign(EVENT)
    assert Entry.decode(envelope.encode()) == Entry(EVENT, envelope)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b'"v":1', b'"v":2'),
        (b'"v":1', b'"v":1.0'),
        (b'"v":1', b'"v":true'),
        (b'"v":1', b'"v":"1"'),
        (b',"v":1', b""),
        (b'"v":1', b'"v":1,"w":1'),
        (b'"actor":"ada"', b'"actor":"ada","actor":"eve"'),
        (b'"outcome":"proposed"', b'"outcome":"proposed","outcome":"nothing"'),
        (b'"actor":"ada"', b'"actor": "ada"'),
        (b'"actor":"ada"', b'"actor":"\\u0061da"'),
        (b'"actor":"ada"', b'"actor":"Ada"'),
        (b'"actor":"ada"', '"actor":"\u0430da"'.encode()),
        (b'"actor":"ada"', b'"actor":""'),
        (b'"actor":"ada"', b'"actor":["ada"]'),
        (b'"refs":{}', b'"refs":[]'),
        (b'"refs":{}', b'"refs":null'),
        (b"run.finished", b"run.vanished"),
        (b"run.finished", b"run.finished "),
        (b"2026-01-05T09:00:00.000000Z", b"2026-01-05T09:00:00Z"),
        (b"2026-01-05T09:00:00.000000Z", b"2026-01-05T09:00:00.000000+00:00"),
        (b"2026-01-05T09:00:00.000000Z", b"2026-02-30T09:00:00.000000Z"),
        (b"8057", b"805"),
        (b"01890a5d", b"01890A5D"),
        (b'"causation":"r1/finish"', b'"causation":" "'),
        (b'"causation":"r1/finish"', b'"causation":7'),
        (b'"ledger":""', b'"ledger":null'),
        (b'"proposed"', b"NaN"),
        (b'"proposed"', b"-Infinity"),
        (b'"proposed"', b"1e400"),
        (b'"proposed"', b"9007199254740992"),
        (b'"proposed"', b"-9007199254740993"),
        (b'"proposed"', b"1.0"),
        (b'"proposed"', b"-0"),
        (b'"proposed"', b"1E2"),
        (b'"proposed"', b"0.10"),
        (b'"proposed"', b'"\\ud800"'),
        (b'"proposed"', b'"\\/"'),
        (b'"proposed"', b'"caf\xff"'),
        (b'"proposed"', '"cafe\u0301"'.encode()),
        (b"{", b" {"),
        (b"}", b"}\n"),
        (CONTENT, b""),
        (CONTENT, b"[]"),
        (CONTENT, b"[" * 100_000),
    ],
)
def test_what_could_be_read_in_two_ways_is_no_event(was: bytes, becomes: bytes) -> None:
    assert was in CONTENT
    changed = CONTENT.replace(was, becomes, 1) if was != b"}" else CONTENT + b"\n"
    with pytest.raises(InvalidInputError):
        Entry.decode(changed)


@given(st.permutations(list(json.loads(CONTENT).items())))
def test_the_order_of_keys_is_fixed(items: list[tuple[str, Any]]) -> None:
    content = json.dumps(dict(items), separators=(",", ":")).encode()
    if content == CONTENT:
        assert Event.decode(content) == EVENT
    else:
        with pytest.raises(InvalidInputError, match="canonical form"):
            Event.decode(content)


@given(st.text(max_size=20), st.one_of(st.integers(), st.floats()))
def test_whatever_can_be_written_is_read_as_it_was(text: str, number: float) -> None:
    event = replace(EVENT, data={**EVENT.data, "note": [text, {"n": number}, None, True]})
    try:
        content = event.encode()
    except InvalidInputError:  # not NFC, half a surrogate pair, too large or not whole
        return
    assert isinstance(number, int)
    assert abs(number) < 2**53
    assert Event.decode(content) == event


def test_an_entry_has_a_limit() -> None:
    room = ENTRY_BYTES_MAX - len(replace(EVENT, data={**EVENT.data, "note": ""}).encode())
    assert Event.decode(replace(EVENT, data={**EVENT.data, "note": "x" * room}).encode())
    with pytest.raises(InvalidInputError, match="an entry holds 60000"):
        replace(EVENT, data={**EVENT.data, "note": "x" * (room + 1)}).encode()


def envelope(**changes: Any) -> bytes:
    document = json.loads(signer("ada").sign(EVENT).encode())
    return canonical.encode({**document, **changes})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"payloadType": "application/vnd.in-toto+json"}, "the log holds"),
        ({"signatures": []}, "0 signatures"),
        ({"signatures": [{"keyid": "", "sig": ""}] * 2}, "2 signatures"),
        ({"signatures": [{"keyid": ""}]}, "malformed"),
        ({"signatures": [{"keyid": "", "sig": 7}]}, "malformed"),
        ({"signatures": {"sig": ""}}, "malformed"),
        ({"payloadType": 7}, "malformed"),
        ({"payload": "e30"}, "base64"),
        ({"payload": "-_-_"}, "base64"),
        ({"payload": 7}, "malformed"),
        ({"z": 1}, "its keys are"),
    ],
)
def test_an_envelope_holds_one_event_and_one_signature(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInputError, match=why):
        Entry.decode(envelope(**changes))


def test_an_envelope_has_one_form_too() -> None:
    content = envelope()
    assert Entry.decode(content).event == EVENT
    for changed in (content + b" ", content.replace(b'","payloadType"', b'", "payloadType"')):
        with pytest.raises(InvalidInputError):
            Entry.decode(changed)


def test_base64_with_other_padding_bits_is_another_text_for_the_same_bytes_and_refused() -> None:
    signed = dsse.Envelope.sign(CONTENT, PAYLOAD_TYPE, keyid="", key=signer("ada").key)
    text = json.loads(signed.encode())["signatures"][0]["sig"]
    assert text.endswith("==")
    other = text[:-3] + chr(ord(text[-3]) + 1) + "=="
    with pytest.raises(InvalidInputError, match="canonical"):
        Entry.decode(envelope(signatures=[{"keyid": "", "sig": other}]))


@pytest.mark.parametrize("type_", sorted(CATALOGUE))
def test_an_event_that_lacks_what_its_type_needs_is_not_written(type_: str) -> None:
    if not CATALOGUE[type_].data:
        return
    with pytest.raises(InvalidInputError, match=type_):
        replace(EVENT, type=type_, data={}, refs={}).encode()


@pytest.mark.parametrize(
    "refs", [{"manifest": "sha256:x"}, {"manifest": [digest("m")]}, {"other": 7}, {"manifest": None}]
)
def test_a_reference_is_a_digest(refs: dict[str, Any]) -> None:
    event = replace(
        EVENT, type="run.started", data={"run": "r1", "model": "digits"}, refs={"manifest": digest("m"), **refs}
    )
    with pytest.raises(InvalidInputError, match="expected sha256: and 64"):
        event.encode()
    assert Event.decode(raw(event)) == event  # the reader's fold says so, where somebody wrote it all the same


def test_every_type_is_signed_clicked_telemetry_or_work_within_a_signed_run() -> None:
    made = {"data.admitted", "model.trained", "model.pruned"}
    work = {"run.finished", *made, "attempt.failed", "verdict.given", "gates.self_tested"}
    alone = {"ledger.opened", "alarm.raised"}
    assert SIGNED | CLICKED | TELEMETRY | work | alone == CATALOGUE.keys()


SMALL = (
    "00" * 32,
    "01" + "00" * 31,
    "ec" + "ff" * 30 + "7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
)


@pytest.mark.parametrize("key", [*SMALL, "ed" + "ff" * 30 + "7f", "ee" + "ff" * 31, "01" + "00" * 30 + "80"])
def test_a_key_under_which_one_signature_holds_for_many_messages_is_none(key: str) -> None:
    assert not shapes.is_key(base64.b64encode(bytes.fromhex(key)).decode())
    assert standalone.of_small_order(bytes.fromhex(key))


def test_keys_that_people_have_are_of_large_order() -> None:
    for person in testing.people().values():
        assert shapes.is_key(person.public_key)
        assert not standalone.of_small_order(base64.b64decode(person.public_key))


@pytest.mark.parametrize("text", ["a\x01b", "\x1b[31mred", "\x7f", "\x9b31m", "\r"])
def test_text_that_would_speak_to_a_terminal_is_none(text: str) -> None:
    assert not shapes.is_text(text)
    assert not shapes.is_words(text)
    assert not standalone.is_words(text)
    assert shapes.is_text("two lines\n\tof text")
    assert standalone.is_words("two lines\n\tof text")
