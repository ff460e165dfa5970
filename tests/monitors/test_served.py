"""What was answered in traffic, found again among the rows of the next training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from monitors.observations import Keeping, encode, observe
from monitors.served import answers, served
from pruneguard.artifacts import Artifacts
from pruneguard.evaluation.fairness import feedback
from pruneguard.ledger.state import Model
from pruneguard.reporting import listener
from pruneguard.serving.observing import Answer
from pruneguard.workload import Snapshot, Split
from tests.evaluation.small import linear_onnx
from tests.flows.test_lifecycle import Heard

KEY = b"k" * 32


def window(x: Sequence[Sequence[float]], logits: Sequence[Sequence[float]]) -> bytes:
    rows, said = np.asarray(x, np.float32), np.asarray(logits, np.float32)
    answer = Answer("tiny", 1, "d", "request", rows, said, 0.001, 5.0)
    return encode(observe([answer], inputs=rows, logits=said, keep=Keeping(KEY)), model="tiny", number=1, batch=1)


def model(artifacts: Artifacts, *windows: bytes, missing: int = 0) -> Model:
    made = Model("tiny")
    release: Any = SimpleNamespace(digest=artifacts.put(linear_onnx(np.eye(2))))
    made.releases[1] = release
    batches: list[Mapping[str, Any]] = [{"number": 1, "refs": {"batch": artifacts.put(each)}} for each in windows]
    made.batches.extend(batches + [{"number": 1, "refs": {"batch": "sha256:" + "0" * 64}}] * missing)
    return made


def split(x: Sequence[Sequence[float]], y: Sequence[int]) -> Split:
    return Split(np.asarray(x, np.float32), np.asarray(y, np.int64))


def test_a_row_is_found_again_by_its_values_and_has_the_answer_that_it_got(tmp_path: Path) -> None:
    artifacts = Artifacts(str(tmp_path))
    (found,) = served(model(artifacts, window([[1, 2], [4, 3]], [[0, 5], [5, 0]])), artifacts, key=KEY)
    assert found.number == 1
    assert found.said[found.named(np.array([1, 2], np.float32))] == 1
    assert found.said[found.named(np.array([4, 3], np.float32))] == 0
    assert found.named(np.array([9, 9], np.float32)) not in found.said
    assert found.answer(np.array([[0, 1], [1, 0]], np.float32)).tolist() == [1, 0]


def test_what_was_no_answer_is_left_out() -> None:
    assert list(answers(window([[1, 2]], [[np.nan, 0]]))) == []


def test_without_windows_nobody_has_answered(tmp_path: Path) -> None:
    artifacts = Artifacts(str(tmp_path))
    assert served(model(artifacts), artifacts, key=KEY) == []


def test_windows_that_are_gone_are_told(tmp_path: Path) -> None:
    artifacts, heard = Artifacts(str(tmp_path)), Heard()
    token = listener.set(heard)
    try:
        (found,) = served(model(artifacts, window([[1, 2]], [[0, 5]]), missing=2), artifacts, key=KEY)
    finally:
        listener.reset(token)
    assert len(found.said) == 1
    assert heard.said == ["2 of 3 windows of answers are kept no more, and tell of no copies"]


def test_labels_that_came_back_from_traffic_are_measured_end_to_end(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    artifacts = Artifacts(str(tmp_path))

    def labelled(n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        x = rng.random((n, 2)).astype(np.float32)
        truth = np.where(rng.random(n) < 0.8, x.argmax(1), 1 - x.argmax(1))  # the version is right in four of five
        return x, truth

    (old_x, old_y), (new_x, _), (gate_x, gate_y), (last_x, last_y) = (labelled(n) for n in (300, 100, 200, 200))
    copies = new_x.argmax(1)  # what the version said of them
    train = Split(np.concatenate([old_x, new_x]), np.concatenate([old_y, copies]))
    snapshot = Snapshot(train, Split(gate_x, gate_y), Split(last_x, last_y), classes=2)
    before = served(model(artifacts, window(cast("Any", new_x), cast("Any", new_x))), artifacts, key=KEY)
    found = feedback.measure(snapshot, before, seed=1)
    assert found["data.feedback.served"].value == pytest.approx(0.25)
    copied = found["data.feedback.copied"]
    assert copied.value == pytest.approx(0.25)
    assert 0.2 < copied.low <= 0.25 <= copied.high < 0.3
