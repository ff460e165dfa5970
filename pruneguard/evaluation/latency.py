"""How long an answer takes, as a ratio to the twin's in the same rounds: the machine's moods cancel out.

Time is the processor time of the thread that answers. With one thread that is the latency on a core of one's own;
wall clock time on a busy machine mostly measures who else was waiting.
"""

import time

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.estimates import exact
from pruneguard.evaluation.sessions import Session
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Floats

BATCHES = {"efficiency.latency_ratio": 1, "efficiency.latency_ratio_b64": 64}
SECONDS_MAX = 0.8
"""Time for one batch size, warm-up included; slow models take the few rounds that they need at least."""

ROUNDS_MIN, ROUNDS_MAX = 15, 200
_SAMPLE_S = 0.0005  # a shorter sample measures the clock
_RESAMPLES = 2000


def measure(pair: Pair, rows: Floats, *, name: str, seed: int) -> dict[str, Measurement]:
    """`efficiency.latency_ratio` (one row) or `efficiency.latency_ratio_b64`: below 1 the candidate is faster.

    Median over the twin's median, one thread; candidate and twin take turns, and turns at who goes first. The
    interval is a 95 % percentile bootstrap over rounds; `n` is the number of rounds. The twin itself is not timed.
    """
    if pair.same:
        return {name: exact(1.0, n=0)}
    taken = rounds(pair.candidate_session, pair.twin_session, _batch(rows, BATCHES[name]))
    return {name: ratio_of_medians(taken, seed=seed)}


def rounds(candidate: Session, twin: Session, batch: Floats) -> npt.NDArray[np.float64]:
    """Processor seconds per answer [rounds, 2], candidate first."""
    deadline = time.perf_counter() + SECONDS_MAX
    sessions = (candidate, twin)
    slowest = max(min(_seconds(session, batch, repeat=1) for _ in range(3)) for session in sessions)
    repeat = max(1, int(_SAMPLE_S / slowest))
    taken: list[tuple[float, float]] = []
    while len(taken) < ROUNDS_MAX and (len(taken) < ROUNDS_MIN or time.perf_counter() < deadline):
        order = (0, 1) if len(taken) % 2 else (1, 0)
        times = {side: _seconds(sessions[side], batch, repeat=repeat) for side in order}
        taken.append((times[0], times[1]))
    return np.array(taken)


def ratio_of_medians(taken: npt.NDArray[np.float64], *, seed: int) -> Estimate:
    """Candidate's median over the twin's, from seconds [rounds, 2]; rounds are resampled whole."""
    draws = np.random.default_rng(seed).integers(len(taken), size=(_RESAMPLES, len(taken)))
    medians = np.median(taken[draws], axis=1)
    low, high = np.quantile(medians[:, 0] / medians[:, 1], [0.025, 0.975])
    ours, theirs = np.median(taken, axis=0)
    return Estimate(float(ours / theirs), float(low), float(high), len(taken))


def _batch(rows: Floats, size: int) -> Floats:
    """`size` rows, repeated from the start where there are fewer."""
    return np.ascontiguousarray(rows[np.arange(size) % len(rows)])


def _seconds(session: Session, batch: Floats, *, repeat: int) -> float:
    start = time.thread_time()
    for _ in range(repeat):
        session.run(batch)
    return (time.thread_time() - start) / repeat
