"""How likely rows that nobody has seen let a candidate pass that these rows let pass.

A search goes as far as the policy lets it, so what it finds stands near a limit, and what just passes on the gate rows
fails on the release rows about every second time. The chance of passing again is what trials call assurance (O'Hagan,
Stevens & Campbell 2005, Pharmaceutical Statistics 4, 187-201): what was measured is taken for as uncertain as its rows
leave it, and what other rows will say for uncertain once more. Pure.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

from pruneguard.evidence import Estimate, Measurement, PairedTable
from pruneguard.gates.stopping import certain_failure
from pruneguard.policy import Policy

ENOUGH = 0.8
"""What a candidate needs: the power that a trial is planned with."""

_NORMAL = NormalDist()
_END = _NORMAL.inv_cdf(0.975)
"""Standard errors between a value and either end of its interval: intervals are 95 %."""

_TIMED = "efficiency."
_HALVINGS = 12
_LEAST, _MOST = 0.001, 0.999


@dataclass(frozen=True, slots=True)
class Assurance:
    """`chance` that the rule with the least of it, `rule`, passes again; it is the first to fail where luck turns.

    Rules are measured on the same rows and mostly fail together; the chance that all pass is somewhat lower.
    """

    chance: float
    rule: str | None

    @property
    def enough(self) -> bool:
        return self.chance >= ENOUGH

    def __str__(self) -> str:
        where = "" if self.rule is None else f" ({self.rule} would fail first)"
        return f"a chance of {100 * self.chance:.0f} % to pass again on other rows{where}"


def assurance(policy: Policy, measured: Mapping[str, Measurement], *, rows: float = 1.0) -> Assurance:
    """What to expect of a candidate on the release rows, from what was measured of it on the gate rows.

    `rows` is how many release rows there are for each gate row; more than one is taken as one, for attacks are
    measured on a fixed number. What is timed is timed as often again, however many rows there are. What has no interval
    (sizes, deviations) is taken as it is.
    """

    def share(name: str) -> float:
        return 1.0 if name.startswith(_TIMED) else min(rows, 1.0)

    def failing(chance: float) -> str | None:
        """The rule that fails if everything turns out so badly that it is worse with a probability of 1 - `chance`."""
        z = _NORMAL.inv_cdf(chance)
        worse = ({name: _moved(each, z, up, share(name)) for name, each in measured.items()} for up in (True, False))
        return next((rule for each in worse if (rule := certain_failure(policy, each)) is not None), None)

    low, high = _LEAST, _MOST
    if (rule := failing(high)) is None:
        return Assurance(high, None)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if (found := failing(middle)) is None:
            low = middle
        else:
            high, rule = middle, found
    return Assurance(low, rule)


def _moved(measurement: Measurement, z: float, up: bool, share: float) -> Measurement:
    match measurement:
        case PairedTable():
            return _table(measurement, z, share)
        case Estimate(value=value, low=low, high=high) if low is not None and high is not None:
            error = (high - value if up else value - low) / _END
            other = math.sqrt(1 + 1 / share)  # what these rows leave open, and what the others will add
            moved = value + (z if up else -z) * error * other
            wider = 1 / math.sqrt(share)
            return Estimate(
                moved, moved - (value - low) * wider, moved + (high - value) * wider, measurement.n, measurement.unit
            )
        case _:
            return measurement


def _table(table: PairedTable, z: float, share: float) -> PairedTable:
    """The table that as many rows as `share` of these would give, `z` standard errors below the difference seen."""
    rows = round(table.n * share)
    if not rows:
        return PairedTable(0, 0, 0, 0)
    seen = (table.candidate_only + table.twin_only + 1) / table.n  # no discordant row among few is no proof of none
    error = math.sqrt(max(seen - table.difference**2, 0.0) * (1 / table.n + 1 / rows))
    shift = round(z * error * rows)
    won = min(max(round(table.candidate_only * share) - shift // 2, 0), rows)
    lost = min(max(round(table.twin_only * share) + shift - shift // 2, 0), rows - won)
    right = min(round(table.both_right * share), rows - won - lost)
    return PairedTable(right, won, lost, rows - won - lost - right)
