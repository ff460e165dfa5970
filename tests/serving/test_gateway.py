import gc
import gzip
import json
import weakref
from collections import Counter

import numpy as np
import pytest

from pruneguard.serving.bodies import reply
from pruneguard.serving.observing import Reason
from tests.serving.scene import JSON_ROW, Recorder, Scene, call, error, gateway, infer, infer_all, mark, row


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


# -- what answers ---------------------------------------------------------------------------------------------------


def test_an_answer_names_its_version_and_its_request(scene):
    scene.release()
    response = infer(gateway(scene), {"id": "anna-1", **JSON_ROW})
    assert response.json() == {
        "model_name": "digits",
        "model_version": "1",
        "id": "anna-1",
        "outputs": [{"name": "logits", "datatype": "FP32", "shape": [1, 3], "data": [1.0, 10.0, -10.0]}],
    }


def test_a_batch_is_answered_row_by_row(scene):
    scene.release()
    document = row([1, 2, 3, 4, 5, 6, 7, 8], shape=[2, 4])
    assert infer(gateway(scene), document).json()["outputs"][0]["data"] == [1, 10, -10, 1, 26, -26]


@pytest.mark.parametrize("output", [False, True])
@pytest.mark.parametrize("sent", [False, True])
def test_json_and_binary_tensors_mix_freely(scene, sent, output):
    scene.release()
    document = row([1, 2, 3, 4]) | {"outputs": [{"name": "logits", "parameters": {"binary_data": output}}]}
    content = b""
    if sent:
        del document["inputs"][0]["data"]
        document["inputs"][0]["parameters"] = {"binary_data_size": 16}
        content = np.array([1, 2, 3, 4], "<f4").tobytes()
    head = json.dumps(document).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))} if sent else {}
    response = infer(gateway(scene), content=head + content, headers=headers)
    if output:
        length = int(response.headers["inference-header-content-length"])
        values = np.frombuffer(response.content[length:], "<f4").tolist()
    else:
        values = response.json()["outputs"][0]["data"]
    assert values == [1, 10, -10]


def test_a_compressed_request_is_answered(scene):
    scene.release()
    content = gzip.compress(json.dumps(JSON_ROW).encode())
    assert mark(infer(gateway(scene), content=content, headers={"Content-Encoding": "gzip"})) == 1


def test_live_canary_and_fallback_answer_to_their_names_and_nothing_else_does(scene):
    scene.release()
    scene.release()
    scene.release(share=0.1)
    made = gateway(scene)
    assert [mark(infer(made, version=number)) for number in (1, 2, 3)] == [1, 2, 3]
    assert error(infer(made, version=4), 404) == (
        "version '4' is not served; 'digits' serves 2 (live), 3 (canary 10 %), 1 (fallback)"
    )
    scene.shift(3, 1)
    made.follow(scene.ledger.state())
    assert "version '1' is not served" in error(infer(made, version=1), 404)


def test_the_canary_takes_its_share_and_the_same_id_gets_the_same_version(scene):
    scene.release()
    scene.release(share=0.2)
    made = gateway(scene)
    documents = [{"id": f"request {i}", **JSON_ROW} for i in range(400)]
    first, second = (list(map(mark, infer_all(made, documents))) for _ in range(2))
    assert first == second
    assert 50 < Counter(first)[2] < 110  # 80 expected, standard deviation 8


def test_a_key_is_sticky_whatever_the_request_is_called(scene):
    scene.release()
    scene.release(share=0.5)
    made = gateway(scene)
    versions = {}
    for user in range(40):
        headers = {"PruneGuard-Key": f"user {user}"}
        versions[user] = {mark(infer(made, {"id": f"{user}/{i}", **JSON_ROW}, headers=headers)) for i in range(5)}
    assert all(len(seen) == 1 for seen in versions.values())
    assert set.union(*versions.values()) == {1, 2}


def test_a_canary_with_nothing_live_answers_its_share_and_no_more(scene):
    scene.release(share=0.5)
    made = gateway(scene)
    answers = infer_all(made, [{"id": str(i), **JSON_ROW} for i in range(60)])
    assert {answer.status_code for answer in answers} == {200, 503}
    assert "nothing is live: 'digits' serves 1 (canary 50 %)" in error(call(made, "GET", "/v2/models/digits"), 503)


# -- following the ledger -------------------------------------------------------------------------------------------


def test_a_rollback_needs_no_file(scene):
    scene.release()
    scene.release()
    made = gateway(scene)
    scene.path(1).unlink()
    scene.roll_back()
    assert made.follow(scene.ledger.state())
    assert mark(infer(made)) == 1


def test_a_rollback_takes_effect_before_the_next_fallback_is_read(scene):
    for _ in range(3):
        scene.release()
    made = gateway(scene)
    read, get = [], scene.artifacts.get

    def get_and_ask(name):
        read.append(mark(infer(made)))
        return get(name)

    scene.artifacts.get = get_and_ask
    scene.roll_back()
    made.follow(scene.ledger.state())
    assert read  # release 1, the new fallback, with what it rests on
    assert set(read) == {2}  # answered by then


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_answering_and_is_told(scene):
    observer = Recorder()
    scene.release()
    made = gateway(scene, observer)
    scene.release(stored=False)
    assert made.follow(scene.ledger.state()) is False
    assert mark(infer(made)) == 1
    assert observer.refusals == [("digits", Reason.LOAD_FAILED)]
    rows = call(made, "POST", "/v2/repository/index").json()
    assert {row["version"]: row["state"] for row in rows} == {"1": "READY", "2": "UNAVAILABLE"}
    assert "is not in the artefact store" in rows[-1]["reason"]


def test_what_was_rolled_back_does_not_answer_because_what_should_cannot_be_loaded(scene):
    scene.release()
    scene.release()
    content = scene.path(1).read_bytes()
    scene.path(1).unlink()
    made = gateway(scene)
    assert mark(infer(made)) == 2
    scene.roll_back()
    assert made.follow(scene.ledger.state()) is False
    assert "release 1 cannot be loaded" in error(infer(made), 503)
    assert error(infer(made, version=2), 404)
    scene.artifacts.put(content)
    assert made.follow(scene.ledger.state())
    assert mark(infer(made)) == 1


def test_a_version_that_can_be_loaded_later_is_served_when_it_is_followed_again(scene):
    scene.release()
    content = scene.path(1).read_bytes()
    scene.path(1).unlink()
    made = gateway(scene)
    assert "release 1 cannot be loaded: UnavailableError" in error(infer(made), 503)
    assert call(made, "GET", "/v2/health/ready").status_code == 503
    scene.artifacts.put(content)
    assert made.follow(scene.ledger.state())
    assert mark(infer(made)) == 1


def test_bytes_that_were_changed_are_never_served(scene):
    scene.release()
    made = gateway(scene)
    scene.release()
    scene.path(2).write_bytes(scene.path(1).read_bytes())
    assert made.follow(scene.ledger.state()) is False
    assert mark(infer(made)) == 1
    assert "IntegrityError" in call(made, "POST", "/v2/repository/index").text


def test_a_network_that_answers_nonsense_is_not_served(scene):
    scene.release()
    made = gateway(scene)
    scene.release(mark=float("nan"))
    assert made.follow(scene.ledger.state()) is False
    assert mark(infer(made)) == 1
    assert "expected 3 logits, finite" in call(made, "POST", "/v2/repository/index").text


def test_a_fallback_that_cannot_be_loaded_does_not_hold_up_a_release(scene):
    scene.release()
    scene.release()
    scene.path(1).unlink()
    made = gateway(scene)
    assert mark(infer(made)) == 2
    assert "serves 2 (live)" in error(infer(made, version=1), 404)


def test_one_models_broken_release_does_not_hold_up_another_model(tmp_path):
    digits = Scene(tmp_path)
    letters = Scene(tmp_path, model="letters", ledger=digits.ledger)
    digits.release(stored=False, mark=7)
    letters.release()
    made = gateway(digits)
    assert call(made, "POST", "/v2/models/letters/infer", json=JSON_ROW).status_code == 200
    assert error(infer(made), 503)


# -- what is told ---------------------------------------------------------------------------------------------------


def test_the_observer_hears_what_was_asked_and_answered(scene):
    scene.release()
    observer = Recorder()
    infer(gateway(scene, observer), {"id": "a", **JSON_ROW})
    (answer,) = observer.answers
    assert (answer.model, answer.version, answer.request_id) == ("digits", 1, "a")
    assert answer.digest == scene.ledger.state().models["digits"].releases[1].digest
    assert answer.inputs.tolist() == [[1, 2, 3, 4]]
    assert answer.logits.tolist() == [[1, 10, -10]]
    assert 0 < answer.seconds < 10


class Broken(Recorder):
    def answered(self, answer):
        raise RuntimeError("the monitor is ill")

    def refused(self, model, reason):
        raise RuntimeError("the monitor is ill")


def test_a_broken_observer_fails_no_request_and_is_counted(scene):
    scene.release()
    made = gateway(scene, Broken())
    assert mark(infer(made)) == 1
    assert infer(made, {}).status_code == 400
    assert made.observer_failures == 2


def test_a_refusal_is_told_under_a_closed_set_of_labels(scene):
    scene.release()
    observer = Recorder()
    made = gateway(scene, observer)
    infer(made, {})
    infer(made, content=b"a" * 100_001)
    infer(made, version=9)
    call(made, "POST", "/v2/models/whatever-a-client-makes-up/infer", json=JSON_ROW)
    assert observer.refusals == [
        ("digits", Reason.INVALID),
        ("digits", Reason.TOO_LARGE),
        ("digits", Reason.NOT_SERVED),
        ("", Reason.NOT_SERVED),
    ]


def test_metrics_are_the_observers_own(scene):
    scene.release()
    made = gateway(scene)
    infer(made)
    response = call(made, "GET", "/metrics")
    assert response.text == "answers_total 1\n"
    assert response.headers["content-type"] == "text/plain; version=0.0.4"


def test_a_version_that_left_the_table_is_let_go(scene):
    scene.release()
    made = gateway(scene)
    session = weakref.ref(made.table["digits"].versions[1].session)
    assert mark(infer(made)) == 1
    for _ in range(2):  # the first becomes the fallback, and then leaves
        scene.release()
        made.follow(scene.ledger.state())
    gc.collect()
    assert session() is None


def test_what_a_version_took_and_could_not_answer_is_told_as_its_failure(scene):
    scene.release()
    observer = Recorder()
    made = gateway(scene, observer)
    assert error(infer(made, row([3e38] * 4)), 400)
    assert observer.failures == [("digits", 1)]
    assert error(infer(made, row([1, 2])), 400)
    assert observer.failures == [("digits", 1)]


def test_a_gateway_that_drains_says_that_it_is_not_ready_and_answers(scene):
    scene.release()
    made = gateway(scene)
    made.drain()
    assert "is stopping" in error(call(made, "GET", "/v2/health/ready"), 503)
    assert call(made, "GET", "/v2/health/live").status_code == 200
    assert mark(infer(made)) == 1


def test_a_path_of_nobody_goes_to_the_relay_and_the_gateways_own_do_not(scene):
    scene.release()
    seen = []

    async def relay(scope, receive, send):
        seen.append(scope["path"])
        await reply(send, 200, b"", {})

    made = gateway(scene, relay=relay)
    for method, path in (
        ("GET", "/v2/health/live"), ("GET", "/v2"), ("GET", "/v2/models/digits"), ("POST", "/v2/repository/index"),
    ):  # fmt: skip
        assert call(made, method, path).status_code == 200
    assert mark(infer(made)) == 1
    assert seen == []
    for path in ("/metrics", "/v2/models/digits/labels", "/operations/alerts"):
        call(made, "GET", path)
    assert seen == ["/metrics", "/v2/models/digits/labels", "/operations/alerts"]
