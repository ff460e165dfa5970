"""What the gateway refuses and bounds, and that every path of the protocol is answered."""

import asyncio
import gzip
import json
import threading
import time

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruneguard.evaluation.sessions import Session
from pruneguard.serving.batching import OFFLOAD_SECONDS
from pruneguard.serving.gateway import Gateway
from pruneguard.serving.observing import Reason
from tests.serving.scene import JSON_ROW, Recorder, Scene, call, error, gateway, infer, mark, row


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


# -- limits and bad input -------------------------------------------------------------------------------------------


def test_a_body_over_the_limit_is_refused_without_being_kept(scene):
    scene.release()
    assert "larger than 100000 bytes" in error(infer(gateway(scene), content=b"a" * 100_001), 413)


def test_a_bomb_is_refused_at_the_limit(scene):
    scene.release()
    bomb = gzip.compress(b"a" * 50_000_000)
    assert len(bomb) < 100_000
    assert error(infer(gateway(scene), content=bomb, headers={"Content-Encoding": "gzip"}), 413)


def test_inputs_that_overflow_the_model_are_the_callers_error(scene):
    scene.release()
    assert "its answer is not finite" in error(infer(gateway(scene), row([3e38] * 4)), 400)


def test_more_requests_than_the_limit_are_told_when_to_come_back(scene):
    scene.release()
    observer = Recorder()
    made = gateway(scene, observer, in_flight_max=1)
    inside, release = asyncio.Event(), asyncio.Event()

    async def slow_body():
        inside.set()
        yield json.dumps(JSON_ROW).encode()
        await release.wait()

    async def both():
        transport = httpx.ASGITransport(made.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            first = asyncio.create_task(client.post("/v2/models/digits/infer", content=slow_body()))
            await inside.wait()
            second = await client.post("/v2/models/digits/infer", json=JSON_ROW)
            release.set()
            return await first, second, await client.post("/v2/models/digits/infer", json=JSON_ROW)

    first, second, third = asyncio.run(both())
    assert (first.status_code, third.status_code) == (200, 200)
    assert "retry in a second" in error(second, 429)
    assert second.headers["retry-after"] == "1"
    assert ("", Reason.BUSY) in observer.refusals


class Held(Session):
    """A network that is slow while it warms up, and then holds its answer until it is let go."""

    serving = False
    asked, let_go = threading.Event(), threading.Event()

    def logits(self, x, *, batch=256):
        if not self.serving:
            time.sleep(2 * OFFLOAD_SECONDS)
        else:
            self.asked.set()
            assert self.let_go.wait(20)
        return super().logits(x, batch=batch)


def test_a_slow_model_holds_up_nobody_else(scene, monkeypatch):
    monkeypatch.setattr("pruneguard.serving.table.Session", Held)
    scene.release()
    made = gateway(scene)
    monkeypatch.setattr(Held, "serving", True)

    async def both():
        transport = httpx.ASGITransport(made.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            slow = asyncio.create_task(client.post("/v2/models/digits/infer", json=JSON_ROW))
            assert await asyncio.to_thread(Held.asked.wait, 20)
            live = await client.get("/v2/health/live")
            Held.let_go.set()
            return live, await slow

    live, slow = asyncio.run(both())
    assert live.status_code == 200
    assert mark(slow) == 1


def test_a_client_that_stalls_does_not_keep_its_place(scene, monkeypatch):
    monkeypatch.setattr("pruneguard.serving.bodies.BODY_SECONDS_MAX", 0.01)
    scene.release()

    async def stalling():
        yield b"{"
        await asyncio.Event().wait()

    made = gateway(scene, in_flight_max=1)
    assert "did not arrive within 0.01 s" in error(infer(made, content=stalling()), 408)
    assert mark(infer(made)) == 1


def test_a_client_that_goes_away_leaves_nothing_behind(scene):
    scene.release()
    made = gateway(scene, in_flight_max=1)
    path = "/v2/models/digits/infer"
    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    asyncio.run(made.app(scope, receive, send))
    assert mark(infer(made)) == 1


def test_a_fault_is_answered_in_the_protocols_words_and_raised_for_the_log(scene):
    class NoMetrics(Recorder):
        def metrics(self):
            raise RuntimeError("the monitor is ill")

    made = gateway(scene, NoMetrics())

    async def send():
        transport = httpx.ASGITransport(made.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.get("/metrics")

    assert error(asyncio.run(send()), 500) == "this is a fault of the gateway (RuntimeError); its log says more"
    with pytest.raises(RuntimeError):
        call(made, "GET", "/metrics")


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    scene = Scene(tmp_path_factory.mktemp("standing"))
    scene.release()
    scene.release(share=0.5)
    return gateway(scene)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("input") | JSON,
        "datatype": st.just("FP32") | JSON,
        "shape": st.just([1, 4]) | st.lists(st.integers(), max_size=3) | JSON,
        "data": st.just([1, 2, 3, 4]) | st.lists(st.floats() | st.integers(), min_size=4, max_size=4) | JSON,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(0, 20) | JSON}) | JSON,
    },
)
REQUEST = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=2) | JSON},
    optional={"id": JSON, "outputs": st.lists(JSON | st.just({"name": "logits"})) | JSON, "parameters": JSON},
)
BODY = st.binary(max_size=200) | st.tuples(REQUEST.map(lambda d: json.dumps(d).encode()), st.binary(max_size=20)).map(
    b"".join
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Inference-Header-Content-Length": st.integers(-5, 500).map(str),
        "Content-Encoding": st.sampled_from(["gzip", "deflate", "br", "identity", ""]),
        "PruneGuard-Key": st.text("abc", max_size=3),
    },
)


@settings(max_examples=150, deadline=None)
@given(body=BODY, headers=HEADERS, version=st.none() | st.integers(0, 3))
def test_no_request_whatever_is_in_it_is_a_fault_of_the_gateway(standing, body, headers, version):
    response = infer(standing, content=body, headers=headers, version=version)
    assert response.status_code in (200, 400, 404, 413, 415)
    if response.status_code != 200:
        assert isinstance(response.json()["error"], str)


# -- the protocol's paths -------------------------------------------------------------------------------------------


def test_a_gateway_is_live_at_once_and_ready_when_a_model_answers(scene):
    empty = Gateway(scene.artifacts, Recorder(), threads=1, request_bytes_max=1000)
    assert call(empty, "GET", "/v2/health/live").status_code == 200
    assert "no model answers yet" in error(call(empty, "GET", "/v2/health/ready"), 503)
    scene.release()
    empty.follow(scene.ledger.state())
    assert call(empty, "GET", "/v2/health/ready").status_code == 200


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_says_what_it_is_and_can(standing, path):
    document = call(standing, "GET", path).json()
    assert document["name"] == "pruneguard"
    assert "binary_tensor_data" in document["extensions"]


def test_a_model_says_what_it_takes_and_gives(standing):
    document = call(standing, "GET", "/v2/models/digits").json()
    assert document["versions"] == ["1", "2"]
    assert document["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}]
    assert document["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 3]}]
    assert document["properties"]["standing"] == "live"
    canary = call(standing, "GET", "/v2/models/digits/versions/2").json()
    assert canary["properties"]["standing"] == "canary 50 %"


@pytest.mark.parametrize("path", ["", "/ready", "/versions/1", "/versions/1/ready", "/versions/2/ready"])
def test_every_version_that_is_served_has_its_paths(standing, path):
    assert call(standing, "GET", f"/v2/models/digits{path}").status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/v2/models/x", "/v2/models/x/ready", "/v2/models/digits/versions/9/ready", "/v2/models/digits/config", "/"],
)
def test_what_is_not_there_is_said_in_the_protocols_own_words(standing, path):
    assert error(call(standing, "GET", path), 404)


def test_a_wrong_method_is_said_with_the_right_one(standing):
    response = call(standing, "GET", "/v2/models/digits/infer")
    assert "Method Not Allowed" in error(response, 405)
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize(("body", "count"), [(None, 2), ({}, 2), ({"ready": True}, 2), ({"ready": False}, 2)])
def test_the_index_lists_every_version(standing, body, count):
    request = {} if body is None else {"json": body}
    rows = call(standing, "POST", "/v2/repository/index", **request).json()
    assert rows[0] == {"name": "digits", "version": "1", "state": "READY", "reason": ""}
    assert len(rows) == count


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"ready": 1}'])
def test_a_malformed_index_request_is_refused(standing, body):
    assert error(call(standing, "POST", "/v2/repository/index", content=body), 400)
