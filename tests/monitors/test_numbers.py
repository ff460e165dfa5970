"""Watching a model that answers with numbers: a flip is a move by more than the tolerance."""

import io
import math

import numpy as np
import pyarrow.parquet as pq
import pytest

from monitors.observations import Keeping, columns, encode, observe
from monitors.twin import HOLD, Baseline, Cause, Signals, TwinMonitor
from pruneguard.evaluation.evaluate import evaluate
from pruneguard.evaluation.marking import Marking
from pruneguard.serving.observing import Answer
from tests.evaluation.small import linear, numbers

NEAR = Marking(0.5)
SUM, NEARLY = linear([[1], [1], [1]]), linear([[1], [1], [0.99]])


def number(value):
    return np.array([value], np.float32)


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    """What a gate certified of a model that is hardly off."""
    measured = ("quality.flips",)
    evidence = evaluate(NEARLY, SUM, numbers(1000), split="gate", seed=0, wanted=measured, all_else=False)
    return Baseline.from_evidence([evidence], subject=NEARLY.digest, tolerance=0.05)


def feed(watched: TwinMonitor[int], count: int, *, pruned: float, dense: float) -> None:
    for row in range(count):
        if (draw := watched.offer(row, margin=math.nan)) is not None:
            watched.compare(draw, pruned=number(pruned), dense=number(dense))


def watching(baseline: Baseline) -> TwinMonitor[int]:
    return TwinMonitor.start(baseline, alpha=0.01, share=0.2, seed="s")


def test_a_row_flips_when_the_two_lie_further_apart_than_the_tolerance():
    at, beyond = (Signals.of(pruned=number(1), dense=number(other), marking=NEAR) for other in (1.5, 2.0))
    assert (at.flip, at.divergence) == (False, 0.5)
    assert (beyond.flip, beyond.divergence) == (True, pytest.approx(2 / 3))


def test_an_answer_that_is_no_number_differs_utterly():
    lost = Signals.of(pruned=number(np.nan), dense=number(1), marking=NEAR)
    assert (lost.flip, lost.divergence) == (True, 1.0)


def test_the_baseline_needs_no_calibration_and_knows_the_tolerance(baseline):
    assert baseline.marking == Marking(0.1)
    assert 0.05 < baseline.flips < 0.1
    assert baseline.uncertainty == 1


def test_a_model_as_it_was_certified_raises_no_alarm(baseline):
    watched = watching(baseline)
    feed(watched, 3000, pruned=1.0, dense=1.005)
    assert watched.healthy
    assert watched.flips == 0


def test_a_model_that_moved_raises_one_and_it_is_the_artefacts_fault(baseline):
    watched = watching(baseline)
    feed(watched, 500, pruned=1.0, dense=1.3)
    assert watched.alarm is not None
    feed(watched, 5 * HOLD, pruned=1.0, dense=1.3)
    assert watched.cause is Cause.ARTEFACT


def test_the_tolerance_is_sealed_with_the_monitor(baseline):
    watched = watching(baseline)
    feed(watched, 100, pruned=1.0, dense=1.05)
    again = TwinMonitor.from_document(watched.to_document())
    for each in (watched, again):
        feed(each, 400, pruned=1.0, dense=1.3)
    assert again.to_document() == watched.to_document()


def test_a_window_holds_the_number_that_was_answered_and_no_confidence():
    inputs, said = np.eye(3, dtype=np.float32), np.array([[1.5], [-2], [np.inf]], np.float32)
    answer = Answer("tiny", 1, "d", "request", inputs, said, 0.001, 5.0)
    rows = observe([answer], inputs=inputs, logits=said, keep=Keeping(b"k" * 32))
    window = encode(rows, model="tiny", number=3, batch=0)
    table = pq.read_table(io.BytesIO(window))
    np.testing.assert_array_equal(table.column("predicted").to_numpy(), [1.5, -2, np.nan])
    assert np.isnan(table.column("confidence").to_numpy()).all()
    assert set(columns(window)) == {"x.0", "x.1", "x.2", "predicted"}
