"""Measurements that are made together, and whether a policy asks for them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pruneguard.evidence import Measurement

Measured: TypeAlias = Mapping[str, Measurement]

ALWAYS = ("efficiency", "quality")
"""Families that are measured whether a policy asks or not: the monitor, the cards and people read them."""


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Measurements that are made together: `name` and whatever is named below it. `lacks` says why there are none.

    One that is `on_demand` costs more than the others together, and is made only where it is asked for by name.
    """

    name: str
    measure: Callable[[], Measured]
    lacks: Callable[[], str | None] = lambda: None
    on_demand: bool = False

    def asked(self, wanted: Collection[str], *, all_else: bool) -> bool:
        below = f"{self.name}."
        named = any(each == self.name or each.startswith(below) for each in wanted)
        return named or self.name in ALWAYS or (all_else and not self.on_demand)
