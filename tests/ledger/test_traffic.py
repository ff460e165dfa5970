"""What answers: shares step by step, a hold, the kill switch, copies. Both folds are asked about every log."""

from collections.abc import Iterator

import pytest

from pruneguard.audit.standalone import verify as standalone
from pruneguard.ledger.state import Status
from tests.ledger.making import SLIM, STUMP, TWIN, Log, later, says, started

STEPS = [
    {"share": "0.05", "requests_min": 100, "seconds_min": 90},
    {"share": "0.25", "requests_min": 500, "seconds_min": 0},
]


@pytest.fixture
def log() -> Iterator[Log]:
    """Version 1 is live, version 2 approved; at the end the second fold has seen every act as the first did."""
    log = started(steps=STEPS)
    log.release(TWIN, 1)
    approved(log, SLIM, 2)
    yield log
    second, violating = standalone.Fold(), {index for index, _ in log.state.violations}
    for position, raw in enumerate(log.entries):
        assert any(second.take(standalone.parse_entry(raw))) is (position in violating), position
    model = log.state.models["digits"]
    serving = {number: share for number, share in model.shares.items() if share}
    assert {number: float(share) for number, share in second.history[-1][3]} == serving == model.answering


def approved(log: Log, candidate: str, number: int) -> None:
    assert not log.judge(candidate, f"v{number}")
    assert not log.propose(candidate, f"v{number}", number)
    assert not log.approve(candidate, number)


def live_after_canary(log: Log) -> None:
    assert not log.shift(SLIM, 2, "0.05")
    log.waits(minutes=1)
    assert not log.shift(SLIM, 2, "0.25")
    assert not log.shift(SLIM, 2, requests=500)


# -- steps


@pytest.mark.parametrize("by", ["monitor", "otto"])
@pytest.mark.parametrize("share", ["0.25", "0.1", "1"])
def test_nobody_leaves_out_a_step(log: Log, share: str, by: str) -> None:
    assert says(log.shift(SLIM, 2, share, by=by), f"go on from 0 of the traffic to 0.05, not to {share}")


def test_a_release_climbs_to_everything_and_no_further(log: Log) -> None:
    live_after_canary(log)
    assert log.statuses == {1: Status.RETIRED, 2: Status.LIVE}
    assert says(log.shift(SLIM, 2), "release 2 is live")


def test_a_step_takes_its_time_whoever_asks(log: Log) -> None:
    log.shift(SLIM, 2, "0.05")
    for by in ("monitor", "otto"):
        assert says(log.shift(SLIM, 2, "0.25", by=by, time=log.state.clock), "for 0 of 90 s")
    log.waits(seconds=90)
    assert not log.shift(SLIM, 2, "0.25", by="otto")


def test_a_clock_set_back_shortens_no_step(log: Log) -> None:
    log.shift(SLIM, 2, "0.05", time="2026-01-05T08:00:00.000000Z")
    assert says(log.shift(SLIM, 2, "0.25", time=later(log.state.clock, seconds=60)), "for 60 of 90 s")


def test_a_monitor_goes_on_for_what_it_counted_and_an_operator_in_their_own_name(log: Log) -> None:
    log.shift(SLIM, 2, "0.05")
    log.waits(minutes=2)
    assert says(log.shift(SLIM, 2, "0.25", requests=99), "99 of 100 requests")
    assert says(log.shift(SLIM, 2, "0.25", requests=None), "names the comparison and the requests")
    assert not log.shift(SLIM, 2, "0.25", by="otto")


def test_a_smaller_share_is_always_open(log: Log) -> None:
    log.shift(SLIM, 2, "0.05")
    log.waits(minutes=2)
    log.shift(SLIM, 2, "0.25")
    assert not log.shift(SLIM, 2, "0.05", by="otto")
    assert says(log.shift(SLIM, 2, "0.05", by="otto"), "go on from 0.05 of the traffic to 0.25, not to 0.05")


# -- what a canary is stopped for


def test_a_monitor_stops_a_canary_for_what_it_compared_whatever_the_policy_says_of_decay() -> None:
    log = started(on_decay="notify")
    log.release(TWIN, 1)
    approved(log, SLIM, 2)
    log.shift(SLIM, 2, "0.1")
    told = {"model": "digits", "number": 2, "detector": "canary", "cause": "slow", "evidence": {}}
    assert says(log.alarm(SLIM, 2, detector="canary"), "names a comparison")
    assert not log.act("alarm.raised", "monitor", {"model": SLIM, "comparison": "counted"}, **told)
    alarm = log.state.models["digits"].alarms[-1].event
    assert not log.roll_back(SLIM, 2, to=1, by="monitor", alarm=alarm)


def test_only_a_canary_is_compared(log: Log) -> None:
    told = {"model": "digits", "number": 2, "detector": "canary", "cause": "slow", "evidence": {}}
    why = log.act("alarm.raised", "monitor", {"model": SLIM, "comparison": "counted"}, **told)
    assert says(why, "release 2 is approved; only a canary is compared")


def test_a_comparison_is_no_reason_once_the_canary_is_live(log: Log) -> None:
    log.shift(SLIM, 2, "0.05")
    told = {"model": "digits", "number": 2, "detector": "canary", "cause": "slow", "evidence": {}}
    log.act("alarm.raised", "monitor", {"model": SLIM, "comparison": "counted"}, **told)
    alarm = log.state.models["digits"].alarms[-1].event
    log.waits(minutes=2)
    log.shift(SLIM, 2, "0.25")
    log.shift(SLIM, 2, requests=500)
    assert says(log.roll_back(SLIM, 2, to=1, by="monitor", alarm=alarm), "is none any more")


# -- hold


def test_nobody_gives_a_held_canary_another_share(log: Log) -> None:
    log.shift(SLIM, 2, "0.05")
    log.waits(minutes=2)
    assert not log.on("release.held", SLIM, 2)
    for by in ("monitor", "otto"):
        assert says(log.shift(SLIM, 2, "0.25", by=by), "release 2 is held by 'otto': why; resume it first")
    assert not log.on("release.resumed", SLIM, 2)
    assert not log.shift(SLIM, 2, "0.25")


def test_a_hold_keeps_a_release_out_of_traffic_and_never_in_it(log: Log) -> None:
    assert not log.on("release.held", SLIM, 2)
    assert says(log.shift(SLIM, 2, "0.05"), "is held")
    log.on("release.resumed", SLIM, 2)
    log.shift(SLIM, 2, "0.05")
    log.on("release.held", SLIM, 2)
    assert not log.roll_back(SLIM, 2, to=1)
    assert log.state.models["digits"].releases[2].held is None


def test_a_hold_is_an_operators_and_stands_once(log: Log) -> None:
    assert says(log.on("release.held", SLIM, 2, by="grace"), "'grace' is not an operator")
    assert says(log.on("release.resumed", SLIM, 2), "not held")
    assert says(log.on("release.held", TWIN, 1), "release 1 is live; only what is on its way")
    assert not log.on("release.held", SLIM, 2, clicked=True)
    assert says(log.on("release.held", SLIM, 2), "is held by 'otto' already")


# -- the kill switch


def test_traffic_is_diverted_to_what_was_live_until_it_is_restored(log: Log) -> None:
    live_after_canary(log)
    approved(log, STUMP, 3)
    log.shift(STUMP, 3, "0.05")
    model = log.state.models["digits"]
    assert not log.divert(TWIN, 1)
    assert model.answering == {1: 1.0}
    assert [a.release.number for a in model.standing(log.state.clock)] == [1]
    log.waits(minutes=2)
    assert says(log.shift(STUMP, 3, "0.25"), "is diverted by 'otto'; restore it first")
    assert not log.restore()
    assert model.answering == {2: 1.0, 3: 0.05}
    assert [a.release.number for a in model.standing(log.state.clock)] == [2, 3]


def test_a_kill_leaves_nothing_that_answers(log: Log) -> None:
    assert not log.divert()
    assert log.state.models["digits"].answering == {}
    assert log.state.models["digits"].standing(log.state.clock) == ()
    assert says(log.divert(), "is diverted so already")
    assert not log.divert(TWIN, 1)  # to something after all
    assert not log.restore()
    assert says(log.restore(), "is not diverted")


def test_traffic_is_diverted_to_nothing_that_was_never_live_or_was_rolled_back(log: Log) -> None:
    assert says(log.divert(SLIM, 2), "release 2 is approved")
    assert says(log.divert(TWIN, 2), "no release 2 of 'digits' with that digest")
    assert says(log.divert(TWIN), "it names a model's digest, and no release")
    live_after_canary(log)
    log.roll_back(SLIM, 2, to=1)
    assert says(log.divert(SLIM, 2), "release 2 is rolled back")


def test_a_model_without_traffic_is_not_diverted() -> None:
    log = started()
    approved(log, TWIN, 1)
    assert says(log.divert(), "no release of 'digits' takes traffic")


def test_what_is_rolled_back_answers_no_diverted_traffic_either(log: Log) -> None:
    live_after_canary(log)
    log.divert(SLIM, 2)
    log.roll_back(SLIM, 2, to=1)
    assert log.state.models["digits"].answering == {1: 1.0}
    assert not log.restore()


def test_the_kill_switch_is_an_operators(log: Log) -> None:
    assert says(log.divert(by="grace"), "'grace' is not an operator")
    assert says(log.divert(by="monitor"), "'monitor' is not an operator")


def test_a_kill_by_a_click_counts_where_the_policy_takes_clicks(log: Log) -> None:
    assert not log.divert(clicked=True)
    strict = started(server_attested=False)
    strict.release(TWIN, 1)
    assert says(strict.divert(clicked=True), "takes no server-attested act")


# -- copies


def test_an_approved_release_answers_copies_until_it_takes_traffic_itself(log: Log) -> None:
    assert not log.on("traffic.copied", SLIM, 2, by="monitor", share="0.2")
    release = log.state.models["digits"].releases[2]
    assert (release.shadow, log.state.models["digits"].answering) == (0.2, {1: 1.0})
    log.shift(SLIM, 2, "0.05")
    assert release.shadow == 0


def test_copies_go_to_one_release_at_a_time(log: Log) -> None:
    approved(log, STUMP, 3)
    log.on("traffic.copied", SLIM, 2, share="1")
    assert says(log.on("traffic.copied", STUMP, 3, share="0.1"), "release 2 answers copies; end that first")
    assert not log.on("traffic.copied", SLIM, 2, share=None)
    assert says(log.on("traffic.copied", SLIM, 2, share=None), "answers no copies")
    assert not log.on("traffic.copied", STUMP, 3, share="0.1")


def test_nothing_that_was_not_approved_answers_copies(log: Log) -> None:
    log.judge(STUMP, "v3")
    log.propose(STUMP, "v3", 3)
    assert says(log.on("traffic.copied", STUMP, 3, share="0.1"), "release 3 is proposed")
    assert says(log.on("traffic.copied", TWIN, 1, share="0.1"), "release 1 is live")
