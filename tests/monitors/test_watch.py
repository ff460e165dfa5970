"""The monitor at work, on a ledger in memory and real ONNX models, stepped by hand."""

import io
import itertools
import struct
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from monitors.budget import Budget
from monitors.drift import ColumnDrift, DriftReport
from monitors.inbox import Inbox
from monitors.records import DETECTOR
from monitors.watch import Pace, Watch
from monitors.watched import Twin
from pruneguard import releases
from pruneguard.artifacts import Artifacts
from pruneguard.canonical import digest
from pruneguard.errors import UnavailableError
from pruneguard.evidence import Evidence
from pruneguard.ledger.events import Event, utc
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.rules import MONITOR
from pruneguard.ledger.state import Status
from pruneguard.policy import Action, Monitoring
from pruneguard.serving.labelstore import Label, Labels
from pruneguard.testing import people
from tests.monitors.service import CLASSES, FEATURES, MODEL, POLICY, Service, notify_only, rows
from tests.monitors.test_observations import every_byte

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
    service = Service(tmp_path, pace=Pace(window_rows=50, window_least_s=0.0, drift_every=2, drift_s=0.0))
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


# -- who leaves the traffic


def test_answers_that_come_late_after_a_rollback_are_sealed_in_one_window(tmp_path):
    pace = Pace(window_rows=100, window_least_s=0.0, drift_every=0, linger_s=3600)
    service = Service(tmp_path, pace=pace)
    release = released(service)
    service.send(release, 45)
    releases.roll_back(service.ledger, model=MODEL, reason="worse", actor="otto", signer=people()["otto"])
    for _ in range(5):
        service.send(release, 2)
    before = len(service.model.batches)
    assert before == 1
    service.watch.finish()
    assert [batch["rows"] for batch in service.model.batches][before:] == [15]


def test_a_release_that_left_and_is_quiet_is_sealed_and_forgotten(service):
    release = released(service)
    service.send(release, 45)
    releases.roll_back(service.ledger, model=MODEL, reason="worse", actor="otto", signer=people()["otto"])
    service.watch.step()
    assert sum(batch["rows"] for batch in service.model.batches if batch["number"] == 2) == 105
    assert 'pruneguard_twin_share{model="tiny",version="2"}' not in service.watch.metrics()[0].decode()


# -- what the twin may cost


def test_what_the_cap_skips_is_missing_for_a_reason_that_knows_nothing_of_the_twin(tmp_path, monkeypatch):
    """Two releases with the same traffic and budget: one agrees with its twin, one never. The same rows are skipped."""
    seen = []
    for broken in (False, True):
        allowed = itertools.cycle([True, False, False])
        monkeypatch.setattr(Twin, "affordable", lambda self, allowed=allowed: next(allowed))
        service = Service(tmp_path / str(broken), policy=replace(notify_only(), monitoring=Monitoring(0.1, 0.01, 0.9)))
        release = released(service)
        service.send(release, 540, broken=broken)
        service.watch.finish()
        windows = [service.artifacts.get(b["refs"]["batch"]) for b in service.model.batches if b["number"] == 2]
        rows = [row for window in windows for row in pq.read_table(io.BytesIO(window)).to_pylist()]
        seen.append([row["probability"] is not None for row in rows])
        skipped = sum(batch["twin_skipped"] for batch in service.model.batches)
        assert skipped == service.metric('pruneguard_twin_skipped_total{model="tiny",version="2"}') == 40
        assert sum(seen[-1]) == service.metric('pruneguard_twin_runs_total{model="tiny",version="2"}') == 20
    assert seen[0] == seen[1]


def test_a_twin_that_costs_too_much_is_asked_less_and_answers_are_not_held_up(tmp_path, monkeypatch):
    monkeypatch.setattr(Budget, "spending", lambda self: closing_with(lambda: self.spend(100.0)))
    service = Service(tmp_path)
    release = released(service)
    service.send(release, 300)
    assert service.metric('pruneguard_twin_runs_total{model="tiny",version="2"}') == 1
    assert service.metric('pruneguard_twin_skipped_total{model="tiny",version="2"}') == 35
    assert service.metric('pruneguard_twin_seconds_count{model="tiny",version="2"}') == 1


def closing_with(act):
    stack = ExitStack()
    stack.callback(act)
    return stack


# -- what dies with a process


def test_what_a_killed_monitor_had_not_sealed_is_counted_by_the_next_one(tmp_path):
    service = Service(tmp_path)
    service.watch = service.new_watch(folder=tmp_path / "observations")
    release = released(service)
    service.send(release, 85)  # 60 and these: one window of 100, and 45 rows open
    for _ in range(7):
        service.watch.answered(service.answer(release, rows(service.rng, 1)))
    service.watch = service.new_watch(folder=tmp_path / "observations")
    service.send(release, 30)
    assert service.metric("pruneguard_observations_dropped_total") == 45 + 7
    service.watch.finish()
    last = service.model.batches[-1]
    assert (last["rows"], last["dropped"], last["accounted"]) == (30, 52, 60 + 85 + 7 + 30)
    service.watch = service.new_watch(folder=tmp_path / "observations")
    service.send(release, 1)
    assert service.metric("pruneguard_observations_dropped_total") == 0


def test_a_segment_that_was_stored_and_never_recorded_is_removed_by_the_next_monitor(tmp_path, monkeypatch):
    service = Service(tmp_path)
    service.watch = service.new_watch(folder=tmp_path / "observations")
    release = released(service)
    put, stored = Artifacts.put, []

    def killed(artifacts: Artifacts, content: bytes) -> str:
        stored.append(put(artifacts, content))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Artifacts, "put", killed)
        with pytest.raises(KeyboardInterrupt):
            service.send(release, 100)
    assert stored[0] in service.artifacts
    service.watch = service.new_watch(folder=tmp_path / "observations")
    service.watch.step()
    assert stored[0] not in service.artifacts


def test_a_window_that_was_stored_twice_leaves_one_file(service, monkeypatch):
    """The ledger refuses for a while; the window grows meanwhile, and its first file is named by nobody."""
    release = released(service)
    stored = set()
    put = Artifacts.put
    monkeypatch.setattr(Artifacts, "put", lambda self, content: stored.add(found := put(self, content)) or found)

    def away(ledger: Ledger, event: Event) -> None:
        raise UnavailableError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", away)
        service.send(release, 30)
        service.watch.finish()
    service.send(release, 5)
    service.watch.finish()
    (batch,) = service.model.batches
    windows = {digest for digest in stored if digest in service.artifacts}
    assert {d for d in windows if service.artifacts.get(d)[:4] == b"PAR1"} == {batch["refs"]["batch"]}
    assert len(stored) > len(windows)


KILLED = """
import sys
from pathlib import Path
from tests.monitors.service import Service, rows
from tests.monitors.test_watch import released
folder = Path(sys.argv[1])
service = Service(folder)
service.watch = service.new_watch(folder=folder / "observations")
release = released(service)
import os, signal, resource
service.send(release, 90)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
service.send(release, 300)
print(len(service.model.batches), service.metric("pruneguard_monitor_errors_total"))
"""


def test_a_full_disk_is_counted_and_holds_nothing_up(tmp_path, monkeypatch):
    """A process that may write no more: what cannot be sealed waits, up to a limit, and then counts as dropped."""
    code = "import monitors.watched; monitors.watched.ROWS_MAX = 200\n" + KILLED
    code += 'print(service.metric("pruneguard_observations_dropped_total"))\n'
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    first, dropped = done.stdout.splitlines()
    assert first.split()[0] == "1"
    assert float(first.split()[1]) > 0
    assert float(dropped) == 60 + 90 + 300 - 100 - 200


# -- labels


@pytest.fixture
def labelled(tmp_path):
    """A service with labels, two releases, and no alarm however much they differ."""
    service = Service(tmp_path, policy=replace(notify_only(), monitoring=Monitoring(0.1, 0.01, 0.9)))
    labels = Labels(tmp_path / "labels.sqlite")
    service.watch = service.new_watch(labels=labels)
    release = released(service)
    service.watch.finish()
    yield service, labels, release
    labels.close()


def answer_with_ids(service: Service, release, *, start: int, count: int) -> None:
    for number in range(start, start + count):
        answer = service.answer(release, rows(service.rng, 1))
        logits = np.array([[9, 0, 0]], np.float32)  # class 0, whatever was asked
        service.watch.answered(replace(answer, request_id=f"r-{number}", logits=logits, time=time.time()))
    while service.watch.step():
        pass


def sealed_labels(service: Service) -> list[dict]:
    named = [batch["refs"]["labels"] for batch in service.model.batches if "labels" in batch["refs"]]
    return [row for name in named for row in pq.read_table(io.BytesIO(service.artifacts.get(name))).to_pylist()]


def test_labels_are_sealed_with_the_next_window_of_the_release_that_answered(labelled):
    service, labels, release = labelled
    answer_with_ids(service, release, start=0, count=100)
    labels.add(MODEL, [Label("r-3", 0, time=5.0), Label("r-4", 2, time=6.0), Label("nobody", 1)])
    service.watch.step()
    service.watch.finish()
    newest = service.model.batches[-1]
    assert (newest["number"], newest["rows"], newest["labels"]) == (2, 0, 2)
    assert (newest["labelled"], newest["labelled_wrong"]) == (2, 1)
    first, second = sealed_labels(service)
    assert (first["request_id"], first["label"], first["predicted"], first["holds"]) == ("r-3", 0, 0, True)
    assert first["answered_in"] == second["answered_in"] == newest["batch"] - 1
    assert labels.counts(MODEL)["waiting"] == 1
    assert service.metric('pruneguard_labels_waiting{model="tiny"}') == 1
    assert service.metric('pruneguard_labels_total{model="tiny",outcome="accepted"}') == 3


def test_a_correction_is_sealed_beside_what_it_corrects_and_the_count_follows(labelled):
    service, labels, release = labelled
    answer_with_ids(service, release, start=0, count=100)
    for value, found_out in ((2, 5.0), (0, 6.0), (1, 4.0)):
        labels.add(MODEL, [Label("r-3", value, time=found_out)])
        service.watch.step()
        service.watch.finish()
    newest = service.model.batches[-1]
    assert (newest["labelled"], newest["labelled_wrong"]) == (1, 0)
    assert [(row["label"], row["holds"]) for row in sealed_labels(service)] == [(2, True), (0, True), (1, False)]


def test_labels_of_a_release_that_left_long_ago_are_sealed_as_its_own(labelled):
    service, labels, release = labelled
    answer_with_ids(service, release, start=0, count=100)
    releases.roll_back(service.ledger, model=MODEL, reason="worse", actor="otto", signer=people()["otto"])
    service.watch.step()
    labels.add(MODEL, [Label("r-3", 1)])
    service.watch.step()
    service.watch.finish()
    newest = service.model.batches[-1]
    assert (newest["number"], newest["rows"], newest["labels"], newest["labelled_wrong"]) == (2, 0, 1, 1)
    assert service.metric("pruneguard_monitor_errors_total") == 0


def test_no_label_is_sealed_twice_whenever_the_monitor_was_killed(labelled, monkeypatch):
    """The window stands in the ledger; the store of labels never heard of it."""
    service, labels, release = labelled
    answer_with_ids(service, release, start=0, count=100)
    labels.add(MODEL, [Label("r-3", 1)])
    service.watch.step()
    with monkeypatch.context() as patch:
        patch.setattr(Labels, "sealed", lambda self, sequences: (_ for _ in ()).throw(UnavailableError("away")))
        answer_with_ids(service, release, start=100, count=100)
    service.watch = service.new_watch(labels=labels)
    labels.add(MODEL, [Label("r-150", 0)])
    service.watch.step()
    service.watch.finish()
    assert [row["request_id"] for row in sealed_labels(service)] == ["r-3", "r-150"]
    assert service.model.batches[-1]["labelled"] == 2


def test_while_the_store_of_labels_is_away_windows_are_sealed_and_told_later(labelled, monkeypatch):
    service, labels, release = labelled
    with monkeypatch.context() as patch:
        patch.setattr(Labels, "enter", lambda self, *_: (_ for _ in ()).throw(UnavailableError("away")))
        answer_with_ids(service, release, start=0, count=250)
    assert [batch["rows"] for batch in service.model.batches if batch["rows"] == 100] == [100, 100]
    labels.add(MODEL, [Label("r-3", 0), Label("r-103", 0)])
    service.watch.step()
    service.watch.step()
    service.watch.finish()
    assert {row["request_id"] for row in sealed_labels(service)} == {"r-3", "r-103"}


# -- people


SECRET = 41_357.0625


def test_no_file_of_a_service_holds_a_value_of_a_personal_column(tmp_path):
    """Windows, labels, state, ledger: every byte is looked at, uncompressed where it is compressed."""
    service = Service(tmp_path / "artifacts", asked={"inputs": "values", "personal": [1]})
    labels = Labels(tmp_path / "labels.sqlite")
    service.watch = service.new_watch(labels=labels, folder=tmp_path / "observations")
    release = released(service)
    for _ in range(150):
        inputs = rows(service.rng, 1)
        inputs[0, 1] = SECRET
        answer = service.answer(release, inputs, logits=np.array([[9, 0, 0]], np.float32))
        service.watch.answered(replace(answer, time=time.time()))
    while service.watch.step():
        pass
    labels.add(MODEL, [Label("r", 1)])
    service.watch.step()
    service.watch.finish()
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    entries = service.ledger.raw(0, service.ledger.size)
    assert len([content for content in files if content[:4] == b"PAR1"]) >= 3
    for content in [*files, *entries]:
        seen = every_byte(content) if content[:4] == b"PAR1" else content
        for pattern in (struct.pack("<f", SECRET), struct.pack("<d", SECRET), b"41357.06"):
            assert pattern not in seen
    labels.close()


def test_a_run_whose_manifest_cannot_be_read_is_not_observed(tmp_path):
    """Nobody knows what may be written, so nothing is; and that is counted."""
    service = Service(tmp_path)
    release = released(service)
    manifest = service.ledger.state().runs["1"].manifest
    service.watch = service.new_watch()
    path = service.artifacts.local_path(manifest)
    path.write_bytes(b"{}")
    service.send(release, 5)
    assert service.metric("pruneguard_observations_dropped_total") == 5
    assert service.metric("pruneguard_monitor_errors_total") > 0
