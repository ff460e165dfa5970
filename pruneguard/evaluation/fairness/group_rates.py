"""Rates of groups of rows, and the largest differences between them, as observed and as resampled.

Rates follow from how many rows of each group have which label and which answers. Drawing rows with replacement (Efron
1979) draws those counts from a multinomial distribution, so counts are drawn, and no row is touched.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pruneguard.workload import Integers

_HELD = 2**21
"""Drawn counts held in memory at once."""

Doubles: TypeAlias = npt.NDArray[np.float64]

WORST: Mapping[str, Callable[[Doubles], Doubles]] = MappingProxyType(
    {
        "selection_rate": np.positive,
        "tpr": np.negative,
        "fpr": np.positive,
        "precision": np.negative,
        "accuracy": np.negative,
        "calibration": np.abs,
    }
)
"""The rates, each with what is highest at the class that is told where there are several."""


@dataclass(frozen=True, slots=True, eq=False)
class GroupRate:
    """One rate, as observed (first) and as resampled: of one model, or of two and what the first has more.

    `by_group` [1 or 3, 1 + resamples, groups] is of the class where the first model's rate is worst, NaN where a group
    has too few rows. `gap` [1 or 3, 1 + resamples] is the largest difference between two groups that have enough, over
    all classes; NaN without two such groups. `rows` [groups] are the rows that `by_group` rests on.

    What the first model's gap has more is counted between the two groups that are furthest apart in the first model:
    its difference there minus the second's. The difference of both gaps would be too small by what chance adds to the
    second one.
    """

    by_group: Doubles
    gap: Doubles
    rows: Integers


def counted(
    y: Integers,
    answers: Sequence[Integers],
    groups: Integers,
    *,
    classes: int,
    resamples: int,
    seed: int,
    rows_min: int,
) -> dict[str, GroupRate]:
    """The rates that counts say, of several models' answers to the same rows; all arrays are [n], groups from 0."""
    cells, counts = _cells(y, answers, groups, classes)
    tally = _Tally.of(cells, classes)
    rng = np.random.default_rng(seed)
    observed = tally.fractions(counts[None])
    drawn = (
        tally.fractions(rng.multinomial(len(y), counts / len(y), size=size))
        for size in _chunks(resamples, each=max(len(counts), tally.marks.shape[1] * len(tally.ends)))
    )
    rows = {name: below[:, 0].min(axis=0).astype(np.int64) for name, (_, below) in observed.items()}
    looks = ({name: _over(*each) for name, each in look.items()} for look in chain([observed], drawn))
    return _told(looks, rows, rows_min)


def calibrated(
    y: Integers,
    stated: Sequence[Doubles],
    groups: Integers,
    *,
    resamples: int,
    seed: int,
    rows_min: int,
) -> GroupRate:
    """`calibration`: a group's mean stated probability of a class, minus the share of its rows that have that label.

    `stated` are several models' probabilities [n, classes] for the same rows. No counts say it, so a resample is a
    normal draw with the group's own mean and covariance, which is what a mean of ROWS_MIN rows comes to.
    """
    looked = _looked(stated[0].shape[1])
    gaps = np.stack([p[:, looked] - (y[:, None] == looked) for p in stated], axis=1)  # [n, models, classes]
    members = [gaps[groups == group] for group in range(groups.max() + 1)]
    means = np.stack([each.mean(axis=0) for each in members], axis=1)[:, None]  # [models, 1, groups, classes]
    roots = [_root(each.reshape(len(each), -1)) for each in members]
    rng = np.random.default_rng(seed)

    def drawn(size: int) -> Doubles:
        scatter = [(rng.standard_normal((size, len(root))) @ root).reshape(size, *gaps.shape[1:]) for root in roots]
        noisy: Doubles = means + np.stack(scatter, axis=2).swapaxes(0, 1)
        return noisy

    rows = np.repeat([[len(each)] for each in members], len(looked), axis=1)
    looks = ({"calibration": each} for each in chain([means], map(drawn, _chunks(resamples, each=means.size))))
    return _told(looks, {"calibration": rows}, rows_min)["calibration"]


def _cells(y: Integers, answers: Sequence[Integers], groups: Integers, classes: int) -> tuple[Integers, Integers]:
    """The group, label and answers that occur [cells, 2 + models], and how often [cells]."""
    shape = (groups.max() + 1, classes, *[classes + 1] * len(answers))
    keys = np.ravel_multi_index((groups, y, *(answer + 1 for answer in answers)), shape)  # NO_ANSWER is -1
    seen, counts = np.unique(keys, return_counts=True)
    group, label, *said = np.unravel_index(seen, shape)
    return np.stack([group, label, *(each - 1 for each in said)], axis=1), counts


@dataclass(frozen=True, slots=True, eq=False)
class _Tally:
    """How many rows of a group stand for what, as sums over its cells.

    `marks` [cells, numbers] says which cells count for which number, a group's cells being those up to its end: all of
    its rows; those with a class as label; and for each model those with a class as answer, with both, and those
    answered right. `classes` are those looked at.
    """

    marks: Doubles
    ends: tuple[int, ...]
    classes: int
    models: int

    @classmethod
    def of(cls, cells: Integers, classes: int) -> "_Tally":
        """For cells in the order of their groups, as `_cells` gives them."""
        group, label, answers = cells[:, 0], cells[:, 1:2], cells[:, 2:]
        looked = _looked(classes)
        has = label == looked
        marks = [np.ones_like(label), has]
        for said in answers.T[..., None]:
            marks += [said == looked, (said == looked) & has, said == label]
        ends = np.searchsorted(group, np.arange(group.max() + 1), side="right")
        return cls(np.concatenate(marks, axis=1).astype(np.float64), tuple(ends), len(looked), answers.shape[1])

    def fractions(self, counts: Integers) -> dict[str, tuple[Doubles, Doubles]]:
        """What stands above and below the line of every rate, [models, draws, groups, classes], of drawn counts."""
        drawn, starts = counts.astype(np.float64), (0, *self.ends)
        sums = [drawn[:, one:end] @ self.marks[one:end] for one, end in pairwise(starts)]
        widths = (1, self.classes, *(self.classes, self.classes, 1) * self.models)
        rows, positive, *said = np.split(np.stack(sums, axis=1), np.cumsum(widths)[:-1], axis=2)
        selected, hits, right = (np.stack(said[each::3]) for each in range(3))
        parts = {
            "selection_rate": (selected, rows),
            "tpr": (hits, positive),
            "fpr": (selected - hits, rows - positive),
            "precision": (hits, selected),
            "accuracy": (right, rows),
        }
        return {name: (above, np.broadcast_to(below, above.shape)) for name, (above, below) in parts.items()}


def _told(looks: Iterator[Mapping[str, Doubles]], rows: Mapping[str, Integers], rows_min: int) -> dict[str, GroupRate]:
    """Rates [models, draws, groups, classes], the observed ones first, brought down to what is told of them."""
    observed = next(looks)
    tested = {name: each >= rows_min for name, each in rows.items()}
    worst = {
        name: np.where(tested[name], WORST[name](value[0, 0]), -np.inf).argmax(axis=1)
        for name, value in observed.items()
    }
    by_group: dict[str, list[Doubles]] = {name: [] for name in observed}
    gaps: dict[str, list[Doubles]] = {name: [] for name in observed}
    for look in chain([observed], looks):
        for name, value in look.items():
            known = np.where(tested[name], value, np.nan)[..., np.arange(value.shape[2]), worst[name]]
            by_group[name].append(np.concatenate([known, known[:1] - known[1:]]))
            gaps[name].append(_gaps(value, tested[name]))
    return {
        name: GroupRate(
            np.concatenate(by_group[name], axis=1),
            np.concatenate(gaps[name], axis=1),
            rows[name][np.arange(len(rows[name])), worst[name]],
        )
        for name in observed
    }


def _gaps(value: Doubles, tested: npt.NDArray[np.bool_]) -> Doubles:
    """Differences as in `GroupRate.gap`, of rates [models, draws, groups, classes] between the groups tested."""
    comparable = tested.sum(axis=0) >= 2
    if not comparable.any():
        return np.full((2 * len(value) - 1, value.shape[1]), np.nan)
    # Draws go last: what is done to each of them alike is then done to many at once.
    value = np.ascontiguousarray(value[..., comparable].transpose(0, 2, 3, 1))
    tested = tested[:, comparable, None]
    highest, lowest = np.where(tested, value, -np.inf), np.where(tested, value, np.inf)
    gaps = highest.max(axis=1) - lowest.min(axis=1)
    if len(value) == 2:
        apart = highest[0].argmax(axis=0, keepdims=True), lowest[0].argmin(axis=0, keepdims=True)
        up, down = (np.take_along_axis(value[1], each, axis=0)[0] for each in apart)
        gaps = np.concatenate([gaps, (gaps[0] - (up - down))[None]])
    widest: Doubles = gaps.max(axis=1)
    return widest


def _root(members: Doubles) -> Doubles:
    """A matrix whose product with standard normals scatters like the mean of these rows [rows, numbers]."""
    centred = members - members.mean(axis=0)
    _, triangle = np.linalg.qr(centred)
    return triangle / len(members)


def _over(above: Doubles, below: Doubles) -> Doubles:
    with np.errstate(divide="ignore", invalid="ignore"):
        return above / below


def _looked(classes: int) -> Integers:
    """The classes that are held against the rest: of two, one says everything."""
    return np.arange(classes) if classes > 2 else np.array([1])


def _chunks(resamples: int, *, each: int) -> list[int]:
    """How many resamples are held at once, of so many numbers each."""
    most = max(1, _HELD // each)
    return [min(most, resamples - start) for start in range(0, resamples, most)]
