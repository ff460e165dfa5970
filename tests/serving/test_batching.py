"""Requests that share a run: when they do, what each gets, and whose fault stays whose."""

import asyncio
import threading

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.sessions import Session
from pruneguard.serving.batching import OFFLOAD_SECONDS, Batches, Joining, answers, joinable
from tests.serving.scene import JSON_ROW, Recorder, Scene, gateway, mark, network

SHORT, LONG = 0.0, 2 * OFFLOAD_SECONDS


def rows(*firsts):
    return np.array([[first, 0, 0, 0] for first in firsts], np.float32)


class Counting(Session):
    """A network that says which rows it was given together, may be held, and fails on a row that begins with 666."""

    def __init__(self, onnx, **options):
        super().__init__(onnx, **options)
        self.runs, self.let_go, self.entered = [], threading.Event(), threading.Event()
        self.let_go.set()

    def logits(self, x, *, batch=256):
        self.runs.append(x[:, 0].tolist())
        self.entered.set()
        assert self.let_go.wait(20)
        if 666 in x[:, 0]:
            raise InvalidInputError("a row it cannot bear")
        return super().logits(x, batch=batch)


@pytest.fixture
def session():
    return Counting(network(1))


def test_a_short_run_is_made_at_once_and_alone(session):
    batches = Batches(session, row_seconds=SHORT, apart=False, how=Joining())
    assert batches.at_once(rows(7)).tolist() == [[1, 7, -7]]
    assert session.runs == [[7]]


def test_what_arrives_during_a_long_run_is_answered_together_by_the_next(session):
    batches = Batches(session, row_seconds=LONG, apart=False, how=Joining(runs_max=1))
    session.let_go.clear()

    async def ask():
        assert batches.at_once(rows(1)) is None
        first = batches.wait(rows(1))
        await asyncio.to_thread(session.entered.wait, 20)
        others = [batches.wait(rows(2, 3)), batches.wait(rows(4))]
        session.let_go.set()
        return [found.tolist() for found in await asyncio.gather(first, *others)]

    assert asyncio.run(ask()) == [[[1, 1, -1]], [[1, 2, -2], [1, 3, -3]], [[1, 4, -4]]]
    assert session.runs == [[1], [2, 3, 4]]


def test_with_a_budget_a_request_waits_for_others_until_the_rows_are_enough(session):
    batches = Batches(session, row_seconds=SHORT, apart=False, how=Joining(wait_s=3600, rows_max=3))

    async def ask():
        assert batches.at_once(rows(1)) is None
        return await asyncio.gather(batches.wait(rows(1)), batches.wait(rows(2, 3)))

    asyncio.run(ask())
    assert session.runs == [[1, 2, 3]]


def test_with_a_budget_nobody_waits_longer(session):
    batches = Batches(session, row_seconds=SHORT, apart=False, how=Joining(wait_s=0.001, rows_max=1000))

    async def ask():
        return await batches.wait(rows(5))

    assert asyncio.run(ask()).tolist() == [[1, 5, -5]]


def test_a_request_larger_than_a_run_is_answered_by_a_run_of_its_own(session):
    batches = Batches(session, row_seconds=SHORT, apart=False, how=Joining(wait_s=3600, rows_max=2))

    async def ask():
        return await asyncio.gather(batches.wait(rows(1)), batches.wait(rows(2, 3, 4)))

    asyncio.run(ask())
    assert session.runs == [[1], [2, 3, 4]]


def test_who_fails_fails_alone(session):
    found = answers(session, [rows(1), rows(666), rows(2)])
    assert [found[0].tolist(), found[2].tolist()] == [[[1, 1, -1]], [[1, 2, -2]]]
    assert isinstance(found[1], InvalidInputError)


def test_a_client_that_has_gone_is_not_run(session):
    batches = Batches(session, row_seconds=SHORT, apart=False, how=Joining(wait_s=3600, rows_max=2))

    async def ask():
        gone = batches.wait(rows(1))
        gone.cancel()
        batches._begin(asyncio.get_running_loop())
        await asyncio.sleep(0)

    asyncio.run(ask())
    assert session.runs == []


def test_a_client_that_goes_while_it_waits_for_a_run_is_dropped_and_leaves_its_place(tmp_path):
    scene = Scene(tmp_path)
    scene.release()
    observer = Recorder()
    made = gateway(scene, observer, in_flight_max=2, joining=Joining(wait_s=3600, rows_max=2))
    scope = {"type": "http", "method": "POST", "path": "/v2/models/digits/infer", "headers": []}
    content = httpx.Request("POST", "http://x", json=JSON_ROW).content

    async def send(message):
        pass

    async def go_away():
        said = [{"type": "http.request", "body": content, "more_body": False}, {"type": "http.disconnect"}]

        async def receive():
            return said.pop(0)

        await made.app(scope, receive, send)

    async def both():
        await go_away()
        transport = httpx.ASGITransport(made.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            path = "/v2/models/digits/infer"
            return await asyncio.gather(client.post(path, json=JSON_ROW), client.post(path, json=JSON_ROW))

    assert [mark(found) for found in asyncio.run(both())] == [1, 1]
    assert len(observer.answers) == 2
    assert observer.failures == []


def mixing() -> bytes:
    """A network that subtracts the mean over its batch: what a row gets hangs on its company."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=1),
            helper.make_node("Sub", ["input", "mean"], ["logits"]),
        ],
        "mixing",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def test_a_network_that_mixes_its_rows_is_seen_and_its_requests_are_never_joined():
    assert joinable(Session(network(1)), (4,))
    assert not joinable(Session(mixing()), (4,))
    session = Counting(mixing())
    batches = Batches(session, row_seconds=SHORT, apart=True, how=Joining(wait_s=3600, rows_max=2))

    async def ask():
        return await asyncio.gather(batches.wait(rows(1)), batches.wait(rows(3)))

    assert [found.tolist() for found in asyncio.run(ask())] == [[[0, 0, 0, 0]]] * 2
    assert session.runs == [[1], [3]]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=5), min_size=1, max_size=6))
def test_what_a_request_gets_does_not_hang_on_its_company(requests):
    session = Session(network(3))
    together = answers(session, [rows(*firsts) for firsts in requests])
    for firsts, found in zip(requests, together, strict=True):
        np.testing.assert_allclose(found, session.logits(rows(*firsts)), rtol=1e-5)
