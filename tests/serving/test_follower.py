import threading

import pytest

from pruneguard.errors import UnavailableError
from pruneguard.serving import follower
from pruneguard.serving.follower import Follower
from pruneguard.serving.gateway import Gateway
from pruneguard.serving.observing import Reason
from tests.serving.scene import Recorder, Scene, call, gateway, infer, mark

SOON = 20.0
"""Far more than it takes: a test that fails is slow, one that passes is not."""


class Told(Recorder):
    """Sets an event at every refusal."""

    def __init__(self):
        super().__init__()
        self.heard = threading.Event()

    def refused(self, model, reason):
        super().refused(model, reason)
        self.heard.set()


class Flaky:
    """A ledger that can be made unreachable, and counts how often it was opened and closed."""

    def __init__(self, ledger):
        self.ledger, self.down = ledger, False
        self.opened = self.closed = 0
        self.read_again = threading.Event()

    def open(self):
        self.opened += 1
        return self

    def state(self):
        if self.down:
            raise UnavailableError("the ledger does not answer; start its database")
        self.read_again.set()
        return self.ledger.state()

    def wait_for_growth(self, size, timeout_s):
        if self.down:
            raise UnavailableError("the ledger does not answer; start its database")
        return self.ledger.wait_for_growth(size, timeout_s)

    def close(self):
        self.closed += 1


@pytest.fixture
def scene(tmp_path):
    scene = Scene(tmp_path)
    scene.release()
    return scene


def test_what_is_recorded_is_what_answers(scene):
    made = gateway(scene)
    with Follower(scene.ledger.reopen, made, interval_s=0.01) as following:
        scene.release()
        assert following.wait_for(scene.ledger.size, timeout_s=SOON)
        assert mark(infer(made)) == 2
        scene.roll_back()
        assert following.wait_for(scene.ledger.size, timeout_s=SOON)
        assert mark(infer(made)) == 1


def test_waiting_for_what_is_not_recorded_ends_with_a_no(scene):
    with Follower(scene.ledger.reopen, gateway(scene), interval_s=0.01) as following:
        assert not following.wait_for(scene.ledger.size + 1, timeout_s=0.05)


def test_while_the_ledger_is_away_the_last_versions_answer_and_it_is_told_once(scene):
    observer, flaky = Told(), Flaky(scene.ledger.reopen())
    made = gateway(scene, observer)
    with Follower(flaky.open, made, interval_s=0.001) as following:
        assert following.wait_for(scene.ledger.size, timeout_s=SOON)
        assert following.failure is None
        assert not following.cut_off
        flaky.down = True
        assert observer.heard.wait(SOON)
        assert following.cut_off
        before = following.proved_age_s
        assert mark(infer(made)) == 1
        scene.release()
        assert following.proved_age_s > before
        flaky.down = False
        assert following.wait_for(scene.ledger.size, timeout_s=SOON)
        assert following.failure is None
        assert mark(infer(made)) == 2
    assert observer.refusals == [("", Reason.LEDGER_UNREACHABLE)]
    assert flaky.opened == flaky.closed  # every hold was let go, also the ones that failed


def test_a_gateway_that_starts_cut_off_has_proved_nothing_and_serves_nothing(scene):
    observer, flaky = Told(), Flaky(scene.ledger.reopen())
    flaky.down = True
    made = Gateway(scene.artifacts, observer, threads=1, request_bytes_max=100_000)
    with Follower(flaky.open, made, interval_s=0.001) as following:
        assert observer.heard.wait(SOON)
        assert following.cut_off
        assert call(made, "GET", "/v2/health/ready").status_code == 503
        assert infer(made).status_code in (404, 503)


def test_a_version_that_is_not_admitted_answers_nothing_and_the_one_before_goes_on(scene):
    """Its verdict is gone from the store, though its file is there."""
    observer = Told()
    made = gateway(scene, observer)
    number = scene.release(share=0.0)
    verdict = scene.ledger.state().models["digits"].releases[number].verdict
    scene.artifacts.remove(verdict)
    scene.shift(number, 1.0)
    assert not made.follow(scene.ledger.state())
    assert mark(infer(made)) == 1
    assert observer.refusals == [("digits", Reason.NOT_ADMITTED)]


def test_a_ledger_that_cannot_be_opened_is_tried_again(scene):
    observer, flaky = Told(), Flaky(scene.ledger.reopen())
    down = [True]

    def opening():
        if down[0]:
            raise UnavailableError("the ledger is not there yet")
        return flaky.open()

    with Follower(opening, gateway(scene, observer), interval_s=0.001) as following:
        assert observer.heard.wait(SOON)
        assert "not there yet" in str(following.failure)
        down[0] = False
        assert following.wait_for(scene.ledger.size, timeout_s=SOON)


def test_a_ledger_that_went_back_is_not_followed(scene, tmp_path):
    observer = Told()
    made = gateway(scene, observer)
    flaky = Flaky(scene.ledger.reopen())
    with Follower(flaky.open, made, interval_s=0.001) as following:
        assert following.wait_for(scene.ledger.size, timeout_s=SOON)
        flaky.ledger = Scene(tmp_path / "another").ledger  # shorter, and without any release
        assert observer.heard.wait(SOON)
        assert "went back from" in str(following.failure)
        assert mark(infer(made)) == 1


def test_a_version_that_could_not_be_loaded_is_tried_again_without_a_new_entry(scene, monkeypatch):
    monkeypatch.setattr(follower, "RETRY_SECONDS", 0.01)
    content, observer = scene.path(1).read_bytes(), Told()
    scene.path(1).unlink()
    made = gateway(scene, observer)
    followed = threading.Event()
    follow = made.follow

    def follow_and_say(state):
        done = follow(state)
        if done:
            followed.set()
        return done

    monkeypatch.setattr(made, "follow", follow_and_say)
    with Follower(scene.ledger.reopen, made, interval_s=0.001):
        scene.artifacts.put(content)
        assert followed.wait(SOON)
    assert mark(infer(made)) == 1
