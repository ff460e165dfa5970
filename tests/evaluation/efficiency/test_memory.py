import sys

import numpy as np
import pytest

from pruneguard.errors import InvalidInputError, UnavailableError
from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.efficiency import memory, resident
from pruneguard.evaluation.sessions import Session
from tests.evaluation.small import linear, linear_onnx

pytestmark = pytest.mark.skipif(memory.lacks() is not None, reason="no /proc here")


@pytest.fixture(scope="module")
def pair() -> Pair:
    """A candidate of 8 kB and a twin of 16 MB."""
    small, large = linear(np.zeros((1000, 2))), linear(np.zeros((1000, 4000)))
    return Pair(small, large, Session(small.onnx), Session(large.onnx))


def test_a_file_of_16_megabytes_takes_that_and_a_small_one_does_not(pair):
    found = memory.measure(pair, np.zeros((3, 1000), np.float32))
    peak, ratio = found["efficiency.memory.peak"], found["efficiency.memory.ratio"]
    assert (peak.unit, peak.low, peak.high, peak.n) == ("By", peak.value, peak.value, 1)
    assert peak.value / ratio.value > 16e6
    assert ratio.value < 0.7
    again = memory.peak(pair.twin.onnx, (64, 1000))
    assert again == pytest.approx(peak.value / ratio.value, rel=0.02)


def test_a_twin_against_itself_is_one(pair):
    same = Pair(pair.candidate, pair.candidate, pair.candidate_session, pair.candidate_session)
    assert memory.measure(same, np.zeros((3, 1000), np.float32))["efficiency.memory.ratio"].value == 1


def test_a_model_that_fails_on_the_batch_is_refused_with_its_reason():
    with pytest.raises(InvalidInputError, match=r"failed on a batch \[64, 7\].*exit 1.*Got: 7 Expected: 3"):
        memory.peak(linear_onnx(np.zeros((3, 2))), (64, 7))


def test_a_process_that_does_not_end_or_start_is_no_measurement(monkeypatch):
    monkeypatch.setattr(memory, "TIMEOUT_S", 0.001)
    with pytest.raises(UnavailableError, match="peak memory could not be measured"):
        memory.peak(b"", (1, 1))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(UnavailableError, match="peak memory could not be measured"):
        memory.peak(b"", (1, 1))


def test_where_there_is_no_proc_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(resident, "STATUS", tmp_path / "status")
    assert memory.lacks() == "peak memory is read from /proc, which this system does not have"


def test_a_peak_is_read_in_bytes(monkeypatch, tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n")
    monkeypatch.setattr(resident, "STATUS", status)
    assert resident.peak() == 2 * 1024**2
    assert resident.grown(linear_onnx(np.zeros((3, 2))), (4, 3), before=2**20) == 2**20
