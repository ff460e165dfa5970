"""Workers are real processes here: what they answer, how they end, and that nobody notices."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.serving.scene import JSON_ROW, mark
from tests.serving.worker_scene import crew, home_of, until

pytestmark = pytest.mark.slow  # each worker takes a second or two to start


@pytest.fixture
def home(tmp_path):
    settings, scene = home_of(tmp_path)
    yield settings, scene
    scene.ledger.close()


class Load:
    """Clients that keep their connections, until told to end."""

    def __init__(self, url, clients=4):
        self.url, self.stop = f"{url}/v2/models/digits/infer", threading.Event()
        self.answers, self.failures = [], []
        self.pool = ThreadPoolExecutor(clients)
        self.running = [self.pool.submit(self._run) for _ in range(clients)]

    def _run(self):
        with httpx.Client(timeout=30) as client:
            while not self.stop.is_set():
                try:
                    self.answers.append(mark(client.post(self.url, json=JSON_ROW)))
                except (httpx.TransportError, AssertionError) as error:
                    self.failures.append(repr(error))

    def more(self, count=50):
        seen = len(self.answers)
        until(lambda: len(self.answers) >= seen + count, "answers")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.pool.shutdown()
        for one in self.running:
            one.result()


def test_workers_answer_and_their_parent_hears_of_every_answer_and_refusal(home):
    with crew(home[0], 2) as made:
        answers = [made.infer() for _ in range(20)]
        assert [mark(answer) for answer in answers] == [1] * 20
        assert httpx.post(f"{made.url}/v2/models/digits/infer", content=b"{").status_code == 400
    assert {answer.request_id for answer in made.observer.answers} == {answer.json()["id"] for answer in answers}
    assert made.observer.answers[0].inputs.tolist() == [[1, 2, 3, 4]]
    assert made.observer.refusals == [("digits", "invalid request")]
    assert made.observer.missed == 0


def test_a_worker_follows_the_ledger_by_itself(home):
    settings, scene = home
    with crew(settings) as made, httpx.Client() as client:
        assert mark(made.infer(client)) == 1
        scene.release()
        until(lambda: mark(made.infer(client)) == 2, "the second release")


def test_a_killed_worker_takes_nothing_along_but_what_it_was_doing(home):
    with crew(home[0], 2) as made:
        with Load(made.url) as load:
            load.more()
            victim = made.workers.pids[0]
            os.kill(victim, signal.SIGKILL)
            until(lambda: len(set(made.workers.pids) - {victim}) == 2, "another worker")
            load.more()
        fleet = made.workers.fleet
        assert fleet.restarts == 1
        assert len(load.failures) <= 4  # a request of each client
        assert not [failure for failure in load.failures if "AssertionError" in failure]
    assert len(made.observer.answers) + made.observer.missed >= len(load.answers)


def test_a_worker_that_does_not_move_is_replaced(home, monkeypatch):
    monkeypatch.setattr("pruneguard.serving.workers.WEDGED_LOOKS", 4)
    with crew(home[0]) as made:
        stuck = made.workers.pids[0]
        os.kill(stuck, signal.SIGSTOP)
        until(lambda: made.workers.pids not in ([], [stuck]), "another worker")
        assert mark(made.infer()) == 1


def test_a_rolling_restart_under_load_fails_no_request(home):
    with crew(home[0], 2) as made:
        before = set(made.workers.pids)
        with Load(made.url) as load:
            load.more()
            assert made.workers.roll()
            load.more()
        assert not before & set(made.workers.pids)
        assert load.failures == []
        assert made.workers.fleet.requests_lost == 0
    assert len(made.observer.answers) == len(load.answers)


def test_a_restart_whose_new_worker_does_not_start_leaves_the_old_ones(home, capfd):
    settings, _ = home
    with crew(settings) as made:
        before = made.workers.pids
        made.workers._environ = settings.environ | {"PRUNEGUARD_WORKERS": "many"}
        assert made.workers.roll() is False
        assert made.workers.pids == before
        assert mark(made.infer()) == 1
    assert "PRUNEGUARD_WORKERS='many'" in capfd.readouterr().err


def test_a_worker_does_not_outlive_its_parent(home):
    with crew(home[0]) as made:
        worker = made.workers._places[0].worker
        worker.line.shutdown(2)  # as the end of a process does
        until(lambda: worker.ended, "its end")


def test_what_a_worker_relays_to_nobody_is_told_when_to_come_back(home):
    with crew(home[0]) as made:
        response = httpx.get(f"{made.url}/metrics")
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert "does not answer" in response.json()["error"]


def test_a_service_that_drains_says_so_first_and_answers_on(home):
    made_settings, _ = home
    with crew(made_settings) as made:
        stopping = threading.Thread(target=made.workers.stop, kwargs={"drain_s": 2.0})
        with httpx.Client() as client:
            assert client.get(f"{made.url}/v2/health/ready").status_code == 200
            stopping.start()
            until(lambda: client.get(f"{made.url}/v2/health/ready").status_code == 503, "not ready")
            assert mark(made.infer(client)) == 1
        stopping.join()
