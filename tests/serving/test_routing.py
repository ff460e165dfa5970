import pytest

from pruneguard import releases
from pruneguard.serving.routing import Route, Target, describe, routes, takes_canary, takes_copy
from pruneguard.testing import people
from tests.serving.scene import Scene, call, error, gateway, infer, mark


def numbers(scene):
    route = routes(scene.ledger.state())["digits"]
    return tuple(target and target.number for target in (route.live, route.canary, route.fallback))


def test_a_model_without_traffic_has_no_route(tmp_path):
    assert routes(Scene(tmp_path).ledger.state()) == {}


def test_live_canary_and_fallback_follow_the_releases(tmp_path):
    scene = Scene(tmp_path)
    scene.release()
    assert numbers(scene) == (1, None, None)
    scene.release(share=0.25)
    assert numbers(scene) == (1, 2, None)
    assert routes(scene.ledger.state())["digits"].share == 0.25
    scene.shift(2, 1)
    assert numbers(scene) == (2, None, 1)


def test_a_rollback_sends_everything_back_and_keeps_nothing_of_what_failed(tmp_path):
    scene = Scene(tmp_path)
    scene.release()
    scene.release()
    scene.roll_back()
    assert numbers(scene) == (1, None, None)


def test_a_rolled_back_canary_leaves_the_live_version_alone(tmp_path):
    scene = Scene(tmp_path)
    scene.release()
    scene.release(share=0.5)
    scene.roll_back()
    assert numbers(scene) == (1, None, None)


def test_a_target_names_the_bytes_that_were_judged(tmp_path):
    scene = Scene(tmp_path)
    scene.release()
    release = scene.ledger.state().models["digits"].releases[1]
    assert routes(scene.ledger.state())["digits"].live == Target(1, release.digest)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_a_canary_takes_its_share_of_the_keys(share):
    n = 20_000
    taken = sum(takes_canary(f"key {i}", model="digits", number=2, share=share) for i in range(n))
    # Hashes are fixed, so this is no lottery: five standard deviations only say how good a hash must be.
    assert abs(taken - n * share) < 5 * (n * share * (1 - share)) ** 0.5


def test_a_key_that_is_in_stays_in_while_the_share_grows():
    keys = [f"key {i}" for i in range(2_000)]
    small, large = ({k for k in keys if takes_canary(k, model="m", number=2, share=s)} for s in (0.1, 0.5))
    assert small < large


def test_every_canary_draws_its_own_keys():
    keys = [f"key {i}" for i in range(2_000)]
    second, third = ({k for k in keys if takes_canary(k, model="m", number=n, share=0.1)} for n in (2, 3))
    assert len(second & third) < 0.2 * len(second)


def test_a_route_says_what_can_be_asked_for():
    route = Route(Target(2, "b"), Target(3, "c"), 0.125, Target(1, "a"))
    assert describe(route) == {2: "live", 3: "canary 12.5 %", 1: "fallback"}


def divert(scene, **how):
    otto = people()["otto"]
    releases.divert(scene.ledger, model="digits", reason="it is wrong", actor="otto", signer=otto, **how)


def test_diverted_traffic_goes_to_one_version_and_nobody_can_ask_for_another(tmp_path):
    scene = Scene(tmp_path)
    scene.release()
    scene.release()
    scene.release(share=0.25)
    divert(scene, to=1)
    route = routes(scene.ledger.state())["digits"]
    assert numbers(scene) == (1, None, None)
    assert describe(route) == {1: "diverted by otto: it is wrong"}
    made = gateway(scene)
    assert mark(infer(made)) == 1
    assert "is not served" in error(infer(made, version=2), 404)
    releases.restore(scene.ledger, model="digits", reason="mended", actor="otto", signer=people()["otto"])
    assert numbers(scene) == (2, 3, 1)


def test_a_killed_model_answers_nothing_and_says_why(tmp_path):
    scene = Scene(tmp_path)
    scene.release()
    scene.release()
    made = gateway(scene)
    divert(scene, nothing=True)
    made.follow(scene.ledger.state())
    assert "nothing is live" in error(infer(made), 503)
    assert "diverted by otto: it is wrong" in error(infer(made), 503)
    assert error(infer(made, version=1), 404)
    assert call(made, "GET", "/v2/health/ready").status_code == 503


def test_what_traffic_was_taken_away_from_does_not_answer_because_its_stand_in_is_gone(tmp_path):
    scene = Scene(tmp_path)
    scene.release()
    scene.release()
    scene.release()
    scene.path(1).unlink()
    made = gateway(scene)
    divert(scene, to=1)
    assert not made.follow(scene.ledger.state())
    assert "diverted by otto" in error(infer(made), 503)


def test_without_a_choice_traffic_goes_to_the_release_of_the_twin_or_to_what_was_live_before(tmp_path):
    scene = Scene(tmp_path)
    for _ in range(3):
        scene.release()
    model = scene.ledger.state().models["digits"]
    assert releases.stand_in(model).number == 2
    model.releases[3].twin = model.releases[1].digest
    assert releases.stand_in(model).number == 1


def test_a_shadow_draws_its_own_requests():
    keys = [f"key {i}" for i in range(2_000)]
    copied = {k for k in keys if takes_copy(k, model="m", number=3, share=0.1)}
    canary = {k for k in keys if takes_canary(k, model="m", number=3, share=0.1)}
    assert 150 < len(copied) < 250
    assert len(copied & canary) < 0.3 * len(copied)
