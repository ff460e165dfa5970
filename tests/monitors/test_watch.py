"""The monitor at work, on a ledger in memory and real ONNX models, stepped by hand."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from monitors.drift import ColumnDrift, DriftReport
from monitors.inbox import Inbox
from monitors.records import DETECTOR
from monitors.watch import Pace, Watch
from pruneguard.artifacts import Artifacts
from pruneguard.canonical import digest
from pruneguard.errors import UnavailableError
from pruneguard.evidence import Evidence
from pruneguard.ledger.events import Event, utc
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.rules import MONITOR
from pruneguard.ledger.state import Status
from pruneguard.policy import Action
from tests.monitors.service import CLASSES, FEATURES, MODEL, POLICY, Service, notify_only, rows

WRONG = np.full((1, CLASSES), np.nan, np.float32)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


def released(service: Service, *, live: bool = True):
    """The dense model is live as release 1; the pruned one is release 2, live or in canary."""
    service.approve(service.dense)
    service.watch.step()
    second = service.approve(service.pruned)
    service.watch.step()
    if live:
        service.send(second, 60)
    return service.model.releases[2]


def test_the_first_release_goes_straight_to_live(service):
    service.approve(service.dense)
    service.watch.step()
    assert service.model.live.number == 1


def test_a_canary_goes_live_after_the_requests_its_policy_asks_for(service):
    release = released(service, live=False)
    assert (release.status, release.share) == (Status.CANARY, 0.1)
    service.send(release, 49)
    assert service.model.canary.number == 2
    service.send(release, 1)
    assert service.model.live.number == 2
    assert service.model.releases[1].status is Status.RETIRED


def test_a_healthy_stream_raises_no_alarm(service):
    service.send(released(service), 1_500)
    assert service.model.alarms == []
    assert service.model.live.number == 2
    assert service.metric('pruneguard_decay_alarm{model="tiny",version="2"}') == 0
    assert service.metric('pruneguard_twin_runs_total{model="tiny",version="2"}') == 156


def test_a_broken_artefact_is_rolled_back_for_its_alarm(service):
    release = released(service)
    service.send(release, 200)
    service.send(release, 400, broken=True)
    (alarm,) = service.model.alarms
    (back,) = service.events("release.rolled_back")
    assert (alarm.number, alarm.cause) == (2, "artefact")
    assert (back.actor, back.data["alarm"], back.data["to"]) == (MONITOR, alarm.event, 1)
    assert service.model.live.number == 1
    assert service.metric('pruneguard_decay_alarm{model="tiny",version="2"}') == 1


def test_a_canary_that_decays_never_goes_live(service):
    release = released(service, live=False)
    service.send(release, 300, broken=True)
    assert service.model.alarms[0].data["evidence"]["requests"] == 30
    assert service.model.releases[2].status is Status.ROLLED_BACK
    assert not service.model.releases[2].was_live
    assert service.model.live.number == 1


def test_a_policy_that_only_notifies_leaves_the_rollback_to_people(tmp_path):
    service = Service(tmp_path, policy=notify_only())
    service.send(released(service), 400, broken=True)
    assert [alarm.cause for alarm in service.model.alarms] == ["artefact"]
    assert service.model.live.number == 2
    assert service.events("release.rolled_back") == []


def test_inputs_that_moved_raise_the_alarm_and_roll_nothing_back(service):
    """The twin is as lost as the pruned model: both answer at random, near the middle of all centres."""
    release = released(service)
    for _ in range(600):
        inputs = service.rng.normal(scale=0.05, size=(1, FEATURES)).astype(np.float32)
        logits = service.rng.normal(scale=0.05, size=(1, CLASSES)).astype(np.float32)
        service.watch.answered(service.answer(release, inputs, logits=logits))
    while service.watch.step():
        pass
    assert [alarm.cause for alarm in service.model.alarms] == ["input"]
    assert service.model.live.number == 2


def test_windows_are_sealed_with_what_the_auditor_needs(service):
    release = released(service)
    service.send(release, 250)
    first = service.model.batches[0]
    assert (first["rows"], first["twin_runs"], first["flips"], first["dropped"]) == (100, 10, 0, 0)
    assert float(first["evalue"]) < float(first["threshold"]) == 100
    assert 0 < float(first["accuracy_lost_max"]) <= 1
    table = pq.read_table(io.BytesIO(service.artifacts.get(first["refs"]["batch"])))
    assert table.num_rows == 100
    assert sum(agrees is not None for agrees in table.column("agrees").to_pylist()) == 10
    assert [(batch["batch"], batch["rows"]) for batch in service.model.batches] == [(0, 100), (1, 100), (2, 100)]


def test_the_twin_itself_is_not_compared_but_its_windows_are_sealed(service):
    release = service.approve(service.dense)
    service.watch.step()
    service.send(release, 150)
    (batch,) = service.model.batches
    assert (batch["rows"], batch["twin_runs"]) == (100, 0)
    assert "evalue" not in batch
    assert "pruneguard_decay_evalue_log10{" not in service.watch.metrics()[0].decode()


def test_what_was_answered_before_the_end_is_sealed(service):
    release = released(service)
    service.send(release, 42)
    service.watch.finish()
    assert sum(batch["rows"] for batch in service.model.batches) == 60 + 42


def test_a_restarted_monitor_goes_on_where_the_last_window_left_off(service):
    release = released(service)
    service.send(release, 245)
    service.watch.finish()
    sealed = service.model.batches[-1]
    service.watch = service.new_watch()
    service.watch.step()
    log10 = service.metric('pruneguard_decay_evalue_log10{model="tiny",version="2"}')
    assert 10**log10 == pytest.approx(float(sealed["evalue"]), rel=1e-4)
    service.send(release, 100)
    assert service.model.batches[-1]["batch"] == sealed["batch"] + 1
    assert service.model.batches[-1]["answered"] == 60 + 245 + 100


def test_a_monitor_that_died_between_alarm_and_rollback_rolls_back_when_it_is_back(service):
    release = released(service)
    about = {"model": MODEL, "number": 2, "detector": DETECTOR, "cause": "artefact"}
    seen = {"evalue": "120", "threshold": "100", "requests": 400, "twin_runs": 40, "flips": 9}
    alarm = service.ledger.record(
        Event("alarm.raised", MONITOR, {**about, "evidence": seen}, {"model": release.digest})
    )
    service.watch = service.new_watch()
    service.watch.step()
    (back,) = service.events("release.rolled_back")
    assert back.data["alarm"] == alarm.event.id
    assert service.model.live.number == 1


def test_an_answer_that_finds_the_inbox_full_is_counted_and_recorded(tmp_path):
    service = Service(tmp_path)
    release = released(service)
    service.watch = service.new_watch(inbox=Inbox(answers_max=120))
    for _ in range(150):
        service.watch.answered(service.answer(release, rows(service.rng, 1)))
    while service.watch.step():
        pass
    service.watch.finish()
    assert service.metric("pruneguard_observations_dropped_total") == 30
    assert sum(batch["dropped"] for batch in service.model.batches) == 30


def test_a_twin_that_cannot_be_loaded_is_counted_and_stops_the_canary(service, caplog):
    release = released(service, live=False)
    service.artifacts.local_path(service.dense).unlink()
    service.send(release, 200)
    assert service.metric('pruneguard_twin_failures_total{model="tiny",version="2"}') == 20
    assert service.model.canary.number == 2
    assert caplog.text.count("the twin of ('tiny', 2)") == 2  # what is missing; then that it was missing a moment ago
    assert sum(batch["rows"] for batch in service.model.batches) == 200


def test_a_release_without_certified_bounds_is_not_waved_through(service, caplog):
    service.approve(service.dense)
    service.watch.step()
    release = service.approve(service.pruned, evidence=Evidence(service.pruned, service.dense, "sha256:", {}))
    service.watch.step()
    service.send(release, 200)
    assert service.model.canary.number == 2
    assert "no 'quality.flips'" in caplog.text
    assert service.metric("pruneguard_monitor_errors_total") == 1
    assert service.metric('pruneguard_twin_share{model="tiny",version="2"}') == 0.1


def test_a_window_whose_sealing_was_not_acknowledged_is_sealed_once(service, monkeypatch):
    """The ledger took the event, and the monitor did not hear of it; rows that came meanwhile are not lost."""
    release = released(service)
    record = Ledger.record

    def deaf(ledger: Ledger, event: Event) -> None:
        record(ledger, event)
        raise UnavailableError("the connection broke")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", deaf)
        service.send(release, 40)
        assert service.metric("pruneguard_monitor_errors_total") == 1
    service.send(release, 100)
    assert [(batch["batch"], batch["rows"]) for batch in service.model.batches] == [(0, 100), (1, 100)]
    windows = (pq.read_table(io.BytesIO(service.artifacts.get(b["refs"]["batch"]))) for b in service.model.batches)
    assert len({name for window in windows for name in window.column("input").to_pylist()}) == 200


def test_a_window_that_cannot_be_stored_is_kept_and_sealed_later(service, monkeypatch):
    release = released(service)

    def full(artifacts: Artifacts, content: bytes) -> str:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Artifacts, "put", full)
        service.send(release, 90)
    assert len(service.model.batches) == 0
    service.watch.step()
    assert [batch["rows"] for batch in service.model.batches] == [100]


def test_while_the_ledger_is_away_answers_are_still_counted_and_then_caught_up(service, monkeypatch):
    release = released(service)

    def away(ledger: Ledger) -> None:
        raise UnavailableError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "state", away)
        for _ in range(400):
            service.watch.answered(replace(service.answer(release, rows(service.rng, 1)), logits=WRONG))
        while service.watch.step():
            pass
        assert service.metric("pruneguard_monitor_errors_total") > 0
        assert service.metric('pruneguard_decay_alarm{model="tiny",version="2"}') == 1
    service.watch.step()
    assert service.model.live.number == 1


def test_answers_of_a_release_that_the_ledger_does_not_know_are_counted_as_lost(service):
    release = released(service)
    service.watch.answered(replace(service.answer(release, rows(service.rng, 1)), version=9))
    service.watch.step()
    assert service.metric("pruneguard_observations_dropped_total") == 1


def test_drift_is_reported_for_the_live_version_and_kept_as_evidence(tmp_path):
    service = Service(tmp_path, pace=Pace(window_rows=50, drift_every=2))
    column = ColumnDrift("x.0", "wasserstein", 0.7, 0.25)
    compared = []

    def draw(reference: bytes, current: bytes) -> DriftReport:
        compared.append((digest(reference), digest(current)))
        return DriftReport((column,), b"{}", b"<html>")

    service.watch = service.new_watch(draw_report=draw)
    release = released(service)
    service.send(release, 130)
    service.watch.finish()
    first, *_ = (batch["refs"]["batch"] for batch in service.model.batches)
    (event,) = service.events("drift.reported")
    assert (event.data["drifted"], event.data["columns"], event.data["names"]) == (1, 1, ["x.0"])
    assert compared == [(first, service.model.batches[2]["refs"]["batch"])]
    assert service.artifacts.get(event.refs["html"]) == b"<html>"
    assert service.artifacts.get(event.refs["report"]) == b"{}"


def test_the_thread_does_all_of_it_and_stops_when_told(service):
    release = released(service)
    service.watch = service.new_watch()
    with service.watch as watch:
        for _ in range(150):
            watch.answered(service.answer(release, rows(service.rng, 1)))
    assert sum(batch["rows"] for batch in service.model.batches) == 150


# -- waivers


def passes(monkeypatch: pytest.MonkeyPatch, *, days: float) -> None:
    """Time passes for the monitor."""
    then = utc(datetime.now(UTC) + timedelta(days=days))
    monkeypatch.setattr(Watch, "_now", lambda self: then)


def on_lapse(folder: Path, action: Action) -> Service:
    """The dense model is live as 1; the pruned one, which failed a rule that was waived, went live as 2."""
    service = Service(folder, policy=replace(POLICY, on_lapse=action))
    service.approve(service.dense)
    service.watch.step()
    service.watch.step()
    service.send(service.approve(service.pruned, waived=True), 60)
    assert service.model.live.number == 2
    return service


def test_a_lapsed_waiver_raises_one_alarm_and_people_decide(tmp_path, monkeypatch):
    service = on_lapse(tmp_path, Action.NOTIFY)
    passes(monkeypatch, days=29.9)
    service.watch.step()
    assert service.model.alarms == []
    passes(monkeypatch, days=30.1)
    for _ in range(3):
        service.watch.step()
    (alarm,) = service.model.alarms
    assert (alarm.number, alarm.detector, alarm.cause) == (2, "waiver", "waiver lapsed")
    assert service.model.live.number == 2


def test_a_lapsed_waiver_rolls_back_where_the_policy_says_so(tmp_path, monkeypatch):
    service = on_lapse(tmp_path, Action.ROLL_BACK)
    passes(monkeypatch, days=30.1)
    service.watch.step()
    service.watch.step()
    assert service.model.live.number == 1
    (back,) = service.events("release.rolled_back")
    assert back.data["alarm"] == service.model.alarms[0].event
    assert "waiver lapsed: any, taken on by grace until" in back.data["reason"]


def test_a_canary_whose_waiver_lapsed_goes_no_further(tmp_path, monkeypatch):
    service = Service(tmp_path)
    service.approve(service.dense)
    service.watch.step()
    second = service.approve(service.pruned, waived=True)
    service.watch.step()
    assert service.model.canary.number == 2
    passes(monkeypatch, days=30.1)
    service.send(second, 60)
    assert service.model.releases[2].status is Status.CANARY
    assert service.metric("pruneguard_monitor_errors_total") == 0


def test_decay_raises_its_own_alarm_after_that_of_a_waiver(tmp_path, monkeypatch):
    service = on_lapse(tmp_path, Action.NOTIFY)
    passes(monkeypatch, days=30.1)
    service.watch.step()
    service.send(service.model.live, 600, broken=True)
    assert [alarm.detector for alarm in service.model.alarms] == ["waiver", DETECTOR]
    assert service.model.live.number == 1
