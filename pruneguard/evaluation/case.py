"""One comparison: a candidate, its twin and the rows, with what several families of measurements need of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pruneguard.energy import WATTS_PER_CORE
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation import corruptions
from pruneguard.evaluation.contender import Contender, Pair
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.marking import Marking
from pruneguard.evaluation.security import attacks
from pruneguard.evaluation.yardstick import Yardstick
from pruneguard.workload import Floats, Snapshot, Split


@dataclass(eq=False)
class Case:
    """What is compared, on which rows; computed when a family needs it first. Families of other packages get it too."""

    pair: Pair
    snapshot: Snapshot
    split: str
    seed: int
    watts_per_core: float = WATTS_PER_CORE

    @classmethod
    def of(
        cls,
        candidate: Contender,
        twin: Contender,
        snapshot: Snapshot,
        *,
        split: str,
        seed: int,
        yardstick: Yardstick | None,
        watts_per_core: float = WATTS_PER_CORE,
    ) -> "Case":
        if split not in snapshot.splits:
            raise InvalidInputError(f"there is no split {split!r}; expected one of {sorted(snapshot.splits)}")
        pair = Pair.load(candidate, twin, classes=snapshot.classes, yardstick=yardstick)
        case = cls(pair, snapshot, split, seed, watts_per_core)
        pair.logits(case.rows.x[:1])  # artefacts for other rows are refused here, in words
        return case

    @property
    def rows(self) -> Split:
        return self.snapshot.splits[self.split]

    @cached_property
    def domain(self) -> Domain:
        return Domain.of(self.snapshot)

    @cached_property
    def damage(self) -> corruptions.Suite:
        return corruptions.Suite(self.pair, self.rows, self.domain, self.seed, self.marking)

    @property
    def marking(self) -> Marking:
        """When an answer to these rows is right."""
        return Marking(self.snapshot.tolerance)

    @cached_property
    def logits(self) -> tuple[Floats, Floats]:
        """Both answers to all rows, the candidate's first."""
        logits = self.pair.logits(self.rows.x)
        _require_yardstick(self.pair, logits[1])
        return logits

    @property
    def classless(self) -> str | None:
        """Why nothing can be measured that takes classes; None where the answers are classes."""
        return "takes classes, and the answers are numbers" if self.snapshot.numeric else None

    @property
    def networkless(self) -> str | None:
        """Why nothing can be measured that takes a network; None where both have theirs."""
        missing = any(each.network is None for each in (self.pair.candidate, self.pair.twin))
        return "takes the network, and there is only its file" if missing else None

    @property
    def untrained(self) -> str | None:
        """Why nothing can be measured that takes training rows; None where there are some."""
        return None if len(self.snapshot.train) else "takes training rows, and the data have none"

    @cached_property
    def siege(self) -> attacks.Siege:
        return attacks.Siege.of(self.pair, self.rows, self.domain, seed=self.seed)


def _require_yardstick(pair: Pair, logits: Floats) -> None:
    silent = int((~np.isfinite(logits).all(axis=1)).sum())
    if silent and not pair.same:
        raise InvalidInputError(
            f"the twin {pair.twin.digest} gives answers that are not finite on {silent} of {len(logits)} rows; "
            "nothing can be compared with it; train it again"
        )
