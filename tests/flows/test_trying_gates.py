"""The first step of a run: the gates are given bad evidence before they judge anything."""

from dataclasses import replace
from pathlib import Path

import pytest

from pruneguard import lifecycle
from pruneguard.audit.redecide import selftest_faults
from pruneguard.errors import IntegrityError
from pruneguard.ledger.events import Event
from pruneguard.lifecycle import Job
from tests.flows.test_lifecycle import Bench


@pytest.fixture
def job(tmp_path: Path) -> Job:
    bench = Bench(tmp_path)
    bench.adopt()
    return bench.begin()


def trial_of(job: Job) -> Event:
    return job.ledger.entry(job.ledger.state().self_tests[-1].index).event


def test_a_trial_is_recorded_once_however_often_the_run_is_taken_up(job: Job) -> None:
    first, second = lifecycle.try_gates(job), lifecycle.try_gates(job)
    (recorded,) = job.ledger.state().self_tests
    assert first == second
    assert (recorded.refused, recorded.of, recorded.policy) == (first.of, first.of, job.policy.digest)
    assert recorded.of >= 20


def test_a_trial_can_be_held_again_from_the_policy_alone(job: Job) -> None:
    lifecycle.try_gates(job)
    assert list(selftest_faults(trial_of(job), job.artifacts.get)) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [({"of": 7}, "recorded with of 7"), ({"refused": 0}, "recorded with refused 0")],
)
def test_a_trial_that_is_told_otherwise_is_found(job: Job, change: dict[str, int], why: str) -> None:
    lifecycle.try_gates(job)
    event = trial_of(job)
    told = replace(event, data={**event.data, **change})
    (found,) = selftest_faults(told, job.artifacts.get)
    assert why in found


def test_a_report_of_another_trial_is_found(job: Job) -> None:
    lifecycle.try_gates(job)
    event = trial_of(job)
    told = replace(event, refs={**event.refs, "report": job.artifacts.put(b"all is well")})
    (found,) = selftest_faults(told, job.artifacts.get)
    assert "is not what this policy's trial leads to" in found


def test_gates_that_let_bad_evidence_pass_stop_the_run_and_it_is_on_record(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = lifecycle.try_gates(job)
    bad = replace(sound, trials=(replace(sound.trials[0], refused=False), *sound.trials[1:]))
    monkeypatch.setattr(lifecycle, "self_test", lambda policy: bad)
    other = replace(job, run="tiny-2")
    job.ledger.record(
        Event("run.started", "ada", {"run": "tiny-2", "model": job.manifest.model}, {"manifest": job.policy.digest}),
        signer=job.signer,
    )
    with pytest.raises(IntegrityError, match="let evidence pass that was not measured"):
        lifecycle.try_gates(other)
    assert [test.refused == test.of for test in job.ledger.state().self_tests] == [True, False]


def test_the_end_of_a_run_says_what_it_cost(job: Job) -> None:
    lifecycle.finish(replace(job, watts_per_core=25), "nothing passed")
    last = job.ledger.entry(job.ledger.size - 1).event
    assert last.type == "run.finished"
    assert float(last.data["cpu_seconds"]) >= 0
    assert "25 W for a busy core assumed; not metered" in last.data["energy_basis"]
