"""`/v2/models/{name}/labels`: what is taken, what is refused, and in which words."""

import asyncio
import gzip
import json
import math
import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from pruneguard.serving import labels as labelling
from pruneguard.serving.labels import BYTES_MAX, LABELS_MAX, read, routes
from pruneguard.serving.labelstore import Label, Labels
from pruneguard.serving.protocol import RequestError
from tests.serving.scene import JSON_ROW, Scene, gateway, infer
from tests.serving.scene import call as send

ONE = {"labels": [{"id": "r-17", "label": 3}]}


@pytest.fixture
def store(tmp_path):
    store = Labels(tmp_path / "labels.sqlite")
    yield store
    store.close()


def call(store, method="POST", *, model="digits", **request):
    app = Starlette(routes=routes(store, models=lambda: {"digits", "letters"}))

    async def send():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
            return await client.request(method, f"/v2/models/{model}/labels", **request)

    return asyncio.run(send())


def refusal(response, status):
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"]
    return response.json()["error"]


def test_labels_are_taken_and_counted(store):
    first = call(store, json=ONE)
    assert (first.status_code, first.json()) == (
        200,
        {"model_name": "digits", "accepted": 1, "corrected": 0, "duplicates": 0},
    )
    assert call(store, json=ONE).json()["duplicates"] == 1
    assert call(store, json={"labels": [{"id": "r-17", "label": 4}]}).json()["corrected"] == 1
    counts = {"accepted": 2, "corrected": 1, "duplicates": 1, "unknown": 0, "waiting": 2}
    assert call(store, "GET").json() == {"model_name": "digits", **counts}
    assert call(store, "GET", model="letters").json()["accepted"] == 0


def test_a_compressed_body_is_read_and_its_size_uncompressed_is_bounded(store):
    headers = {"Content-Encoding": "gzip"}
    assert call(store, content=gzip.compress(json.dumps(ONE).encode()), headers=headers).status_code == 200
    assert "fewer" in refusal(call(store, content=gzip.compress(b" " * (BYTES_MAX + 1)), headers=headers), 413)
    assert "not gzip" in refusal(call(store, content=b"{}", headers=headers), 400)
    assert "fewer" in refusal(call(store, content=b" " * (BYTES_MAX + 1)), 413)


def test_a_model_that_is_not_served_takes_no_labels(store):
    assert "there are ['digits', 'letters']" in refusal(call(store, model="absent", json=ONE), 404)
    refusal(call(store, "GET", model="absent"), 404)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ([], "a list of 1 to"),
        ({}, "`labels` is None"),
        ({"labels": []}, "a list of 1 to"),
        ({"labels": [{"id": "a", "label": 1}] * (LABELS_MAX + 1)}, "a list of 1 to"),
        ({"labels": [3]}, "label 0 is 3"),
        ({"labels": [{"id": "a", "label": 1}, {"label": 1}]}, "label 1: id is None"),
        ({"labels": [{"id": "", "label": 1}]}, "id is ''"),
        ({"labels": [{"id": "a" * 257, "label": 1}]}, "id is"),
        ({"labels": [{"id": "a\n", "label": 1}]}, "id is"),
        ({"labels": [{"id": "a"}]}, "label is None"),
        ({"labels": [{"id": "a", "label": True}]}, "label is True"),
        ({"labels": [{"id": "a", "label": "3"}]}, "label is '3'"),
        ({"labels": [{"id": "a", "label": 10**400}]}, "expected a finite number"),
        ({"labels": [{"id": "a", "label": 1, "row": -1}]}, "row is -1"),
        ({"labels": [{"id": "a", "label": 1, "row": 1.0}]}, "row is 1.0"),
        ({"labels": [{"id": "a", "label": 1, "time": "now"}]}, "time is 'now'"),
        ({"labels": [{"id": "a", "label": 1, "time": -1}]}, "time is -1"),
        ({"labels": [{"id": "a", "label": 1, "time": 4e9}]}, "not a day ahead"),
        ({"labels": [{"id": "a", "label": 1, "lable": 1}]}, "['lable']"),
    ],
)
def test_what_is_no_label_is_refused_in_words_and_none_of_the_request_is_stored(store, document, why):
    assert why in refusal(call(store, content=json.dumps(document)), 400)
    assert call(store, "GET").json()["accepted"] == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'{"labels": [{"id": "a", "label": NaN}]}', b"\xff"])
def test_what_is_no_json_is_refused(body):
    with pytest.raises(RequestError):
        read(body, now=time.time())


@given(st.binary(max_size=200) | st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5),
       lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["labels", "id", "label", "row",
       "time"]), inner, max_size=4), max_leaves=12).map(lambda d: json.dumps(d).encode()))  # fmt: skip
def test_whatever_is_sent_is_labels_or_a_clear_refusal(body):
    try:
        found = read(body, now=0.0)
    except RequestError:
        return
    assert all(isinstance(one, Label) and math.isfinite(one.value) for one in found)


def test_a_store_that_cannot_be_written_is_told_and_to_be_tried_again(tmp_path):
    response = call(Labels(tmp_path / "absent" / "labels.sqlite"), json=ONE)
    assert "none of these labels was stored" in refusal(response, 503)
    assert response.headers["Retry-After"] == "1"


def test_more_requests_than_may_wait_for_the_disk_are_told_to_come_back(store, monkeypatch):
    monkeypatch.setattr(labelling, "WRITING_MAX", 0)
    response = call(store, json=ONE)
    assert "wait for the disk" in refusal(response, 429)
    assert response.headers["Retry-After"] == "1"


def test_a_gateway_takes_labels_of_what_it_serves_and_of_nothing_else(store, tmp_path):
    scene = Scene(tmp_path)
    made = None
    extra = routes(store, models=lambda: made.table)
    made = gateway(scene, extra_routes=extra)
    path = "/v2/models/digits/labels"
    refusal(send(made, "POST", path, json=ONE), 404)
    scene.release()
    made.follow(scene.ledger.state())
    answered = infer(made, {**JSON_ROW, "id": "r-17"})
    assert answered.json()["id"] == "r-17"
    assert send(made, "POST", path, json=ONE).json()["accepted"] == 1
    assert send(made, "GET", path).json()["waiting"] == 1
