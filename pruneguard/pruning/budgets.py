"""How much leaves each group, given what its parts are worth and the share of all parts that shall go.

Pure: groups and scores in, positions of parts out. Widths are counted in numbers (a bundle of four channels has four).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pruneguard.errors import InvalidInputError
from pruneguard.pruning.group import Group, Indices, Part
from pruneguard.pruning.recipe import TooMildError

ROUNDED = frozenset({Part.CHANNELS, Part.NEURONS, Part.UNITS})
"""Parts whose widths the hardware cares for; heads, blocks and experts are counted one by one."""


class Scope(StrEnum):
    """Over which parts a share is taken."""

    LAYER = "layer"  # every group loses the same share
    GLOBAL = "global"  # the lowest scores of the whole network go, wherever they are


@dataclass(frozen=True, slots=True)
class Ladder:
    """The widths that one group, or the groups of one level together, can be cut to.

    `widths[0]` is the full width of each. At rung r the groups are `widths[r]` wide, `leaving[r]` (number of the group
    -> positions of parts) is gone, and `means[r]` is the mean score of the parts that rung r takes beyond rung r - 1,
    or that of the rung before where rounding would have it fall.
    """

    step: int
    widths: tuple[int, ...]
    leaving: tuple[Mapping[int, Indices], ...]
    means: tuple[float, ...]


def choose(
    groups: Sequence[Group],
    scores: Sequence[Iterable[float]],
    *,
    ratio: float,
    scope: Scope,
    round_to: int,
    at_least_one: bool = True,
) -> dict[int, Indices]:
    """Positions of the parts that leave, by the number of their group; groups that stay whole are not in it.

    `scores` has one number for each part of each group, comparable across groups (`criteria.scores`); the lowest leave
    first, of equal ones the first. `ratio` is the share of numbers to remove. Every width of channels, neurons and
    units becomes a multiple of `round_to`, the nearest one, and no group falls below that or below `Group.least` parts.
    Groups of the same `level` end equally wide. A global ranking takes such steps whole, at the mean of their scores.

    Raises InvalidInputError for a ratio outside (0, 1) and scores that are not finite, TooMildError, unless
    `at_least_one` is off, when nothing can leave.
    """
    if not 0 < ratio < 1:
        raise InvalidInputError(f"the pruning ratio is {ratio}; give the share of parts to remove, between 0 and 1")
    steps = ladders(groups, scores, round_to=round_to)
    rungs = _alike(steps, ratio) if scope == Scope.LAYER else _ranked(steps, ratio)
    chosen = leaving(steps, rungs)
    if not chosen and at_least_one:
        widths = {group.root: sum(map(len, group.numbers)) for group in groups}
        raise TooMildError(
            f"nothing can leave at ratio {ratio} and round_to {round_to}; the widths are {widths or 'none'}; "
            "raise the ratio, lower round_to, prune another kind of part, or give the network wider layers"
        )
    return chosen


def ladders(groups: Sequence[Group], scores: Sequence[Iterable[float]], *, round_to: int) -> list[Ladder]:
    """One ladder for each level, and for each group without one, in the order of the groups."""
    if round_to < 1:
        raise InvalidInputError(f"round_to is {round_to}; expected 1 or the multiple that widths shall have")
    values = [[float(score) for score in row] for row in scores]
    for group, row in zip(groups, values, strict=True):
        if len(row) != group.width or not all(map(math.isfinite, row)):
            raise InvalidInputError(
                f"{group.root} has {group.width} parts and the scores {row[:8]}...; expected a finite one for each; "
                "score the network with another criterion"
            )
    return [_ladder(groups, values, members, round_to) for members in together(groups)]


def together(groups: Sequence[Group]) -> list[list[int]]:
    """Numbers of the groups that can only be cut together: those of each level, and each one that has no level."""
    levels: dict[object, list[int]] = {}
    for number, group in enumerate(groups):
        levels.setdefault((group.part, group.level) if group.level else number, []).append(number)
    return list(levels.values())


def leaving(steps: Sequence[Ladder], rungs: Sequence[int]) -> dict[int, Indices]:
    """What has left when each ladder stands at its rung."""
    return {
        number: tuple(sorted(parts))
        for ladder, rung in zip(steps, rungs, strict=True)
        for number, parts in ladder.leaving[rung].items()
        if parts
    }


def _ladder(groups: Sequence[Group], values: Sequence[Sequence[float]], members: list[int], round_to: int) -> Ladder:
    step = round_to if groups[members[0]].part in ROUNDED else 1
    ways = {number: _reachable(groups[number], values[number], step) for number in members}
    full = max(sum(map(len, groups[number].numbers)) for number in members)
    common = sorted(set.intersection(*(set(way) for way in ways.values())) - {full}, reverse=True)
    gone: list[dict[int, Indices]] = [dict.fromkeys(members, ())]
    means = [-math.inf]
    for width in common:
        before = gone[-1]
        gone.append({number: way[width] for number, way in ways.items()})
        taken = [values[number][part] for number in members for part in gone[-1][number][len(before[number]) :]]
        means.append(max(means[-1], math.fsum(taken) / len(taken)))
    return Ladder(step, (full, *common), tuple(gone), tuple(means))


def _reachable(group: Group, values: Sequence[float], step: int) -> dict[int, Indices]:
    """Width -> the weakest parts whose leaving gives it, for every multiple of `step` that whole parts can give."""
    order = sorted(range(group.width), key=values.__getitem__)
    width = sum(map(len, group.numbers))
    reachable = {}
    for count, part in enumerate(order[: max(0, group.width - group.least)], 1):
        width -= len(group.numbers[part])
        if width >= step and width % step == 0:
            reachable[width] = tuple(order[:count])
    return reachable


def _alike(steps: Sequence[Ladder], ratio: float) -> list[int]:
    """Every ladder at the width nearest to its share; of two as near, the wider."""

    def distance(ladder: Ladder, rung: int) -> float:
        # A full width stands for the multiple above it: 20 rounded to 8 is 24, which means that nothing leaves.
        rounded = ladder.step * math.ceil(ladder.widths[rung] / ladder.step)
        return abs(rounded - ladder.widths[0] * (1 - ratio))

    return [min(range(len(ladder.widths)), key=lambda rung: distance(ladder, rung)) for ladder in steps]


def _ranked(steps: Sequence[Ladder], ratio: float) -> list[int]:
    """Every step of every ladder in one ranking, and so many taken from its start that the sum is nearest the share.

    Within a ladder the means only grow, so no step comes before the one that it stands on.
    """
    ranking = sorted(
        (mean, at, rung) for at, ladder in enumerate(steps) for rung, mean in enumerate(ladder.means) if rung
    )
    wanted = ratio * sum(ladder.widths[0] * len(ladder.leaving[0]) for ladder in steps)
    removed, rungs = 0, [0] * len(steps)
    for _, at, rung in ranking:
        ladder = steps[at]
        more = (ladder.widths[rungs[at]] - ladder.widths[rung]) * len(ladder.leaving[0])
        if abs(removed + more - wanted) >= abs(removed - wanted):
            break
        removed, rungs[at] = removed + more, rung
    return rungs
