import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import coding

RAW, PLANES, SHARED, SPARSE = range(4)
FLOATS = np.dtype("<u4")


def words(values):
    return np.asarray(values, "<f4").view("<u4")


def gaussian(count, *, zeros=0.0, values=None):
    rng = np.random.default_rng(count)
    drawn = rng.standard_normal(count) if values is None else rng.choice(values, count)
    return words(np.where(rng.random(count) < zeros, 0, drawn))


@pytest.mark.parametrize(
    ("form", "entries"),
    [
        (RAW, words([])),
        (RAW, np.random.default_rng(0).integers(0, 1 << 32, 3000, dtype="<u4")),
        (PLANES, gaussian(5000)),  # an exponent has few values
        (SHARED, gaussian(5000, values=[-0.5, 0.25, 1, 2])),
        (SPARSE, gaussian(5000, zeros=0.9)),
        (SPARSE, gaussian(5000, zeros=0.95, values=[-0.5, 0.25])),
        (SPARSE, words(np.zeros(100_000))),
    ],
)
def test_the_smallest_form_is_taken_and_gives_every_bit_back(form, entries):
    coded = coding.encode(entries)
    assert coded[0] == form
    np.testing.assert_array_equal(coding.decode(memoryview(coded), len(entries), FLOATS), entries)


@settings(deadline=None)
@given(
    hnp.arrays(
        st.sampled_from(["<u1", "<u2", "<u4", "<u8"]).map(np.dtype),
        st.integers(0, 3000),
        elements={"min_value": 0, "max_value": 255},
        fill=st.just(0),
    )
)
def test_every_width_comes_back(entries):
    np.testing.assert_array_equal(
        coding.decode(memoryview(coding.encode(entries)), len(entries), entries.dtype), entries
    )


@pytest.mark.parametrize("gap", [0, 1, 254, 255, 256, 509, 510, 511, 1000])
def test_gaps_of_any_length_come_back_before_and_after_a_value(gap):
    for entries in (
        words([0] * gap + [1.5] + [0] * 40_000),
        words([0] * 40_000 + [1.5] + [0] * gap),
        words([2.5] * 3 + [0] * gap + [1.5] + [0] * 40_000),
    ):
        coded = coding.encode(entries)
        assert coded[0] == SPARSE
        np.testing.assert_array_equal(coding.decode(memoryview(coded), len(entries), FLOATS), entries)


def test_a_nan_keeps_its_payload_and_zero_its_sign():
    special = np.array([0x7FC00001, 0xFFC12345, 0x80000000, 0x00000000, 0x7F800000] * 500, "<u4")
    coded = coding.encode(special)
    assert len(coded) < special.nbytes / 8
    np.testing.assert_array_equal(coding.decode(memoryview(coded), 2500, FLOATS), special)


@pytest.mark.parametrize("form", [RAW, PLANES, SHARED, SPARSE])
@pytest.mark.parametrize("claimed", [0, 4999, 5001, 1 << 40])
def test_a_tensor_with_another_number_of_entries_is_refused_before_memory_is_taken(form, claimed):
    coded = {
        RAW: bytes([RAW]) + gaussian(5000).tobytes(),
        PLANES: coding.encode(gaussian(5000)),
        SHARED: coding.encode(gaussian(5000, values=[1, 2])),
        SPARSE: coding.encode(gaussian(5000, zeros=0.9)),
    }[form]
    assert coded[0] == form
    with pytest.raises(InvalidInputError, match=r"The file is damaged"):
        coding.decode(memoryview(coded), claimed, FLOATS)


@pytest.mark.parametrize("form", [b"", b"\x04", b"\xff"])
def test_an_unknown_form_is_refused(form):
    with pytest.raises(InvalidInputError, match="a tensor's form is"):
        coding.decode(memoryview(form), 0, FLOATS)


def test_gaps_within_gaps_are_refused():
    coded = bytearray(coding.encode(words([0] * 1000 + [1.5] + [0] * 1000)))
    inner = len(coded) - 1 - 4  # one value, raw
    assert coded[inner] == RAW
    coded[inner] = SPARSE
    with pytest.raises(InvalidInputError, match="have gaps themselves"):
        coding.decode(memoryview(bytes(coded)), 2001, FLOATS)
