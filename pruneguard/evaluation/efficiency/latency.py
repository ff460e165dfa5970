"""How long an answer takes, as a ratio to the twin's in the same rounds: the machine's moods cancel out.

Time is the processor time of the thread that answers. With one thread that is the latency on a core of one's own;
wall clock time on a busy machine mostly measures who else was waiting.
"""

import time

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.estimates import exact, unknown
from pruneguard.evaluation.sessions import Session
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Floats

BATCHES = {
    "efficiency.latency_ratio": 1,
    "efficiency.latency_ratio_b8": 8,
    "efficiency.latency_ratio_b64": 64,
    "efficiency.latency_ratio_b256": 256,
}
SECONDS_MAX = 0.5
"""Time for the medians of one batch size, warm-up included; slow models take the few rounds that they need at least."""

TAIL_SHARE = 0.6
"""Time for the tails of one batch size, as a share of that."""

ROUNDS_MIN, ROUNDS_MAX = 15, 200
ANSWERS_MIN, ANSWERS_MAX = 150, 2000
"""Single answers of which the tail is taken. A model that is too slow for the fewest in its time has no p99."""

_SAMPLE_S = 0.0005  # a shorter sample measures the clock
_RESAMPLES = 2000


def measure(pair: Pair, rows: Floats, *, name: str, seed: int) -> dict[str, Measurement]:
    """One of BATCHES, and its `.p99`: below 1 the candidate is faster.

    Median over the twin's median, one thread; candidate and twin take turns, and turns at who goes first. The
    interval is a 95 % percentile bootstrap over rounds; `n` is the number of rounds. For the 99th percentile every
    answer is timed alone, which adds half a microsecond to both. The twin itself is not timed.
    """
    if pair.same:
        return {name: exact(1.0, n=0), f"{name}.p99": exact(1.0, n=0)}
    batch = batch_of(rows, BATCHES[name])
    taken = rounds(pair.candidate_session, pair.twin_session, batch)
    single = answers(pair.candidate_session, pair.twin_session, batch)
    return {name: ratio_of_medians(taken, seed=seed), f"{name}.p99": ratio_of_tails(single, seed=seed)}


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


def answers(candidate: Session, twin: Session, batch: Floats) -> npt.NDArray[np.float64]:
    """Processor seconds of single answers [answers, 2], candidate first, one pair at least, and what time allows."""
    deadline = time.perf_counter() + TAIL_SHARE * SECONDS_MAX
    sessions = (candidate, twin)
    taken: list[tuple[float, float]] = []
    while not taken or (len(taken) < ANSWERS_MAX and time.perf_counter() < deadline):
        order = (0, 1) if len(taken) % 2 else (1, 0)
        times = {side: _seconds(sessions[side], batch, repeat=1) for side in order}
        taken.append((times[0], times[1]))
    return np.array(taken)


def ratio_of_medians(taken: npt.NDArray[np.float64], *, seed: int) -> Estimate:
    """Candidate's median over the twin's, from seconds [rounds, 2]; rounds are resampled whole."""
    draws = np.random.default_rng(seed).integers(len(taken), size=(_RESAMPLES, len(taken)))
    medians = np.median(taken[draws], axis=1)
    low, high = np.quantile(medians[:, 0] / medians[:, 1], [0.025, 0.975])
    ours, theirs = np.median(taken, axis=0)
    return Estimate(float(ours / theirs), float(low), float(high), len(taken))


def ratio_of_tails(taken: npt.NDArray[np.float64], *, seed: int) -> Estimate:
    """Candidate's 99th percentile over the twin's, from seconds [answers, 2]; unknown below ANSWERS_MIN answers.

    The percentile is the time that one answer in a hundred reaches. Which answer has that rank in a resample is a beta
    variable of the ranks (David & Nagaraja 2003, section 2.3), so ranks are drawn, and nothing is sorted again.
    """
    if len(taken) < ANSWERS_MIN:
        return unknown(n=len(taken))
    slowest = -np.sort(-taken, axis=0)
    n, rank = len(taken), -(-len(taken) // 100)
    drawn = (n * np.random.default_rng(seed).beta(rank, n - rank + 1, size=(_RESAMPLES, 2))).astype(np.int64)
    ours, theirs = np.take_along_axis(slowest, drawn, axis=0).T
    low, high = np.quantile(ours / theirs, [0.025, 0.975]).tolist()
    value = float(slowest[rank - 1, 0] / slowest[rank - 1, 1])
    return Estimate(value, min(low, value), max(high, value), n)


def batch_of(rows: Floats, size: int) -> Floats:
    """`size` rows, repeated from the start where there are fewer."""
    return np.ascontiguousarray(rows[np.arange(size) % len(rows)])


def _seconds(session: Session, batch: Floats, *, repeat: int) -> float:
    start = time.thread_time()
    for _ in range(repeat):
        session.run(batch)
    return (time.thread_time() - start) / repeat
