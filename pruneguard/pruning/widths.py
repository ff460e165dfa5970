"""Widths by measured time: which parts leave so that the network answers faster, at the least loss of importance.

NetAdapt (Yang et al. 2018, arXiv 1804.03230), the practical form of architecture search: a table says what each
narrower group does for the latency, a greedy walk spends it, and what comes out is measured. One export takes a second
or more, so the table has a few measured widths a group; between them time is taken to be linear in the width, and the
measured time of the whole network corrects what that gets wrong.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.efficiency import latency
from pruneguard.evaluation.sessions import Session
from pruneguard.pruning import export, parts, surgery
from pruneguard.pruning.budgets import Ladder, ladders, leaving
from pruneguard.pruning.group import Group, Indices
from pruneguard.reporting import Progress
from pruneguard.workload import Floats

TABLE_MAX = 24
"""Cut networks that are exported for the table, two for each ladder where that is not too many, else one."""

TRIES = 5
"""Whole networks that are cut, exported and measured before the nearest of them is taken."""

TOLERANCE = 0.02
"""A share of time that is this near to the wanted one is a hit."""

_NOTHING = 1e-9  # time saved below this is none


def choose(
    model: nn.Module,
    example: Floats,
    groups: Sequence[Group],
    scores: Sequence[Iterable[float]],
    *,
    ratio: float,
    round_to: int,
    seed: int,
    batch: int = 1,
    progress: Progress | None = None,
) -> dict[int, Indices]:
    """Positions of the parts that leave, by the number of their group, so that 1 - `ratio` of the time is left.

    Time is that of the exported network in onnxruntime, one thread, `batch` rows at once, always as a ratio to the
    dense one in the same rounds. Floors, levels and multiples of `round_to` are those of `budgets.choose`. `model` is
    left as it was; `example` is a few rows of its input. At most 1 + max(`TABLE_MAX`, ladders) + `TRIES` networks are
    exported and measured, about two seconds each where nobody else computes.

    Raises InvalidInputError for a ratio outside (0, 1), when no narrower width is faster, and when the widths there are
    do not take enough time away; with the times found.
    """
    if not 0 < ratio < 1:
        raise InvalidInputError(f"the ratio is {ratio}; give the share of latency to take away, between 0 and 1")
    steps = ladders(groups, scores, round_to=round_to)
    wanted = _wanted(steps)
    if not any(wanted):
        raise InvalidInputError(
            f"no group of {type(model).__name__} can be narrower at round_to {round_to}; lower round_to, prune another "
            "kind of part, or give the network wider layers"
        )
    total = sum(map(len, wanted)) + TRIES
    bench = _Bench.set_up(model, example, groups, steps, batch=batch, seed=seed)
    table = _measure(bench, wanted, lambda done: None if progress is None else progress(done, total))
    if all(share >= 1 for row in table for share in row):
        raise InvalidInputError(
            f"no narrower width makes {type(model).__name__} faster at batch {batch}: {_table(groups, steps, table)}; "
            "prune weights or quantise instead, or measure at a larger batch"
        )
    importance = _importance(steps, scores)
    tried = _try(bench, table, importance, 1 - ratio)
    if progress is not None:
        progress(total, total)
    hits = [rungs for rungs, share in tried.items() if share <= 1 - ratio + TOLERANCE]
    if not hits:
        raise InvalidInputError(
            f"{type(model).__name__} shall take {1 - ratio:.3g} of its time at batch {batch}; the fastest cut that was "
            f"measured takes {min(tried.values()):.3g}; {_table(groups, steps, table)}; ask for less, or lower round_to"
        )
    return leaving(steps, min(hits, key=lambda rungs: _lost(importance, rungs)))


def shrink(table: Sequence[Sequence[float]], importance: Sequence[Sequence[float]], target: float) -> tuple[int, ...]:
    """The rung of each ladder where the network is expected to take `target` of its time, greedily.

    `table[l][r]` is the share of the dense time that the network takes with ladder l alone at rung r (1 at rung 0), and
    `importance[l][r]` what has left by then (0 at rung 0). Shares multiply: a convolution whose input and output are
    both halved does a quarter of the work. Each step goes to the rung, of any ladder, that loses the least importance
    for the time it saves, as far as the target asks for it; a rung that saves nothing is stepped over. Of equal ones
    the first ladder and the smallest step go. Stops where nothing saves any more when `target` is out of reach.
    """
    rungs = [0] * len(table)
    while (now := expected(table, rungs)) > target:
        offers = []
        for ladder, (shares, lost) in enumerate(zip(table, importance, strict=True)):
            here = rungs[ladder]
            for rung in range(here + 1, len(shares)):
                saved = min(now * (1 - shares[rung] / shares[here]), now - target)
                if saved > _NOTHING:
                    price = (lost[rung] - lost[here]) / saved
                    offers.append((float(f"{price:.9g}"), ladder, rung))  # equal but for rounding is equal
        if not offers:
            break
        _, ladder, rung = min(offers)
        rungs[ladder] = rung
    return tuple(rungs)


def expected(table: Sequence[Sequence[float]], rungs: Sequence[int]) -> float:
    """The share of the dense time that a network takes with every ladder at its rung, going by the table."""
    return math.prod(row[rung] for row, rung in zip(table, rungs, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class _Bench:
    """The dense network, loaded, and whatever it takes to race a cut of it against it."""

    model: nn.Module
    example: Floats
    groups: Sequence[Group]
    steps: Sequence[Ladder]
    classes: int | None
    dense: Session
    rows: Floats
    seed: int

    @classmethod
    def set_up(
        cls,
        model: nn.Module,
        example: Floats,
        groups: Sequence[Group],
        steps: Sequence[Ladder],
        *,
        batch: int,
        seed: int,
    ) -> "_Bench":
        _, width = (*surgery.output_shape(model, example), 1)[:2]  # a regression's answer may be without columns
        classes = width if width > 1 else None
        dense = Session(export.to_onnx(model, example, classes=classes))
        rows = np.ascontiguousarray(example[np.arange(batch) % len(example)])
        return cls(model, example, groups, steps, classes, dense, rows, seed)

    def share(self, rungs: Sequence[int]) -> float:
        """The share of the dense time; 1 unless the whole interval says that the cut network is faster."""
        chosen = leaving(self.steps, rungs)
        removed = surgery.removal(self.groups, chosen)
        kept = surgery.consequence(self.model, self.groups, chosen)
        network, _ = parts.cut(self.model, removed=removed, kept=kept)
        surgery.require_alive(self.model, network, self.example)
        session = Session(export.to_onnx(network, self.example, classes=self.classes))
        found = latency.ratio_of_medians(latency.rounds(session, self.dense, self.rows), seed=self.seed)
        return found.value if found.high is not None and found.high < 1 else max(1.0, found.value)


def _wanted(steps: Sequence[Ladder]) -> list[list[int]]:
    """The rungs of each ladder to measure: the last one, and the middle one where that is not too many."""
    fine = 2 * len(steps) <= TABLE_MAX
    lasts = [len(ladder.widths) - 1 for ladder in steps]
    return [sorted({last // 2 if fine else last, last} - {0}) for last in lasts]


def _measure(bench: _Bench, wanted: Sequence[Sequence[int]], done: Callable[[int], None]) -> list[list[float]]:
    """For every rung of every ladder the share of the dense time with that ladder alone there."""
    table, count = [], 0
    for at, (ladder, rungs) in enumerate(zip(bench.steps, wanted, strict=True)):
        shares = {0: 1.0}
        for rung in rungs:
            shares[rung] = bench.share([rung if other == at else 0 for other in range(len(bench.steps))])
            done(count := count + 1)
        known = sorted(shares, reverse=True)  # narrow widths first, as np.interp wants them
        row = np.interp(ladder.widths[::-1], [ladder.widths[rung] for rung in known], [shares[rung] for rung in known])
        table.append(row[::-1].tolist())
    return table


def _try(
    bench: _Bench, table: Sequence[Sequence[float]], importance: Sequence[Sequence[float]], target: float
) -> dict[tuple[int, ...], float]:
    """Cuts that were made and measured, and the share of time that each takes; each miss corrects the aim."""
    tried: dict[tuple[int, ...], float] = {}
    slow, fast = 1.0, 0.0  # what the table expects of the last cuts on either side of the target
    aim = target
    for _ in range(TRIES):
        rungs = shrink(table, importance, aim)
        while rungs in tried and aim < 0.99 * slow:  # rungs are coarser than aims: look on the milder side
            aim = math.sqrt(aim * slow)
            rungs = shrink(table, importance, aim)
        if rungs in tried or not any(rungs):
            break
        tried[rungs] = share = bench.share(rungs)
        if abs(share - target) <= TOLERANCE:
            break
        told = expected(table, rungs)
        slow, fast = (told, fast) if share > target else (slow, told)
        aim = math.sqrt(slow * fast) if fast and slow < 1 else told * target / share
    return tried


def _importance(steps: Sequence[Ladder], scores: Sequence[Iterable[float]]) -> list[list[float]]:
    values = [[float(score) for score in row] for row in scores]
    return [
        [math.fsum(values[number][part] for number, parts in gone.items() for part in parts) for gone in ladder.leaving]
        for ladder in steps
    ]


def _lost(importance: Sequence[Sequence[float]], rungs: Sequence[int]) -> float:
    return math.fsum(row[rung] for row, rung in zip(importance, rungs, strict=True))


def _table(groups: Sequence[Group], steps: Sequence[Ladder], table: Sequence[Sequence[float]]) -> str:
    """The times found, for a message."""
    lines = [
        f"{groups[next(iter(ladder.leaving[0]))].root} at {ladder.widths[-1]} of {ladder.widths[0]} takes {row[-1]:.3g}"
        for ladder, row in zip(steps, table, strict=True)
    ]
    return ", ".join(lines[:8])
