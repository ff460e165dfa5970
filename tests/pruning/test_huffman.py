import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import huffman

# A, B, C, D occur 3, 2, 1 and 1 times; their tree is (A, (B, (C, D))).
HAND = np.array([0, 1, 0, 2, 1, 0, 3])
HAND_BITS = "0" + "10" + "0" + "110" + "10" + "0" + "111"


def test_a_small_alphabet_gets_the_code_made_by_hand():
    lengths = huffman.lengths(np.bincount(HAND))
    assert lengths.tolist() == [1, 2, 3, 3]
    assert [f"{code:0{length}b}" for code, length in zip(huffman.codes(lengths), lengths, strict=True)] == [
        "0",
        "10",
        "110",
        "111",
    ]


def test_a_stream_is_the_bytes_that_the_format_says():
    bits = int(HAND_BITS.ljust(16, "0"), 2).to_bytes(2, "big")
    assert huffman.encode(HAND) == struct.pack("<HQ", 4, 7) + bytes([0x12, 0x33]) + struct.pack("<H", 2) + bits


def test_canonical_codes_of_one_length_count_upwards_in_the_order_of_their_symbols():
    # RFC 1951, 3.2.2: ABCDEFGH with the lengths 3, 3, 3, 3, 3, 2, 4, 4.
    lengths = np.array([3, 3, 3, 3, 3, 2, 4, 4], np.uint8)
    assert huffman.codes(lengths).tolist() == [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111]


def test_no_code_is_longer_than_fifteen_bits_even_for_fibonacci_counts():
    counts = [1, 1]
    while len(counts) < 40:
        counts.append(counts[-1] + counts[-2])
    lengths = huffman.lengths(np.array(counts))
    assert lengths.max() == 15
    assert sum(2.0 ** -int(length) for length in lengths) == 1
    symbols = np.repeat(np.arange(40), np.minimum(counts, 50))
    np.testing.assert_array_equal(huffman.decode(huffman.encode(symbols))[0], symbols)


def test_the_average_length_is_within_one_bit_of_the_entropy():
    counts = np.random.default_rng(1).integers(1, 1000, 64)
    shares = counts / counts.sum()
    entropy = -(shares * np.log2(shares)).sum()
    assert entropy <= (shares * huffman.lengths(counts)).sum() < entropy + 0.1


@settings(deadline=None)
@given(st.lists(st.integers(0, 4095), max_size=60), st.integers(1, 60))
def test_what_was_encoded_is_decoded_and_what_follows_is_left(symbols, repeats):
    coded = huffman.encode(np.array(symbols * repeats, np.int64))
    found, taken = huffman.decode(coded + b"rest")
    assert (found.tolist(), taken) == (symbols * repeats, len(coded))


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 2048, 300_000])
def test_blocks_end_where_they_should(count):
    symbols = np.minimum(np.random.default_rng(count).geometric(0.3, count), 40)
    np.testing.assert_array_equal(huffman.decode(huffman.encode(symbols))[0], symbols)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes hold no Huffman stream"),
        (struct.pack("<HQ", 4, 1 << 60) + bytes(8), "announced in 8 bytes"),
        (struct.pack("<HQ", 65535, 1) + bytes(40000), "alphabet of 65535"),
        (struct.pack("<HQ", 4, 1) + bytes([0x11, 0x11, 1, 0, 0]), "code lengths fill 65536 of 32768"),
        (struct.pack("<HQ", 4, 1) + bytes([0x22, 0x20, 1, 0, 0]), "code lengths fill 24576 of 32768"),
        (struct.pack("<HQ", 1, 1) + bytes([0x11, 1, 0, 0]), "unused code length"),
        (struct.pack("<HQ", 2, 1) + bytes([0x11, 9, 0, 0]), "end at byte 12 of 4"),
        (struct.pack("<HQ", 2, 9) + bytes([0x11, 1, 0, 0]), "do not fill their blocks"),
        (struct.pack("<HQ", 2, 1) + bytes([0x11, 2, 0, 0, 0]), "do not fill their blocks"),
        (struct.pack("<HQ", 1, 1) + bytes([0x10, 1, 0, 0x80]), "do not fill their blocks"),
        (struct.pack("<HQ", 2, 8) + bytes([0x00, 1, 0, 0]), "do not fill their blocks"),
    ],
)
def test_bytes_that_no_encoder_wrote_are_refused(content, message):
    with pytest.raises(InvalidInputError, match=message):
        huffman.decode(content)
