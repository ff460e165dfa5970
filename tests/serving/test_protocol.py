import gzip
import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pruneguard.serving import protocol
from pruneguard.serving.protocol import RequestError, TensorSpec

IMAGE = TensorSpec("input", (1, 2, 2))
LOGITS = TensorSpec("logits", (3,))


def parse(document: object, binary: bytes = b"", *, spec: TensorSpec = IMAGE) -> np.ndarray:
    head = json.dumps(document).encode()
    request = protocol.read(head + binary, json_length=str(len(head)) if binary else None)
    return protocol.tensor(request, spec, rows_max=8)


def tensor(**changes: object) -> dict[str, object]:
    return {"name": "input", "datatype": "FP32", "shape": [1, 1, 2, 2], "data": [1, 2, 3, 4]} | changes


def binary_tensor(size: object, **changes: object) -> dict[str, object]:
    found = tensor(parameters={"binary_data_size": size}, **changes)
    del found["data"]
    return {"inputs": [found]}


@pytest.mark.parametrize("data", [[1, 2.5, 3, 4], [[[[1, 2.5], [3, 4]]]], [[1, 2.5, 3, 4]], [[[1, 2.5, 3, 4]]]])
def test_json_data_may_be_flat_or_nested_as_its_shape(data):
    found = parse({"inputs": [tensor(data=data)]})
    assert found.dtype == np.float32
    assert found.tolist() == [[[[1, 2.5], [3, 4]]]]


@given(arrays.arrays(np.float32, (3, 1, 2, 2), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_json_and_binary_carry_the_same_numbers_to_the_bit(x):
    as_json = parse({"inputs": [tensor(shape=[3, 1, 2, 2], data=x.tolist())]})
    as_bytes = parse(binary_tensor(x.nbytes, shape=[3, 1, 2, 2]), x.tobytes())
    assert as_json.tobytes() == as_bytes.tobytes() == x.tobytes()


def test_a_binary_tensor_is_the_observers_own():
    found = parse(binary_tensor(16), np.arange(4, dtype="<f4").tobytes())
    found += 1  # neither read-only nor a view into the request
    assert found.flags.aligned


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (tensor(datatype="FP64"), "input 'input': datatype 'FP64'; expected FP32"),
        (tensor(datatype=None), "datatype None; expected FP32"),
        (tensor(name="x"), r"the input 'input' FP32 \[-1, 1, 2, 2\] is missing; found \['x'\]"),
        (tensor(shape=[1, 2, 2]), r"shape \[1, 2, 2\]; expected 4 whole numbers, \[-1, 1, 2, 2\]"),
        (tensor(shape=[1, 1, 2, 3]), r"shape \[1, 1, 2, 3\]; expected \[-1, 1, 2, 2\]"),
        (tensor(shape=[1, 1, -2, -2]), r"shape \[1, 1, -2, -2\]"),
        (tensor(shape=[True, 1, 2, 2]), "whole numbers"),
        (tensor(shape=[1.0, 1, 2, 2]), "whole numbers"),
        (tensor(shape="1x4"), "shape '1x4'"),
        (tensor(shape=[-1, 1, 2, 2]), "a batch of -1 rows; expected 1 to 8"),
        (tensor(shape=[0, 1, 2, 2], data=[]), "a batch of 0 rows; expected 1 to 8"),
        (tensor(shape=[9, 1, 2, 2]), "a batch of 9 rows; expected 1 to 8"),
        (tensor(shape=[10**15, 1, 2, 2]), "rows; expected 1 to 8"),
        (tensor(shape=[10**30, 1, 2, 2]), "whole numbers"),
        (tensor(data=[1, 2, 3]), r"3 values; expected 4 for the shape \[1, 1, 2, 2\]"),
        (tensor(data=[]), "0 values; expected 4"),
        (tensor(data=[1, 2, 3, 4, 5]), "5 values; expected 4"),
        (tensor(data=[[1, 2], [3, 4]]), r"data is nested as \[2, 2\]; expected \[1, 1, 2, 2\]"),
        (tensor(data=[[[[1, 2], [3]]]]), "nested unevenly"),
        (tensor(data=[[[[1, 2], 3]]]), "nested unevenly"),
        (tensor(data=[1, 2, 3, [4]]), "data holds list; expected numbers only"),
        (tensor(data=[1, 2, 3, "4"]), "data holds str; expected numbers only"),
        (tensor(data=[1, 2, True, None]), "data holds NoneType, bool; expected numbers only"),
        (tensor(data="AAAA"), "data is text; expected a list of numbers"),
        (tensor(data=[1, 2, float("nan"), 4]), "not JSON"),
        (tensor(data=[1, 2, 3, float("-inf")]), "not JSON"),
        (tensor(data=[1e39, 2, 3, 4]), "element 0 is inf"),
        (tensor(data=[10**400, 2, 3, 4]), "not JSON"),
        (tensor(parameters=[]), "input 'input': parameters are a list; expected an object"),
        (tensor(parameters={"shared_memory_region": "r"}), "'shared_memory_region'. are not supported"),
        (tensor(parameters={"binary_data_size": 16}), "both data and binary_data_size"),
    ],
)
def test_a_wrong_input_is_named_with_what_was_found_and_expected(found, says):
    with pytest.raises(RequestError, match=says) as caught:
        parse({"inputs": [found]})
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("document", "binary", "says"),
    [
        (binary_tensor(12), bytes(16), "binary_data_size is 12, but 16 bytes follow"),
        (binary_tensor(16), bytes(12), "binary_data_size is 16, but 12 bytes follow"),
        (binary_tensor(-16), bytes(16), "binary_data_size is -16"),
        (binary_tensor("16"), bytes(16), "binary_data_size is '16'"),
        (binary_tensor(True), bytes(1), "binary_data_size is True"),
        (binary_tensor(15), bytes(15), "15 bytes; expected 4 for each"),
        (binary_tensor(20), bytes(20), "5 values; expected 4"),
        (binary_tensor(16), b"", "binary_data_size is 16, but 0 bytes follow"),
        (binary_tensor(16), np.full(4, np.nan, "<f4").tobytes(), "element 0 is nan"),
        ({"inputs": [tensor()]}, bytes(4), "no binary_data_size, but 4 bytes follow the JSON"),
    ],
)
def test_binary_parts_that_do_not_fit_are_refused(document, binary, says):
    with pytest.raises(RequestError, match=says):
        parse(document, binary)


@pytest.mark.parametrize("length", ["", "-1", "x", "1e1", "²", "99", "9" * 5000, "٣"])
def test_a_json_length_that_is_no_length_of_this_body_is_refused(length):
    with pytest.raises(RequestError, match="expected the JSON's length, at most the body's 2 bytes"):
        protocol.read(b"{}", json_length=length)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"1" * 5000, "not JSON"),
        (b"[]", "the request is a list; expected an object with `inputs`"),
        (b"null", "the request is null"),
        (b'{"parameters": 1}', "the request: parameters are a number"),
        (b'{"id": 7}', "id: 7; expected text"),
        (b'{"id": "\\ud800"}', "not JSON"),
        (b'{"id": "' + b"a" * 257 + b'"}', "expected text of at most 256 printable characters"),
    ],
)
def test_a_request_that_is_no_request_is_refused(body, says):
    with pytest.raises(RequestError, match=says):
        protocol.read(body, json_length=None)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "`inputs` is None; expected a list of tensors"),
        ({"inputs": {}}, "`inputs` is {}; expected a list"),
        ({"inputs": [1]}, "expected a list of tensors, each an object"),
        ({"inputs": []}, r"is missing; found \[\]"),
        ({"inputs": [tensor(), tensor(name="mask")]}, r"found the inputs \['input', 'mask'\]; expected 'input'"),
        ({"inputs": [tensor(), tensor()]}, r"found the inputs \['input', 'input'\]"),
    ],
)
def test_missing_and_extra_inputs_are_named(document, says):
    with pytest.raises(RequestError, match=says):
        parse(document)


def test_a_dimension_that_the_model_leaves_open_takes_any_size_from_one():
    sequence = TensorSpec("input", (-1,))
    assert parse({"inputs": [tensor(shape=[2, 2])]}, spec=sequence).shape == (2, 2)
    for size in (0, -1):
        with pytest.raises(RequestError, match=r"expected \[-1, -1\], where -1 is any size from 1"):
            parse({"inputs": [tensor(shape=[2, size])]}, spec=sequence)


@pytest.mark.parametrize(
    ("document", "binary"),
    [
        ({}, False),
        ({"outputs": []}, False),
        ({"outputs": [{"name": "logits"}]}, False),
        ({"parameters": {"binary_data_output": True}}, True),
        ({"outputs": [{"name": "logits", "parameters": {"binary_data": True}}]}, True),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "logits", "parameters": {"binary_data": False}}],
            },
            False,
        ),
    ],
)
def test_the_output_is_binary_where_it_is_asked_for(document, binary):
    assert protocol.wants_binary(protocol.Request("id", document, b""), LOGITS) is binary


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (
            {"outputs": [{"name": "labels"}]},
            r"outputs \['labels'\] are wanted; the model has one, 'logits' FP32 \[-1, 3\]",
        ),
        ({"outputs": [{"name": "logits"}, {"name": "logits"}]}, "are wanted; the model has one"),
        ({"outputs": "logits"}, "`outputs` is 'logits'"),
        ({"parameters": {"binary_data_output": 1}}, "binary_data_output is 1; expected true or false"),
        ({"outputs": [{"name": "logits", "parameters": {"binary_data": "yes"}}]}, "binary_data is 'yes'"),
        ({"outputs": [{"name": "logits", "parameters": {"classification": 2}}]}, "'classification'. are not supported"),
    ],
)
def test_an_output_that_cannot_be_given_is_refused(document, says):
    with pytest.raises(RequestError, match=says):
        protocol.wants_binary(protocol.Request("id", document, b""), LOGITS)


def test_a_request_without_an_id_gets_one_of_its_own():
    first, second = (protocol.read(b'{"id": ""}', json_length=None).id for _ in range(2))
    assert first
    assert first != second


@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_read_up_to_its_bound_and_never_beyond(name, pack):
    assert protocol.decompress(pack(b"a" * 100), encoding=name, bytes_max=100) == b"a" * 100
    with pytest.raises(RequestError, match="larger than 99 bytes, uncompressed") as caught:
        protocol.decompress(pack(b"a" * 100), encoding=name, bytes_max=99)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("body", "encoding", "status", "says"),
    [
        (gzip.compress(b"{}", mtime=0)[:-9], "gzip", 400, "stops before its end"),
        (gzip.compress(b"{}", mtime=0) + b"x", "gzip", 400, "is followed by 1 bytes"),
        (b"{}", "gzip", 400, "the body is not gzip"),
        (b"{}", "br", 415, "Content-Encoding 'br'; expected gzip, deflate or identity"),
        (b"{}", "gzip, gzip", 415, "expected gzip"),
    ],
)
def test_a_body_that_is_not_compressed_as_it_says_is_refused(body, encoding, status, says):
    with pytest.raises(RequestError, match=says) as caught:
        protocol.decompress(body, encoding=encoding, bytes_max=100)
    assert caught.value.status == status


def test_an_answer_says_the_same_in_json_and_in_bytes():
    logits = np.array([[0.1, 2, -3e30], [4, 5e-40, 6]], np.float32)
    about = {"model": "digits", "version": 3, "request_id": "a"}
    body, headers = protocol.encode(logits, LOGITS, **about, binary=False)
    as_json = json.loads(body)
    assert headers == {"Content-Type": "application/json"}
    assert (as_json["model_name"], as_json["model_version"]) == ("digits", "3")
    assert np.array(as_json["outputs"][0]["data"], np.float32).reshape(2, 3).tobytes() == logits.tobytes()

    body, headers = protocol.encode(logits, LOGITS, **about, binary=True)
    length = int(headers["Inference-Header-Content-Length"])
    assert json.loads(body[:length])["outputs"] == [
        {"name": "logits", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}}
    ]
    assert body[length:] == logits.tobytes()


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("br, gzip;q=0.5", "gzip"),
        ("*", "gzip"),
        ("gzip;q=0, deflate", "deflate"),
    ],
)
def test_a_large_answer_is_compressed_as_its_client_allows(accepted, coding):
    content = b"0.25," * protocol.COMPRESSED_BYTES_MIN
    packed, headers = protocol.compress(content, accepted=accepted)
    assert headers["Content-Encoding"] == coding
    assert len(packed) < len(content) / 10
    assert protocol.decompress(packed, encoding=coding, bytes_max=len(content)) == content


@pytest.mark.parametrize("accepted", ["", "identity", "br", "gzip;q=0", "gzip;q=0.0, deflate;q=0"])
def test_nobody_gets_a_coding_that_was_not_accepted(accepted):
    content = b"0.25," * protocol.COMPRESSED_BYTES_MIN
    assert protocol.compress(content, accepted=accepted) == (content, {})
