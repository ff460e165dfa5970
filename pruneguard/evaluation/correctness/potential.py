"""How much of a network can go before it loses more than a margin: another share for every kind of rows.

The prune potential of Liebenwein 2021 (arXiv:2103.03014): the largest ratio whose loss of accuracy stays within a
margin, on clean rows and on rows of each damage.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pruneguard.evidence import Measurement, PairedTable
from pruneguard.statistics import tango_lower

_PAIRED = ".paired"


@dataclass(frozen=True, slots=True)
class Potential:
    """The largest ratio within the margin on one distribution: `measured` by the difference itself, `shown` by its
    one-sided bound. 0 is the dense network, which loses nothing. `candidates` were measured there.
    """

    measured: float
    shown: float
    candidates: int


def potentials(
    candidates: Iterable[tuple[float, Mapping[str, Measurement]]], *, margin: float, alpha: float = 0.05
) -> dict[str, Potential]:
    """By distribution (`quality`, `robustness.fog`), from each candidate's ratio and what was measured of it.

    A candidate counts where it was measured: a search that stops at a certain failure leaves the costlier damages of
    what failed unknown, and then the potential there is that of the others.
    """
    known: dict[str, list[tuple[float, PairedTable]]] = {}
    for ratio, measurements in candidates:
        for name, table in measurements.items():
            if name.endswith(_PAIRED) and isinstance(table, PairedTable) and table.n:
                known.setdefault(name.removesuffix(_PAIRED), []).append((ratio, table))
    return {
        distribution: Potential(
            measured=max((ratio for ratio, table in tables if table.difference >= -margin), default=0.0),
            shown=max((ratio for ratio, table in tables if tango_lower(table, alpha=alpha) > -margin), default=0.0),
            candidates=len(tables),
        )
        for distribution, tables in sorted(known.items())
    }
