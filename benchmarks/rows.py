"""One line of a benchmark's table: a number, the goal that was set for it, and how it was measured."""

import operator
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_COMPARE = {">=": operator.ge, "<=": operator.le, "=": operator.eq}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`goal` is a comparison and a number, as in "<= 50"; `how` says in one line what was done."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    goal: str
    how: str

    @property
    def met(self) -> bool:
        """Whether the goal is reached; a value that is not a number never reaches one.

        >>> row = Row.over([40.0, 50.0, 90.0], name="p99", unit="ms", goal="<= 50", how="three runs")
        >>> row.value, row.low, row.high, row.met
        (50.0, 40.0, 90.0, True)
        """
        found = re.fullmatch(r"(>=|<=|=) (\d+(?:\.\d+)?)", self.goal)
        if found is None:
            raise ValueError(f"{self.name}: the goal {self.goal!r} is not a comparison and a number, like '<= 50'")
        return bool(_COMPARE[found[1]](self.value, float(found[2])))

    @classmethod
    def over(cls, samples: Sequence[float], *, name: str, unit: str, goal: str, how: str) -> "Row":
        """The median of repeated runs, with the smallest and the largest."""
        low, value, high = min(samples), statistics.median(samples), max(samples)
        return cls(name=name, value=value, low=low, high=high, unit=unit, goal=goal, how=how)
