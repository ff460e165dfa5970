"""Canonical JSON against the vectors of RFC 8785's author, and what it refuses."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneguard import canonical
from pruneguard.errors import InvalidInputError

VECTORS = Path(__file__).parent / "assets/jcs/testdata"
NAMES = sorted(path.stem for path in (VECTORS / "input").iterdir())

NOT_NFC = {"unicode", "weird"}
"""Vectors that hold text which Unicode can spell in two ways; RFC 8785 lets it through."""

documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.from_regex("[a-zäöü ]*", fullmatch=True),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.from_regex("[a-z]*", fullmatch=True), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("name", sorted(set(NAMES) - NOT_NFC))
def test_bytes_are_those_of_the_published_vectors(name: str) -> None:
    document = json.loads((VECTORS / "input" / f"{name}.json").read_bytes())
    encoded = canonical.encode(document)
    assert encoded == (VECTORS / "output" / f"{name}.json").read_bytes()
    assert encoded == bytes.fromhex((VECTORS / "outhex" / f"{name}.txt").read_text())


@pytest.mark.parametrize("name", sorted(NOT_NFC))
def test_text_that_could_be_spelled_twice_is_refused(name: str) -> None:
    """Two spellings of one name must not be two people."""
    document = json.loads((VECTORS / "input" / f"{name}.json").read_bytes())
    with pytest.raises(InvalidInputError, match="NFC"):
        canonical.encode(document)


@given(documents)
def test_what_was_encoded_reads_back_and_encodes_to_the_same_bytes(document: object) -> None:
    encoded = canonical.encode(document)
    again = canonical.decode(encoded)
    assert again == document
    assert canonical.encode(again) == encoded


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, {"a": [b"bytes"]}, "\ud800", {1: 2}])
def test_a_value_without_one_form_is_refused(value: object) -> None:
    with pytest.raises(InvalidInputError):
        canonical.encode(value)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"a":1,"a":2}', "twice"),
        (b'{"a":NaN}', "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"9007199254740993", "double"),
        (b"1" * 30, "double"),
        (b"1" * 4000, "double"),
        (b"{", "not JSON"),
        (b'"\xff"', "not JSON"),
        (b"1 2", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_reader_that_others_could_disagree_with_refuses(content: bytes, found: str) -> None:
    with pytest.raises(InvalidInputError, match=found):
        canonical.decode(content)


def test_an_infinite_number_written_in_digits_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        canonical.encode(canonical.decode(b"[1e400]"))
