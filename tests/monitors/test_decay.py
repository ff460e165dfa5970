"""The e-processes: exact, silent while the bound holds, and resumable to the last bit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors.decay import BETS, RESTART_EVERY, Fusion, RestartMixture
from pruneguard import canonical
from pruneguard.errors import InvalidInputError

SIGNALS = st.lists(st.floats(0, 2), max_size=60)


def detector(**changes) -> RestartMixture:
    return RestartMixture(**{"theta0": 0.05, "alpha": 0.01, **changes})


def first_alarm(process: RestartMixture, stream) -> int | None:
    """How many observations it took, the one that raised the alarm included."""
    return next((count for count, z in enumerate(stream, 1) if process.update(z)), None)


def by_definition(stream, *, theta0: float) -> float:
    """The e-value written as the sum over restarts that defines it; `RestartMixture` folds the same sum."""
    starts = range(0, len(stream), RESTART_EVERY)
    bets = [0.95 / theta0 / 2**k for k in range(BETS)]
    shares = [1 / math.log(b + math.e - 1) - 1 / math.log(b + math.e) for b in range(1, len(starts) + 1)]
    grown = [
        share * math.fsum(math.prod(1 + bet * (z - theta0) for z in stream[start:]) for bet in bets) / BETS
        for share, start in zip(shares, starts, strict=True)
    ]
    return math.fsum(grown) + 1 - math.fsum(shares)


@given(SIGNALS)
def test_the_value_is_the_mixture_over_restarts_that_the_paper_defines(stream):
    process = detector(alpha=1e-9, z_max=2.0)
    for z in stream:
        process.update(z)
    assert process.value == pytest.approx(by_definition(stream, theta0=0.05), rel=1e-9)


def test_the_alarm_comes_at_exactly_this_observation():
    """After 200 quiet observations every second row flips, where one in twenty may."""
    late = [0.0] * 200 + [0.0, 1.0] * 100
    assert first_alarm(detector(), late) == 216
    assert first_alarm(detector(), [0.0, 1.0] * 100) == 10


@pytest.mark.parametrize("stream", [[0.0] * 20_000, [0.05] * 20_000, [0.04, 0.06] * 10_000])
def test_it_stays_silent_on_streams_that_keep_the_bound(stream):
    assert first_alarm(detector(), stream) is None


def test_the_alarm_is_latched():
    process = detector()
    assert first_alarm(process, [1.0] * 50)
    for _ in range(2_000):
        process.update(0.0)
    assert process.alarmed
    assert process.value < 100


def test_at_the_bound_itself_false_alarms_are_rarer_than_alpha():
    """200 streams of 1,000 flips at exactly theta0, with ten times the usual alpha so that the bound bites."""
    streams = (np.random.default_rng(3).random((200, 1_000)) < 0.05).astype(float)
    alarms = sum(first_alarm(detector(alpha=0.1), stream.tolist()) is not None for stream in streams)
    assert 0 < alarms / len(streams) <= 0.1


def test_a_late_change_is_not_paid_for_by_a_long_quiet_past():
    def delay(quiet: int) -> int:
        rng = np.random.default_rng(1)
        process = detector()
        for z in rng.random(quiet) < 0.015:
            process.update(float(z))
        found = first_alarm(process, (float(z) for z in rng.random(1_000) < 0.2))
        assert found is not None
        return found

    assert delay(5_000) < 2.5 * delay(0)


@pytest.mark.parametrize("z", [-0.1, 1.1, math.nan, math.inf])
def test_an_observation_outside_the_signals_range_is_refused(z):
    process = detector()
    with pytest.raises(InvalidInputError, match=r"lies in 0\.\.1"):
        process.update(z)
    assert process.count == 0


@pytest.mark.parametrize(
    "changes", [{"theta0": 0.0}, {"theta0": 1.0}, {"theta0": math.nan}, {"alpha": 0.0}, {"alpha": 1.0}]
)
def test_a_bound_that_no_stream_could_break_is_refused(changes):
    with pytest.raises(InvalidInputError, match="expected theta0 between"):
        detector(**changes)


def test_wealth_stays_a_number_however_long_it_wins():
    process = detector()
    for _ in range(2_000):
        process.update(1.0)
    assert math.isfinite(process.log10)


@given(SIGNALS, SIGNALS)
def test_a_detector_resumed_from_its_document_goes_on_bit_for_bit(before, after):
    kept, stored = (
        Fusion({name: detector(z_max=2.0) for name in ("flips", "divergence")}, alpha=0.01) for _ in range(2)
    )
    for z in before:
        for fusion in (kept, stored):
            fusion.update({"flips": z, "divergence": z / 2})
    resumed = Fusion.from_document(canonical.decode(canonical.encode(stored.to_document())))
    for z in after:
        kept.update({"flips": z, "divergence": z / 2})
        resumed.update({"flips": z, "divergence": z / 2})
    assert resumed == kept


def test_a_fusion_is_the_mean_of_its_parts_at_the_same_alpha():
    fusion = Fusion({"flips": detector(), "divergence": detector()}, alpha=0.01)
    alone = detector()
    for z in (1.0, 1.0):
        fusion.update({"flips": z, "divergence": 0.0})
        alone.update(z)
    quiet = fusion.parts["divergence"].value
    assert fusion.value == pytest.approx((alone.value + quiet) / 2)
    while not fusion.update({"flips": 1.0, "divergence": 0.0}):
        assert fusion.value < 100
    assert fusion.value >= 100
