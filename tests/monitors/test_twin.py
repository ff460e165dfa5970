"""The twin monitor: what is normal, when the alarm comes, and what it says is the cause."""

from dataclasses import replace

import numpy as np
import pytest

from monitors.sampling import Draw
from monitors.twin import HOLD, Baseline, Cause, Signals, TwinMonitor
from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.evidence import Estimate
from tests.monitors.service import evidence_of

BASELINE = Baseline(flips=0.05, divergence=0.03, uncertainty=0.07)
SURE, OTHER, UNSURE = (np.array(logits, np.float32) for logits in ([6, 0, 0], [0, 6, 0], [0.4, 0.2, 0]))


def monitor(share: float = 0.1) -> TwinMonitor[int]:
    return TwinMonitor.start(BASELINE, alpha=0.01, share=share, seed="s")


def feed(watched: TwinMonitor[int], count: int, *, pruned, dense) -> None:
    """Answer `count` rows; `pruned` and `dense` are logits, the same for every row."""
    for row in range(count):
        if (draw := watched.offer(row, margin=0.9)) is not None:
            watched.compare(draw, pruned=pruned, dense=dense)


def test_the_baseline_is_the_certified_bound_plus_the_tolerance():
    baseline = Baseline.from_evidence([evidence_of("a", "b")], subject="a", tolerance=0.01)
    assert baseline.flips == pytest.approx(0.04)
    assert baseline.divergence == pytest.approx(0.02)
    assert baseline.uncertainty == pytest.approx(1 - 0.96 + 0.02 + 0.01)


def test_evidence_about_another_model_is_no_baseline():
    with pytest.raises(InvalidInputError, match=r"no 'quality\.flips'"):
        Baseline.from_evidence([evidence_of("another", "b")], subject="a", tolerance=0.01)


def test_a_measurement_that_is_no_number_is_no_baseline():
    evidence = evidence_of("a", "b")
    unknown = {**evidence.measurements, "quality.divergence": Estimate(float("nan"))}
    with pytest.raises(InvalidInputError, match=r"no 'quality\.divergence'"):
        Baseline.from_evidence([replace(evidence, measurements=unknown)], subject="a", tolerance=0.01)


def test_a_certificate_so_wide_that_nothing_could_break_it_is_refused():
    with pytest.raises(InvalidInputError, match="more rows"):
        Baseline.from_evidence([evidence_of("a", "b", flips_high=0.995)], subject="a", tolerance=0.01)


def test_one_row_in_ten_is_answered_twice():
    watched = monitor()
    feed(watched, 995, pruned=SURE, dense=SURE)
    assert (watched.rows, watched.twin_runs, watched.flips) == (995, 99, 0)


def test_the_twin_having_been_silent_is_no_health():
    assert not monitor().healthy


@pytest.mark.parametrize(("pruned", "dense", "cause"), [(OTHER, SURE, Cause.ARTEFACT), (OTHER, UNSURE, Cause.INPUT)])
def test_a_sure_twin_blames_the_artefact_and_an_unsure_one_the_input(pruned, dense, cause):
    watched = monitor()
    feed(watched, 200, pruned=SURE, dense=SURE)
    assert watched.healthy
    while watched.alarm is None:
        feed(watched, 10, pruned=pruned, dense=dense)
    assert not watched.healthy
    assert watched.cause is None
    feed(watched, HOLD - 1, pruned=pruned, dense=dense)
    assert watched.cause is None
    feed(watched, 1, pruned=pruned, dense=dense)
    assert watched.cause is cause


def test_after_an_alarm_every_row_is_compared_until_the_cause_is_known():
    watched = monitor()
    feed(watched, 100, pruned=OTHER, dense=SURE)
    assert watched.alarm is not None
    assert watched.alarm.rows == 10 * watched.alarm.twin_runs
    feed(watched, HOLD, pruned=OTHER, dense=SURE)
    assert watched.cause is not None
    before = watched.twin_runs
    feed(watched, 100, pruned=OTHER, dense=SURE)
    assert watched.twin_runs == before + 10


def test_a_monitor_resumed_from_its_document_goes_on_as_if_never_stopped():
    kept, stored = monitor(), monitor()
    for watched in (kept, stored):
        feed(watched, 300, pruned=SURE, dense=SURE)
        feed(watched, 30, pruned=OTHER, dense=SURE)
    resumed: TwinMonitor[int] = TwinMonitor.from_document(canonical.decode(canonical.encode(stored.to_document())))
    assert resumed == kept
    for watched in (kept, resumed):
        feed(watched, 200, pruned=OTHER, dense=SURE)
    assert resumed.to_document() == kept.to_document()
    assert resumed.cause is Cause.ARTEFACT


def test_a_document_of_another_kind_is_refused():
    with pytest.raises(InvalidInputError, match="twin-monitor/v1"):
        TwinMonitor.from_document({"kind": "something/v1"})


def test_an_answer_that_is_no_number_counts_fully():
    watched = monitor(share=1.0)
    signals = watched.compare(Draw(0, 1.0, 1.0), pruned=np.full(3, np.nan, np.float32), dense=SURE)
    assert signals == Signals(flip=True, divergence=1.0, uncertainty=signals.uncertainty)
    assert signals.uncertainty < 0.01


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(InvalidInputError, match="twin share"):
        monitor(share)
