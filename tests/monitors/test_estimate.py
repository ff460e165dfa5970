"""The bound on the accuracy lost to pruning, from twin runs alone."""

import numpy as np
import pytest

from monitors.estimate import LossBound
from pruneguard import canonical


def fed(values) -> LossBound:
    bound = LossBound()
    for z in values:
        bound.update(float(z))
    return bound


def test_nothing_is_promised_before_the_twin_was_heard():
    assert LossBound().upper(alpha=0.01) == 1


def test_the_bound_lies_above_the_truth_at_every_moment():
    """200 streams whose rate doubles on the way; the bound is about the mean of the rates so far."""
    rng = np.random.default_rng(2)
    rates = np.repeat([0.05, 0.1], 300)
    truth = np.cumsum(rates) / np.arange(1, 601)
    broken = 0
    for _ in range(200):
        bound, uppers = LossBound(), []
        for z in rng.random(600) < rates:
            bound.update(float(z))
            uppers.append(bound.upper(alpha=0.1))
        broken += bool((np.array(uppers) < truth).any())
    assert broken / 200 <= 0.1


def test_more_twin_runs_make_the_bound_tighter():
    few, many = fed([0.0] * 100), fed([0.0] * 10_000)
    assert many.upper(alpha=0.01) < few.upper(alpha=0.01) / 50


def test_ten_thousand_runs_at_two_percent_leave_half_a_point_of_doubt():
    stream = np.random.default_rng(0).random(10_000) < 0.02
    assert fed(stream).upper(alpha=0.01) - stream.mean() == pytest.approx(0.007, abs=0.002)


def test_a_bound_resumed_from_its_document_is_the_same():
    bound = fed([0.0, 1.7, 0.3])
    assert LossBound.from_document(canonical.decode(canonical.encode(bound.to_document()))) == bound
