"""Canonical JSON against the vectors of RFC 8785's author, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785
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


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) - 2, 2**53 + 2)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(st.characters(max_codepoint=0x110), max_size=3), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(plain | st.text(st.characters(max_codepoint=0x7F)) | documents)
def test_the_fast_way_writes_what_the_reference_implementation_writes(document: object) -> None:
    try:
        expected = rfc8785.dumps(document)
    except rfc8785.CanonicalizationError:
        with pytest.raises(InvalidInputError):
            canonical.encode(document)
        return
    try:
        encoded = canonical.encode(document)
    except InvalidInputError as error:
        assert "NFC" in str(error)  # noqa: PT017 - what is refused beyond RFC 8785, and nothing else
    else:
        assert encoded == expected


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("document", "encoded"),
    [
        ({"b": Name("x"), "a": (1, True)}, b'{"a":[1,true],"b":"x"}'),
        ([1.0, 1e21, 0.000001, -0.0], b"[1,1e+21,0.000001,0]"),
        ({'\x7f\x1f"\\/': "<>&\u2028"}, '{"\x7f\\u001f\\"\\\\/":"<>&\u2028"}'.encode()),
        ({"\ue000": 1, "\U0001f600": 2, "a": 3}, '{"a":3,"\U0001f600":2,"\ue000":1}'.encode()),  # by UTF-16 unit
    ],
)
def test_what_only_looks_plain_is_written_all_the_same(document: Any, encoded: bytes) -> None:
    assert canonical.encode(document) == encoded


@given(documents | plain)
def test_what_was_just_encoded_is_read_as_by_anybody_else(document: object) -> None:
    try:
        encoded = canonical.encode(document, whole=True)
    except InvalidInputError:
        return
    mine, theirs = canonical.decode_own(encoded), canonical.decode(encoded)
    assert mine == theirs
    assert repr(mine) == repr(theirs)  # 1 is not 1.0 here


@pytest.mark.parametrize("document", [1.0, {"a": [0.5]}, {"a": ({"b": 1e300},)}, float("nan")])
def test_where_numbers_are_whole_a_float_is_refused(document: Any) -> None:
    with pytest.raises(InvalidInputError):
        canonical.encode(document, whole=True)


def test_a_document_too_deep_for_any_reader_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidInputError):
        canonical.encode(deep)


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
