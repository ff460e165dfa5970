import random
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from pruneguard.errors import InvalidInputError, UnavailableError
from pruneguard.serving.follower import Follower
from pruneguard.serving.server import Server
from tests.serving.scene import JSON_ROW, Recorder, Scene, gateway, mark


@pytest.fixture
def scene(tmp_path):
    scene = Scene(tmp_path)
    scene.release()
    return scene


def serve(made, port=0):
    return Server(made.app, host="127.0.0.1", port=port)


def test_a_started_server_answers_on_the_port_it_names(scene):
    with serve(gateway(scene)) as server:
        assert server.port > 0
        response = httpx.post(f"{server.url}/v2/models/digits/infer", json=JSON_ROW)
        assert mark(response) == 1
        assert "server" not in response.headers
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/v2/health/live")


def test_a_body_over_the_limit_gets_its_answer_and_the_connection_goes_on(scene):
    with serve(gateway(scene)) as server, httpx.Client(base_url=server.url) as client:
        refused = client.post("/v2/models/digits/infer", content=b"a" * 3_000_000)
        assert refused.status_code == 413
        assert mark(client.post("/v2/models/digits/infer", json=JSON_ROW)) == 1


def test_a_taken_port_names_the_port_the_setting_and_how_to_find_who_has_it(scene):
    with serve(gateway(scene)) as first:
        second = serve(gateway(scene), first.port)
        with pytest.raises(UnavailableError, match=rf"port {first.port} on 127.0.0.1 is taken") as caught:
            second.start()
        assert "PRUNEGUARD_GATEWAY_PORT" in str(caught.value)
        assert f"ss -ltnp 'sport = :{first.port}'" in str(caught.value)
        assert httpx.get(f"{first.url}/v2/health/live").status_code == 200


def test_a_port_is_free_again_after_a_stop(scene):
    with serve(gateway(scene)) as server:
        httpx.get(f"{server.url}/v2/health/live")
    with serve(gateway(scene), server.port) as again:
        assert httpx.get(f"{again.url}/v2/health/live").status_code == 200


@pytest.mark.parametrize(
    ("host", "port", "kind", "says"),
    [
        ("192.0.2.1", 0, UnavailableError, r"cannot listen on port 0 on 192\.0\.2\.1"),
        ("no.such.host.invalid", 0, InvalidInputError, r"PRUNEGUARD_HOST='no\.such\.host\.invalid'"),
        ("127.0.0.1", 70_000, InvalidInputError, "PRUNEGUARD_GATEWAY_PORT=70000; expected 0"),
    ],
)
def test_where_nobody_can_listen_is_refused_by_name(scene, host, port, kind, says):
    with pytest.raises(kind, match=says):
        Server(gateway(scene).app, host=host, port=port).start()


def test_an_app_that_does_not_start_is_an_error_of_start():
    async def app(scope, receive, send):
        assert scope["type"] == "lifespan"
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "the disk is full"})

    with pytest.raises(UnavailableError, match="did not start"):
        Server(app, host="127.0.0.1", port=0).start()


def test_signals_stay_with_whoever_starts_the_server(scene):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with serve(gateway(scene)):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_connection_that_is_kept_open_does_not_hold_up_a_stop(scene):
    with httpx.Client() as client:
        server = serve(gateway(scene))
        server.start()
        client.get(f"{server.url}/v2/health/live")
        stopped = threading.Thread(target=server.stop)
        stopped.start()
        stopped.join(5)
        assert not stopped.is_alive()


SWAPS = 200
ANSWERS_A_SWAP = 8
CLIENTS = 4


@pytest.mark.slow
def test_two_hundred_swaps_under_load_fail_no_request_and_no_answer_is_another_versions(scene):
    """Releases and rollbacks while clients ask: each answer comes from the network of the version that it names."""
    observer = Recorder()
    made = gateway(scene, observer)
    done, answered = threading.Event(), threading.Semaphore(0)

    def ask(url, seed):
        versions, draw = Counter(), random.Random(seed)
        with httpx.Client(base_url=url, trust_env=False) as client:
            while not done.is_set():
                versions[mark(client.post("/v2/models/digits/infer", json={"id": str(draw.random()), **JSON_ROW}))] += 1
                answered.release()
        return versions

    with (
        serve(made) as server,
        Follower(scene.ledger.reopen, made, interval_s=0.001) as following,
        ThreadPoolExecutor(CLIENTS) as clients,
    ):
        try:
            asking = [clients.submit(ask, server.url, seed) for seed in range(CLIENTS)]
            for swap in range(SWAPS):
                if swap % 5 == 4:
                    scene.roll_back()
                else:
                    scene.release(share=1 if swap % 2 else 0.5)
                    if swap % 2 == 0:
                        scene.shift(len(scene.ledger.state().models["digits"].releases), 1)
                assert following.wait_for(scene.ledger.size, timeout_s=20)
                assert all(answered.acquire(timeout=20) for _ in range(ANSWERS_A_SWAP))
        finally:
            done.set()
        versions = sum((future.result() for future in asking), Counter())

    assert sum(versions.values()) == len(observer.answers) >= SWAPS * ANSWERS_A_SWAP
    assert len(versions) >= 10
    assert observer.refusals == []
