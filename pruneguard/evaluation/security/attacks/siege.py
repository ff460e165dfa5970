"""Both models under the same attacks on the same rows; an attack that several measurements need is made once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.contender import Contender, Pair
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.security.attacks.blackbox import QUERIES, square
from pruneguard.evaluation.security.attacks.whitebox import ATTACKS, EPSILON, STEPS, obstacle
from pruneguard.evaluation.sessions import Session, predictions
from pruneguard.evaluation.yardstick import Yardstick
from pruneguard.workload import Floats, Integers, Split

ROWS_MAX = 1000
"""PGD costs about a hundred inference passes; more rows than these are sampled."""

Marks: TypeAlias = npt.NDArray[np.bool_]


@dataclass(eq=False)
class Siege:
    """Which rows each of the two still gets right under an attack: always a pair of marks, the candidate's first.

    The gradients are the torch network's, the answers that count are the artefact's.
    """

    pair: Pair
    x: Floats
    y: Integers
    domain: Domain
    seed: int
    _ours: Yardstick = field(default_factory=Yardstick)  # the twin's lies in the pair's, for all candidates

    @classmethod
    def of(cls, pair: Pair, split: Split, domain: Domain, *, seed: int) -> "Siege":
        """On at most ROWS_MAX rows, drawn by `seed`."""
        rows = np.sort(np.random.default_rng(seed).permutation(len(split))[:ROWS_MAX])
        return cls(pair, split.x[rows], split.y[rows], domain, seed)

    @cached_property
    def obstacle(self) -> str | None:
        """Why gradients cannot attack one of the two, and which; None where they can."""
        for side, contender in {"candidate": self.pair.candidate, "twin": self.pair.twin}.items():
            if contender.network is None:
                return f"takes the network, and there is only the {side}'s file"
            if why := obstacle(contender.network, self.x, self.y):
                return f"{why} ({side})"
        return None

    @property
    def ids(self) -> str | None:
        """Why not even a random search may change the rows: they are ids, or seem so, with nothing between them."""
        if self.domain.kind == "text":
            return "the rows are token ids"
        whole = self.obstacle is not None and bool((self.x == np.rint(self.x)).all())
        return "the rows are whole numbers that no gradient reaches" if whole else None

    def clean(self) -> tuple[Marks, Marks]:
        """Without any attack."""
        return self._both("nothing", lambda _, session: self._right(session, self.x))

    def gradient(self, attack: str, *, epsilon: float = EPSILON) -> tuple[Marks, Marks]:
        """Under `fgsm` or `pgd`."""

        def survived(contender: Contender, session: Session) -> Marks:
            return self._right(session, self._attacked(contender, attack, epsilon))

        return self._both(f"{attack}, {epsilon} of the spread in {STEPS} steps", survived)

    def sweep(self, attack: str, epsilons: tuple[float, ...]) -> tuple[Marks, Marks]:
        """Marks [epsilons, n] under `fgsm` or `pgd` with ever larger balls: who falls in one has fallen in the next."""

        def survived(contender: Contender, session: Session) -> Marks:
            marks = np.zeros((len(epsilons), len(self.y)), dtype=np.bool_)
            standing = np.arange(len(self.y))
            for index, epsilon in enumerate(epsilons):
                attacked = self._attacked(contender, attack, epsilon, standing)
                standing = standing[self._right(session, attacked, standing)]
                marks[index, standing] = True
            return marks

        return self._both(f"{attack}, {epsilons} of the spread in {STEPS} steps", survived)

    def square(self) -> tuple[Marks, Marks]:
        """Under Square, by the artefact's own answers."""

        def survived(_: Contender, session: Session) -> Marks:
            return self._right(session, square(session.logits, self.x, self.y, self.domain, seed=self.seed))

        return self._both(f"square, {EPSILON} of the spread in {QUERIES} queries", survived)

    def transfer(self) -> tuple[Marks, Marks]:
        """Each under the rows that PGD made of the other."""
        candidate, twin = self.pair.candidate, self.pair.twin
        if self.pair.same:
            return self.gradient("pgd")
        ours = self._ours.once(
            "theirs", compute=lambda: self._right(self.pair.candidate_session, self._attacked(twin, "pgd", EPSILON))
        )
        theirs = self._ours.once(
            "ours", compute=lambda: self._right(self.pair.twin_session, self._attacked(candidate, "pgd", EPSILON))
        )
        return ours, theirs

    def _both(self, attack: str, survived: Callable[[Contender, Session], Marks]) -> tuple[Marks, Marks]:
        pair = self.pair
        theirs = pair.yardstick.once(
            f"{attack}: survived by {pair.twin.digest}, seed {self.seed}, {self.domain.low} to {self.domain.high}",
            *(self.x, self.y, self.domain.spread),
            compute=lambda: survived(pair.twin, pair.twin_session),
        )
        if pair.same:
            return theirs, theirs
        ours = self._ours.once(attack, compute=lambda: survived(pair.candidate, pair.candidate_session))
        return ours, theirs

    def _attacked(
        self, contender: Contender, attack: str, epsilon: float, rows: npt.NDArray[np.int64] | None = None
    ) -> Floats:
        x, y = (self.x, self.y) if rows is None else (self.x[rows], self.y[rows])
        return ATTACKS[attack](contender.model, x, y, self.domain, epsilon=epsilon, steps=STEPS, seed=self.seed)

    def _right(self, session: Session, x: Floats, rows: npt.NDArray[np.int64] | None = None) -> Marks:
        right: Marks = predictions(session.logits(x)) == (self.y if rows is None else self.y[rows])
        return right
