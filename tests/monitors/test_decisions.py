"""What the monitor does next, as a table of cases."""

from dataclasses import replace

import pytest

from monitors.decisions import due_rollback, next_step, standing_alarms, stops
from pruneguard.comparison import Aspect, Judgement, Outcome
from pruneguard.ledger.state import Alarm, Diverted, Held, Model, Release, State, Status, Waiver
from pruneguard.policy import Action, Canary, Policy, Step
from tests.monitors.service import POLICY, notify_only


def release(number: int, status: Status, *, was_live: bool = False) -> Release:
    release = Release(number, "tiny", "d", "t", "v", "p", "ada", frozenset({"ada"}), status, "")
    release.live_at = number if was_live else None
    return release


def model(*releases: Release, alarms: tuple[Alarm, ...] = ()) -> Model:
    return Model("tiny", {r.number: r for r in releases}, alarms=list(alarms))


def alarm(number: int, cause: str = "artefact") -> Alarm:
    return Alarm(f"event-{number}", "tiny", number, "twin disagreement", cause, "", {})


LADDER = replace(POLICY, canary=Canary((Step(0.1, 200), Step(0.5, 500))))
GO_ON, WAIT, STOP = (Judgement(outcome, "why", Aspect.SLOW) for outcome in (Outcome.GO_ON, Outcome.WAIT, Outcome.STOP))


def step(number: int, of: Model, judged: Judgement | None = None) -> float | None:
    return next_step(of.releases[number], model=of, policy=LADDER, judged=judged)


def due(number: int, of: Model, policy: Policy = POLICY) -> Alarm | None:
    return due_rollback(of.releases[number], model=of, policy=policy)


LIVE, CANARY, APPROVED = Status.LIVE, Status.CANARY, Status.APPROVED


def test_an_approved_release_begins_as_a_canary():
    assert step(2, model(release(1, LIVE), release(2, APPROVED))) == 0.1


def test_the_first_release_has_nobody_to_be_compared_with():
    assert step(1, model(release(1, APPROVED))) == 1.0


def test_there_is_one_canary_at_a_time_and_older_releases_go_first():
    assert step(3, model(release(1, LIVE), release(2, CANARY), release(3, APPROVED))) is None
    assert step(3, model(release(1, LIVE), release(2, APPROVED), release(3, APPROVED))) is None


@pytest.mark.parametrize(("share", "following"), [(0.1, 0.5), (0.5, 1.0)])
def test_a_canary_takes_the_next_step_when_what_was_counted_lets_it(share, following):
    canary = replace(release(2, CANARY), share=share)
    assert step(2, model(release(1, LIVE), canary), GO_ON) == following
    for judged in (WAIT, STOP, None):
        assert step(2, model(release(1, LIVE), canary), judged) is None


def test_a_canary_beside_nothing_needs_no_more_steps():
    assert step(2, model(replace(release(2, CANARY), share=0.1)), GO_ON) == 1.0


@pytest.mark.parametrize("status", [Status.PROPOSED, Status.LIVE, Status.RETIRED, Status.ROLLED_BACK])
def test_nothing_else_moves(status):
    assert step(2, model(release(1, LIVE), release(2, status)), GO_ON) is None


def test_a_held_release_waits_and_lets_the_next_one_pass():
    held = replace(release(2, APPROVED), held=Held("otto", "a look", ""))
    assert step(2, model(release(1, LIVE), held)) is None
    assert step(3, model(release(1, LIVE), held, release(3, APPROVED))) == 0.1
    canary = replace(release(2, CANARY), share=0.1, held=Held("otto", "a look", ""))
    assert step(2, model(release(1, LIVE), canary), GO_ON) is None


def test_nothing_moves_while_the_traffic_is_diverted():
    killed = model(release(1, LIVE), release(2, APPROVED))
    killed.diverted = Diverted(None, "otto", "worse", "")
    assert step(2, killed) is None


def test_a_canary_is_stopped_once_and_then_rolled_back_whatever_its_policy_says_of_decay():
    canary = model(release(1, LIVE), release(2, CANARY))
    assert stops(canary.releases[2], model=canary, judged=STOP)
    assert not stops(canary.releases[2], model=canary, judged=WAIT)
    assert not stops(canary.releases[1], model=canary, judged=STOP)
    stopped = model(release(1, LIVE), release(2, CANARY), alarms=(replace(alarm(2, "slow"), detector="canary"),))
    assert not stops(stopped.releases[2], model=stopped, judged=STOP)
    assert due(2, stopped, notify_only()) is stopped.alarms[0]


def test_a_canary_that_went_live_is_not_rolled_back_for_what_it_was_compared_by():
    alarms = (replace(alarm(2, "slow"), detector="canary"),)
    live = model(release(1, Status.RETIRED, was_live=True), release(2, LIVE), alarms=alarms)
    assert due(2, live) is None


def test_an_alarm_about_the_artefact_takes_the_canary_or_the_live_version_out():
    canary = model(release(1, LIVE), release(2, CANARY), alarms=(alarm(2),))
    assert due(2, canary) == alarm(2)
    live = model(release(1, Status.RETIRED, was_live=True), release(2, LIVE), alarms=(alarm(2),))
    assert due(2, live) == alarm(2)


def test_a_bad_live_version_leaves_while_another_is_in_canary():
    both = model(release(1, Status.RETIRED, was_live=True), release(2, LIVE), release(3, CANARY), alarms=(alarm(2),))
    assert due(2, both) == alarm(2)
    assert due(3, both) is None


def test_a_moved_input_is_no_reason_to_roll_back():
    moved = model(release(1, LIVE), release(2, CANARY), alarms=(alarm(2, "input"),))
    assert due(2, moved) is None


def test_a_policy_that_wants_people_to_decide_is_obeyed():
    assert POLICY.on_decay is Action.ROLL_BACK
    assert due(2, model(release(1, LIVE), release(2, CANARY), alarms=(alarm(2),)), notify_only()) is None


def test_without_an_earlier_version_there_is_nowhere_to_go():
    assert due(1, model(release(1, LIVE), alarms=(alarm(1),))) is None


def test_an_alarm_about_a_version_that_has_left_is_done_with():
    after = model(release(1, LIVE), release(2, Status.ROLLED_BACK), release(3, CANARY), alarms=(alarm(2),))
    assert due(3, after) is None


def test_an_alarm_stands_until_a_newer_release_is_live():
    alarms = (alarm(2),)
    assert standing_alarms(State(), model(release(1, LIVE), release(2, Status.ROLLED_BACK), alarms=alarms)) == {2}
    assert standing_alarms(State(), model(release(3, LIVE), release(2, Status.ROLLED_BACK), alarms=alarms)) == set()


def test_a_waiver_rolls_back_while_it_is_lapsed_and_only_where_its_own_policy_says_so():
    waiver = Waiver("w", "tiny", "d", "speed", "v", "", "", "grace", "", "", "1/2", "2/2", 5)
    lapse = Alarm("event-2", "tiny", 2, "waiver", "waiver lapsed", "", {"waiver": "w"})
    live = model(release(1, Status.RETIRED, was_live=True), release(2, LIVE), alarms=(lapse,))
    rolling, telling = (replace(POLICY, on_lapse=action) for action in (Action.ROLL_BACK, Action.NOTIFY))
    assert due_rollback(live.releases[2], model=live, policy=rolling, lapsed=[waiver]) is lapse
    assert due_rollback(live.releases[2], model=live, policy=rolling) is None  # somebody extended it
    assert due_rollback(live.releases[2], model=live, policy=telling, lapsed=[waiver]) is None


def test_the_alarm_of_a_waiver_is_over_once_somebody_extends_it():
    waiver = Waiver("w", "tiny", "d", "speed", "v", "", "", "grace", "", "", "1/2", "2/2", 5)
    lapse = Alarm("event-2", "tiny", 2, "waiver", "waiver lapsed", "", {"waiver": "w"})
    live = model(release(2, LIVE), alarms=(lapse,))
    assert standing_alarms(State(waivers={("d", "speed"): waiver}), live) == {2}
    assert standing_alarms(State(waivers={("d", "speed"): replace(waiver, event="w2")}), live) == set()
