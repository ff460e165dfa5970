import hashlib
import json
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pruneguard.errors import IntegrityError, InvalidInputError, PruneGuardError
from pruneguard.pruning import sharing, storage, tensors, weights
from tests.pruning import networks

HEAD = len(storage.MAGIC) + 56


def pruned():
    """80 % of a linear layer's weights zero, the others in 5 bits."""
    torch.manual_seed(0)
    model = nn.Linear(200, 100)
    with torch.no_grad():
        model.weight[model.weight.abs() < 0.8 * model.weight.abs().max()] = 0
    return sharing.share(model, bits=5)


CONTENT = weights.dump(pruned())
CODED = storage.encode(CONTENT)


def file(header, body=b""):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    return struct.pack("<Q", len(text)) + text + body


def entry(dtype, shape, start, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def forged(content, *, header=None, size=None, header_size=None, deflated=None, tail=b""):
    """A coded file that claims what it likes, its digest included."""
    header = content[: 8 + int.from_bytes(content[:8], "little")] if header is None else header
    packed = zlib.compress(header) if deflated is None else deflated
    numbers = (
        hashlib.sha256(content).digest(),
        len(content) if size is None else size,
        len(header) if header_size is None else header_size,
        len(packed),
    )
    return storage.MAGIC + struct.pack("<32sQQQ", *numbers) + packed + tail


@pytest.mark.parametrize("build", [networks.plain, networks.table, networks.recurrent, networks.transformer])
def test_the_loader_opens_the_file_again(build):
    model, fresh = build(), build()
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.zero_()
    content = weights.dump(sharing.share(model, bits=5))
    coded = storage.encode(content)
    weights.load(fresh, storage.decode(coded))
    assert weights.dump(fresh) == content
    assert len(coded) < len(content)


def test_pruned_and_shared_weights_take_a_fraction_of_their_size():
    assert storage.decode(CODED) == CONTENT
    assert len(CONTENT) / len(CODED) > 13


def test_the_same_file_is_coded_the_same_way_each_time():
    assert storage.encode(CONTENT) == CODED


DTYPES = sorted(tensors.ITEM_BYTES)


@st.composite
def safetensors_files(draw):
    made = {}
    for name in draw(st.lists(st.text(st.characters(codec="ascii"), max_size=8), unique=True, max_size=5)):
        dtype = draw(st.sampled_from(DTYPES))
        shape = tuple(draw(st.lists(st.integers(0, 12), max_size=3)))
        size = int(np.prod(shape)) * tensors.ITEM_BYTES[dtype]
        rng = np.random.default_rng(draw(st.integers(0, 9)))
        values = np.array(draw(st.lists(st.integers(0, 255), min_size=1, max_size=4)), np.uint8)
        made[name] = tensors.Tensor(dtype, shape, rng.choice(values, size).tobytes())
    return tensors.write(made)


@settings(deadline=None)
@given(safetensors_files())
def test_any_safetensors_file_comes_back_bit_for_bit(content):
    assert storage.decode(storage.encode(content)) == content


@pytest.mark.parametrize(
    "content",
    [
        file({}),
        file(b"{}      "),
        file({"__metadata__": {"format": "pt"}, "a": entry("F32", [2], 0, 8)}, bytes(8)),
        file({"late": entry("F32", [1], 4, 8), "early": entry("F32", [], 0, 4)}, bytes(range(8))),  # not in byte order
        file({"empty": entry("F32", [0, 5], 0, 0), "a": entry("I64", [1], 0, 8)}, bytes(8)),
        file(b'{ "a" :\n{"shape": [3], "dtype": "U8", "data_offsets": [0, 3]} }', b"abc"),
        file({"of tomorrow": entry("F4", [6], 0, 3)}, b"abc"),
        file({"nan": entry("F32", [2], 0, 8)}, struct.pack("<II", 0x7FC12345, 0x80000000)),
    ],
)
def test_the_header_is_kept_to_the_letter(content):
    assert storage.decode(storage.encode(content)) == content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02pickle",
        struct.pack("<Q", 1 << 62),
        file(b"no json"),
        file(b"[]"),
        file({"a": entry("F32", [2], 0, 8)}, bytes(7)),
        file({"a": entry("F32", [2], 0, 8)}, bytes(9)),
        file({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}, bytes(12)),
        file({"a": entry("F32", [1], 4, 8)}, bytes(8)),
        file({"a": {"dtype": "F32"}}),
        file({"a": entry("F32", [1], 0.0, 4.0)}, bytes(4)),
        file(
            b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'
        ),
    ],
)
def test_what_is_no_safetensors_file_is_not_coded(content):
    with pytest.raises(InvalidInputError):
        storage.encode(content)


@pytest.mark.parametrize("kept", [*range(0, HEAD + 40, 7), *range(HEAD + 40, len(CODED), 97), len(CODED) - 1])
def test_a_file_that_is_cut_off_is_refused(kept):
    with pytest.raises(InvalidInputError):
        storage.decode(CODED[:kept])


def test_bytes_behind_the_last_tensor_are_refused():
    with pytest.raises(InvalidInputError, match="1 bytes follow the last tensor"):
        storage.decode(CODED + b"\0")


@settings(deadline=None)
@given(st.integers(0, 8 * len(CODED) - 1))
def test_a_flipped_bit_never_gives_other_weights(bit):
    damaged = bytearray(CODED)
    damaged[bit // 8] ^= 1 << bit % 8
    try:
        found = storage.decode(bytes(damaged))
    except PruneGuardError:
        return
    assert found == CONTENT  # a bit that fills up a byte stands for nothing


def test_weights_that_are_not_the_ones_coded_are_an_integrity_error():
    damaged = bytearray(CODED)
    damaged[len(storage.MAGIC)] ^= 1
    with pytest.raises(IntegrityError, match="Do not load them"):
        storage.decode(bytes(damaged))


def test_a_claim_of_any_size_takes_no_memory():
    huge = 1 << 40
    header = file({"a": entry("F32", [huge // 4], 0, huge)})
    for tail in (struct.pack("<Q", huge), struct.pack("<Q", 1) + b"\0", struct.pack("<Q", 11) + b"\3" + bytes(10)):
        content = forged(b"", header=header, size=len(header) + huge, tail=tail)
        tracemalloc.start()
        with pytest.raises(InvalidInputError):
            storage.decode(content, size_max=1 << 60)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONTENT, "are no coded weights"),
        (forged(CONTENT, size=1 << 40), "at most 4294967296 are decoded"),
        (forged(CONTENT, header_size=len(CONTENT) + 1), "with a header of"),
        (forged(CONTENT, deflated=b"not zlib"), "the header does not inflate"),
        (forged(CONTENT, deflated=zlib.compress(bytes(1 << 20))), "the header inflates to"),
        (forged(CONTENT, header=file(b"{}")), "its tensors take 0 bytes of"),
    ],
)
def test_claims_that_do_not_hold_are_refused(content, message):
    with pytest.raises(InvalidInputError, match=message):
        storage.decode(content)


def test_a_smaller_limit_is_kept():
    assert storage.decode(CODED, size_max=len(CONTENT)) == CONTENT
    with pytest.raises(InvalidInputError, match="size_max has to be raised"):
        storage.decode(CODED, size_max=len(CONTENT) - 1)
