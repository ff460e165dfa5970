"""A release that answers with numbers."""

import numpy as np
import pytest

from tests.evaluation.small import linear_onnx
from tests.serving import scene as scenes
from tests.serving.scene import JSON_ROW, Recorder, Scene, call, gateway, infer, row


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """Its network answers with a row's sum."""
    monkeypatch.setattr(scenes, "network", lambda mark: linear_onnx(np.ones((4, 1)) + 0 * mark))
    released = Scene(tmp_path)
    released.release()
    return released


def test_an_answer_is_one_number_for_each_row(scene):
    seen = Recorder()
    found = infer(gateway(scene, observer=seen), row([1, 2, 3, 4, 5, 6, 7, 8], shape=[2, 4]))
    assert found.json()["outputs"] == [{"name": "number", "datatype": "FP32", "shape": [2, 1], "data": [10.0, 26.0]}]
    assert seen.answers[0].logits.tolist() == [[10], [26]]


def test_the_metadata_call_it_what_it_is(scene):
    found = call(gateway(scene), "GET", "/v2/models/digits").json()
    assert found["outputs"] == [{"name": "number", "datatype": "FP32", "shape": [-1, 1]}]


def test_an_answer_that_is_no_number_is_never_sent(scene):
    huge = {**JSON_ROW, "inputs": [{**JSON_ROW["inputs"][0], "data": [3e38, 3e38, 3e38, 3e38]}]}
    response = infer(gateway(scene), huge)
    assert response.status_code >= 400, response.text
    assert "finite" in response.json()["error"]
