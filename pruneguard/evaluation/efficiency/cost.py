"""What 1,000 answers cost: processor time, measured, and what follows from it under stated assumptions.

Energy and price are estimates, never metered: the processor seconds of single answers on this machine, one thread,
times what a busy core is assumed to draw and to cost. Between two models on one machine their ratio is that of the
processor time, whatever the assumptions.
"""

import math

from pruneguard.energy import WATTS_PER_CORE
from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.efficiency import latency
from pruneguard.evidence import Estimate, Measurement
from pruneguard.workload import Floats

ANSWERS = 1000
DOLLARS_PER_CORE_HOUR = 0.04
"""What an hour of one core is assumed to cost, about the list price of a virtual core in a cloud."""


def method(watts_per_core: float) -> str:
    """How energy and price were come by, for the evidence."""
    return (
        f"estimated from processor seconds of single answers, {watts_per_core:g} W and {DOLLARS_PER_CORE_HOUR:g} "
        "dollars an hour for a busy core assumed; not metered"
    )


def measure(pair: Pair, rows: Floats, *, watts_per_core: float = WATTS_PER_CORE) -> dict[str, Measurement]:
    """`efficiency.cost.cpu` (s), `.energy` (J) and `.dollars` of 1,000 answers of the candidate to one row each.

    Means with 95 % normal intervals over `n` answers; they are this machine's.
    """
    taken = latency.answers(pair.candidate_session, pair.twin_session, latency.batch_of(rows, 1))[:, 0]
    mean = float(taken.mean())
    reach = 1.96 * float(taken.std()) / math.sqrt(len(taken))

    def times(factor: float, unit: str) -> Estimate:
        value, low, high = (ANSWERS * factor * each for each in (mean, max(mean - reach, 0.0), mean + reach))
        return Estimate(value, low, high, len(taken), unit)

    return {
        "efficiency.cost.cpu": times(1.0, "s"),
        "efficiency.cost.energy": times(watts_per_core, "J"),
        "efficiency.cost.dollars": times(DOLLARS_PER_CORE_HOUR / 3600, "USD"),
    }
