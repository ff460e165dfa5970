import pytest

from pruneguard.serving.routing import Route, Target, describe, routes, takes_canary
from tests.serving.scene import Scene


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
