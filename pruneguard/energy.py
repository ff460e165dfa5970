"""What a run cost: processor time, and an estimate of energy from it. Estimated from an assumption, never metered."""

import os
import time
from dataclasses import dataclass

WATTS_PER_CORE = 10.0
"""What one busy core is assumed to draw, without memory, disks and cooling. `PRUNEGUARD_WATTS_PER_CORE` changes it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the clocks of this process said at one moment."""

    cpu_s: float
    wall_s: float

    @classmethod
    def now(cls) -> "Reading":
        """Processor time of this process and of the children that it has waited for; and the time that passed."""
        times = os.times()
        return cls(times.user + times.system + times.children_user + times.children_system, time.monotonic())


def used(since: Reading, *, watts_per_core: float = WATTS_PER_CORE, until: Reading | None = None) -> dict[str, str]:
    """What was used since a reading, as an event records it: numbers as text, the assumption beside the estimate.

    >>> used(Reading(10.0, 100.0), until=Reading(370.0, 300.0), watts_per_core=10)["energy_wh_estimated"]
    '1.0000'
    """
    end = until or Reading.now()
    cpu = max(0.0, end.cpu_s - since.cpu_s)
    return {
        "cpu_seconds": f"{cpu:.1f}",
        "wall_seconds": f"{max(0.0, end.wall_s - since.wall_s):.1f}",
        "cores": str(os.cpu_count() or 1),
        "energy_wh_estimated": f"{cpu * watts_per_core / 3600:.4f}",
        "energy_basis": f"processor seconds of the process that ended the run, {watts_per_core:g} W for a busy core "
        "assumed; not metered",
    }
