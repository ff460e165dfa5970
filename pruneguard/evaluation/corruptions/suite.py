"""Both models on the same damaged rows: a table for every family, and what all families say together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType

import numpy as np

from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.correctness.quality import paired
from pruneguard.evaluation.corruptions import images, tables, text
from pruneguard.evaluation.corruptions.overall import Marks, excess_error, relative_error
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.marking import BY_CLASS, Marking
from pruneguard.evidence import Measurement
from pruneguard.workload import Floats, Integers, Kind, Split

SEVERITIES = (1, 2, 3, 4, 5)

ROWS_MIN, ROWS_MAX = 2_000, 10_000
"""Half of the rows are damaged, which halves the price of twelve families: but all up to the first number, which show a
loss of three points with 90 % power up to 21 % discordant rows, and not more than the second, which show half of that
loss up to 26 %.
"""

_KINDS: Mapping[Kind, ModuleType] = {"images": images, "table": tables, "text": text}


@dataclass(eq=False)
class Suite:
    """The damages of a split.

    Each costs one pass of the candidate over the damaged rows, one of the twin, and what doing the damage takes; the
    twin's answers are kept by the pair's yardstick. Twelve families cost 11 passes of the twin over the whole split of
    5,000 images of 28 x 28, 24 over 8,125 rows of a table (a perceptron is as quick as the damage), 30 over 447 images
    of 8 x 8, all of which are damaged: measured with a candidate that is no faster than its twin.
    """

    pair: Pair
    split: Split
    domain: Domain
    seed: int
    marking: Marking = BY_CLASS
    _known: dict[str, tuple[Marks, Marks]] = field(default_factory=dict)

    def measure(self, family: str) -> dict[str, Measurement]:
        """`robustness.<family>.paired`, and its slices by severity.

        Every row is damaged once, a fifth of the rows at each severity: a row that counted five times would make the
        table look like five times the evidence that it is. Which rows are damaged is drawn by the seed, once for all
        families.
        """
        ours, theirs = self._right(family)
        severity = severities(len(ours), family=family, seed=self.seed)
        name = f"robustness.{family}.paired"
        found: dict[str, Measurement] = {name: paired(ours, theirs)}
        for each in np.unique(severity):
            rows = severity == each
            found[f"{name}.slice.severity={each}"] = paired(ours[rows], theirs[rows])
        return found

    def overall(self, clean: tuple[Floats, Floats]) -> dict[str, Measurement]:
        """Everything named `robustness.corruption`, over all families. `clean` are both answers to the whole split.

        Costs nothing where each family was measured before.
        """
        names = [family for family in families(self.domain) if lacks(family, self.domain) is None]
        wrong, twin_wrong = (
            np.stack([~right for right in each], axis=1)
            for each in zip(*(self._right(family) for family in names), strict=True)
        )
        y = self.split.y[self._rows]
        before, twin_before = (~self.marking.right(logits[self._rows], y) for logits in clean)
        return {
            "robustness.corruption.relative_error": relative_error(wrong, twin_wrong),
            "robustness.corruption.excess_error": excess_error(wrong, twin_wrong, before, twin_before),
        }

    @cached_property
    def _rows(self) -> Integers | slice:
        n = len(self.split)
        if n <= ROWS_MIN:
            return slice(None)
        damaged = min(max(n // 2, ROWS_MIN), ROWS_MAX)
        return np.sort(np.random.default_rng(self.seed).choice(n, damaged, replace=False))

    def _right(self, family: str) -> tuple[Marks, Marks]:
        """Which damaged rows each of the two gets right, the candidate first."""
        if family not in self._known:
            damaged = spread(self.split.x[self._rows], self.domain, family=family, seed=self.seed)
            y = self.split.y[self._rows]
            ours, theirs = self.pair.logits(damaged)
            self._known[family] = self.marking.right(ours, y), self.marking.right(theirs, y)
        return self._known[family]


def families(domain: Domain) -> tuple[str, ...]:
    """The names of the damages that make sense for these rows."""
    return tuple(_KINDS[domain.kind].FAMILIES)


def lacks(family: str, domain: Domain) -> str | None:
    """What the data would have to say before their rows could be damaged so; None where nothing is missing."""
    return text.lacks(family, domain) if domain.kind == "text" else None


def severities(n: int, *, family: str, seed: int) -> Integers:
    """The severity of each of `n` rows, in equal shares."""
    drawn = np.random.default_rng([seed, *family.encode()]).permutation(n)
    return drawn % len(SEVERITIES) + 1


def spread(x: Floats, domain: Domain, *, family: str, seed: int) -> Floats:
    """The rows, each damaged at its own severity."""
    severity = severities(len(x), family=family, seed=seed)
    damaged = np.empty_like(x)
    for each in SEVERITIES:
        rows = severity == each
        damaged[rows] = corrupt(x[rows], domain, family=family, severity=each, seed=seed)
    return damaged


def corrupt(x: Floats, domain: Domain, *, family: str, severity: int, seed: int) -> Floats:
    """The rows damaged at one severity, inside the bounds; 0 is none. The same seed does the same damage."""
    if not severity or not x.size:
        return domain.clip(x)
    rng = np.random.default_rng([seed, severity, *family.encode()])
    damaged: Floats = _KINDS[domain.kind].corrupt(x, domain, family=family, severity=severity, rng=rng)
    return domain.clip(damaged)
