"""The monitor and a canary: what it counts, what it lets go on, what it stops, and what answers unheard."""

from dataclasses import replace
from pathlib import Path

import pytest

from pruneguard import releases
from pruneguard.comparison import Aspect, Comparison, Outcome, decide
from pruneguard.ledger.state import Release, Status
from pruneguard.policy import Canary, Step
from pruneguard.testing import people
from tests.monitors.service import MODEL, POLICY, Service, notify_only, rows

LADDER = replace(POLICY, canary=Canary((Step(0.25, 40), Step(0.5, 60)), alpha=0.05))


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return in_canary(Service(tmp_path, policy=LADDER))


def in_canary(service: Service) -> Service:
    """The dense model is live as release 1, its pruned one is release 2, at its first step."""
    service.approve(service.dense)
    service.watch.step()
    service.approve(service.pruned)
    service.watch.step()
    return service


def canary(service: Service) -> Release:
    return service.model.releases[2]


def traffic(service: Service, count: int, *, seconds: float = 0.001, live_seconds: float = 0.001) -> None:
    """So many requests to the canary, and three times as many to what is live, in turn."""
    for sent in range(1, count + 1):
        for number, taken, times in ((1, live_seconds, 3), (2, seconds, 1)):
            for _ in range(times):
                answer = service.answer(service.model.releases[number], rows(service.rng, 1))
                service.watch.answered(replace(answer, seconds=taken))
        if sent % 5 == 0 or sent == count:
            service.watch.step()


def test_a_canary_climbs_step_by_step_and_each_step_names_what_was_counted(service: Service) -> None:
    traffic(service, 40)
    assert (canary(service).status, canary(service).share) == (Status.CANARY, 0.5)
    traffic(service, 60)
    assert canary(service).status is Status.LIVE
    first, second = service.events("traffic.shifted")[2:]
    for event, share, requests in ((first, 0.25, 40), (second, 0.5, 60)):
        seen = Comparison.decode(service.artifacts.get(event.refs["comparison"]))
        assert (seen.share, seen.requests, seen.live) == (share, requests, 1) == (share, event.data["requests"], 1)
        assert decide(seen, LADDER.canary).outcome is Outcome.GO_ON
    assert [tally.blocks for tally in seen.tallies[Aspect.FAILED]] == [40, 60]


@pytest.mark.parametrize("policy", [LADDER, notify_only(LADDER)], ids=["rolls back", "notifies"])
def test_a_canary_that_cannot_answer_is_stopped_and_rolled_back_with_the_reason(tmp_path: Path, policy) -> None:
    service = in_canary(Service(tmp_path, policy=policy))
    for _ in range(20):
        for _ in range(3):
            service.watch.answered(service.answer(service.model.releases[1], rows(service.rng, 1)))
        service.watch.failed(MODEL, 2)
        service.watch.step()
    (alarm,), (back,) = service.model.alarms, service.events("release.rolled_back")
    assert (alarm.detector, alarm.cause, back.data["alarm"]) == ("canary", "failed", alarm.event)
    assert back.data["reason"].startswith("more failed answers beside version 1's")
    assert canary(service).status is Status.ROLLED_BACK
    (event,) = service.events("alarm.raised")
    seen = Comparison.decode(service.artifacts.get(event.refs["comparison"]))
    assert decide(seen, LADDER.canary).outcome is Outcome.STOP


def test_a_slow_canary_is_stopped(tmp_path: Path) -> None:
    patient = replace(LADDER, canary=replace(LADDER.canary, steps=(Step(0.25, 1_000),)))
    service = in_canary(Service(tmp_path, policy=patient))
    traffic(service, 40)
    assert canary(service).status is Status.CANARY
    traffic(service, 40, seconds=0.02)
    assert [alarm.cause for alarm in service.model.alarms] == ["slow"]
    assert canary(service).status is Status.ROLLED_BACK


def test_a_held_canary_stays_until_it_is_resumed(service: Service) -> None:
    otto = people()["otto"]
    releases.hold(service.ledger, model=MODEL, number=2, reason="a look", actor="otto", signer=otto)
    traffic(service, 60)
    assert canary(service).share == 0.25
    releases.resume(service.ledger, model=MODEL, number=None, reason="looked", actor="otto", signer=otto)
    service.watch.step()
    assert canary(service).share == 0.5


def test_another_monitor_goes_on_from_what_allowed_the_step(service: Service) -> None:
    traffic(service, 40)
    service.watch.finish()
    service.watch = service.new_watch()
    traffic(service, 60)
    seen = Comparison.decode(service.artifacts.get(service.events("traffic.shifted")[-1].refs["comparison"]))
    assert [tally.blocks for tally in seen.tallies[Aspect.FAILED]] == [40, 60]


def test_a_shadow_answers_copies_that_are_recorded_and_no_traffic(tmp_path: Path) -> None:
    service = Service(tmp_path, policy=LADDER)
    service.approve(service.dense)
    service.watch.step()
    shadow = service.approve(service.pruned)
    otto = people()["otto"]
    releases.hold(service.ledger, model=MODEL, number=2, reason="unheard first", actor="otto", signer=otto)
    releases.copy(service.ledger, model=MODEL, number=2, share=0.5, actor="otto", signer=otto)
    for sent in range(1, 401):
        answer = service.answer(service.model.releases[1], rows(service.rng, 1))
        service.watch.answered(replace(answer, request_id=f"r{sent}"))
        if sent % 20 == 0:
            service.watch.step()
    service.watch.finish()
    sealed = [event for event in service.events("batch.sealed") if event.data["number"] == shadow.number]
    assert 160 < sum(event.data["rows"] for event in sealed) < 240
    assert service.model.answering == {1: 1.0}
