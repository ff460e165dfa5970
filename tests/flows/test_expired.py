"""Runs that were left lying: what they measured expires, in the verdict, for its auditor, and for the next begin."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from pruneguard import lifecycle
from pruneguard.audit.redecide import verdict_faults
from pruneguard.evidence import Evidence, PairedTable
from pruneguard.lifecycle import Job
from pruneguard.verdict import Outcome, Verdict
from tests.flows.test_lifecycle import Bench


class FortyDaysOn(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) + timedelta(days=40)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.policy = replace(made.policy, evidence_days_max=30)
    made.adopt()
    return made


def verdict_of_twin(job: Job, data: Evidence, *, step: str) -> Verdict:
    twin = lifecycle.train(job).contender
    measured = Evidence(
        twin.digest, twin.digest, data.subject, {"quality.paired": PairedTable(400, 0, 0, 0)}, {"split": "gate"}
    )
    return lifecycle.judged(job, twin, twin, data, split="gate", step=step, measure=lambda: measured)[1]


def test_what_was_admitted_forty_days_ago_is_no_evidence_now_nor_for_an_auditor_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = bench.begin()
    data = lifecycle.admit(job)
    assert verdict_of_twin(job, data, step="today").passed
    monkeypatch.setattr(lifecycle, "datetime", FortyDaysOn)
    late = verdict_of_twin(job, data, step="forty days later")
    assert {finding.rule: finding.outcome for finding in late.objections} == {"data.leakage": Outcome.NO_EVIDENCE}
    assert "40 days before (the policy allows 30)" in late.objections[0].observed
    monkeypatch.undo()
    for step in ("today", "forty days later"):  # decided again by the event's own time, whenever that is done
        event = lifecycle.done(job, step)
        assert event is not None
        assert list(verdict_faults(event, bench.artifacts.get)) == []
        other = replace(event, time=(datetime.now(UTC) + timedelta(days=80)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        assert list(verdict_faults(other, bench.artifacts.get)) != []


def test_a_run_whose_measurements_have_expired_is_not_taken_up_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lifecycle.admit(bench.begin())
    assert bench.begin().run == "tiny-1"
    monkeypatch.setattr(lifecycle, "datetime", FortyDaysOn)
    assert bench.begin().run == "tiny-2"
