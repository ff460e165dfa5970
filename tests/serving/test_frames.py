import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruneguard.errors import IntegrityError
from pruneguard.serving import frames
from pruneguard.serving.frames import LENGTH_BYTES, Told, length, pack, unpack
from pruneguard.serving.observing import Answer
from tests.serving.scene import Recorder


def answer(identifier, rows, *, seconds=0.001):
    inputs = np.arange(4 * rows, dtype=np.float32).reshape(rows, 4)
    return Answer("digits", 2, "sha256:ab", identifier, inputs, inputs[:, :3] + 1, seconds, 1700000000.25)


def heard(frame):
    assert length(frame[:LENGTH_BYTES]) == len(frame) - LENGTH_BYTES
    observer = Recorder()
    unpack(frame[LENGTH_BYTES:]).tell(observer)
    return observer


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=5), st.integers(1, 3)), max_size=4))
def test_what_is_told_is_what_is_heard(told):
    answers = [answer(identifier, rows) for identifier, rows in told]
    observer = heard(pack(Told(answers, {("digits", "busy"): 2}, {("digits", 2): 1}, lost=3)))
    for sent, found in zip(answers, observer.answers, strict=True):
        assert (found.request_id, found.seconds, found.time) == (sent.request_id, sent.seconds, sent.time)
        np.testing.assert_array_equal(found.inputs, sent.inputs)
        np.testing.assert_array_equal(found.logits, sent.logits)
    assert observer.refusals == [("digits", "busy")] * 2
    assert observer.failures == [("digits", 2)]
    assert observer.missed == 3


def test_an_empty_frame_says_nothing():
    observer = heard(pack(Told()))
    assert (observer.answers, observer.refusals, observer.missed) == ([], [], 0)


@pytest.mark.parametrize("prefix", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x00"])
def test_a_length_that_no_worker_would_send_is_refused(prefix):
    with pytest.raises(IntegrityError, match="expected at most"):
        length(prefix)


@settings(deadline=None)
@given(st.integers(0, 400), st.binary(max_size=8))
def test_what_is_no_frame_is_refused(cut, more):
    rest = pack(Told([answer("a", 2)]))[LENGTH_BYTES:]
    damaged = rest[:cut] + more
    if damaged != rest:
        with pytest.raises(IntegrityError, match="no frame"):
            unpack(damaged)


def test_an_array_of_objects_is_refused():
    rest = pack(Told([answer("a", 1)]))[LENGTH_BYTES:].replace(b'"<f4"', b'"|O8"')
    with pytest.raises(IntegrityError, match="no frame"):
        unpack(rest)


def test_a_frame_holds_bytes_and_no_pickle():
    frame = pack(Told([answer("a-1", 1)]))
    head = b'{"answers":[["digits",2,"sha256:ab","a-1",{"dtype":"<f4","shape":[1,4]}'
    assert frame[2 * LENGTH_BYTES :].startswith(head)
    assert frame.endswith(np.array([[1, 2, 3]], np.float32).tobytes())
    assert len(frame) < frames.FRAME_BYTES_MAX
