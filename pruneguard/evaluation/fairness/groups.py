"""Does the candidate treat groups of people less equally than its twin? Rates by group, and what pruning added.

Groups are the values of the snapshot's `protected` columns, and of every two of them together: what is fair by sex and
by race need not be fair to Black women (Kearns et al. 2018, arXiv:1711.05144). Of two classes, class 1 is the one that
is selected; more than two are held against the rest one by one, and the worst is told.

A rate that rests on fewer than ROWS_MIN rows has no value: it is listed with its rows, and takes part in no gap.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.estimates import unknown
from pruneguard.evaluation.fairness.group_rates import Doubles, GroupRate, calibrated, counted
from pruneguard.evaluation.sessions import predictions, probabilities
from pruneguard.evidence import Estimate, Measurement, PairedTable
from pruneguard.workload import Floats, Integers, Split

ROWS_MIN = 100
"""Rows that a rate has to rest on: of a group, of a group with the label, or of a group selected (precision)."""

RESAMPLES = 1000

GAPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "selection_gap": ("selection_rate",),
        "odds_gap": ("tpr", "fpr"),
        "precision_gap": ("precision",),
        "accuracy_gap": ("accuracy",),
        "calibration_gap": ("calibration",),
    }
)
"""The largest difference between two groups in any of these rates: demographic parity (`selection_gap`; Dwork et al.
2012, arXiv:1104.3913), equalised odds (`odds_gap`; Hardt et al. 2016, arXiv:1610.02413), predictive parity, accuracy,
and calibration in the large."""

Texts: TypeAlias = npt.NDArray[np.str_]


def measure(
    candidate: Floats, twin: Floats, split: Split, *, protected: Sequence[str], seed: int
) -> dict[str, Measurement]:
    """Everything named `fairness.*`, from both models' logits [n, classes]; no inference is made for it.

    `fairness.<gap>` is the candidate's, `twin_<gap>` the twin's, `<gap>_increase` what pruning added where the
    candidate's is widest, from the same resamples. `.slice.<column>` is one column's (or two's, `sex,race`), and the
    whole has the largest end of all: its upper end is a bound on every column at once (intersection-union), its lower
    end is one column's own. `fairness.<rate>.slice.<column>=<value>` is one group's, with `twin_<rate>` and
    `<rate>_change`. Chance alone makes a gap, so intervals of gaps reach too high rather than too low; where no row of
    a group changed, resampling finds no width, though 100 such rows leave room for a loss of 3.6 points.

    `fairness.paired.slice.<column>=<value>,class=<label>` counts the right answers on a group's rows of one label.
    The gate `slices_non_inferior` on them is equalised odds relative to the twin, and stands few rows.

    Raises InvalidInputError when a protected column is no slice column of the split.
    """
    answers = predictions(candidate), predictions(twin)
    stated = probabilities(candidate), probabilities(twin)
    classes = candidate.shape[1]
    gaps: dict[str, dict[str, Estimate]] = {}
    by_group: dict[str, Measurement] = {}
    for column in _columns(split, protected):
        found = counted(
            split.y, answers, column.numbers, classes=classes, resamples=RESAMPLES, seed=seed, rows_min=ROWS_MIN
        )
        found["calibration"] = calibrated(
            split.y, stated, column.numbers, resamples=RESAMPLES, seed=seed, rows_min=ROWS_MIN
        )
        for name, gap in _gaps(found, rows=len(split)).items():
            gaps.setdefault(name, {})[column.name] = gap
        alone = column.name in protected
        by_group |= _by_group(found, column.groups) if alone else {}
        by_group |= _tables(split.y, answers, column, classes=classes, rows_min=1 if alone else ROWS_MIN)
    whole = {name: _widest(tuple(by_column.values())) for name, by_column in gaps.items()}
    sliced = {f"{name}.slice.{column}": gap for name, each in gaps.items() for column, gap in each.items()}
    return {f"fairness.{name}": each for name, each in {**whole, **sliced, **by_group}.items()}


def rates(
    y: Integers,
    predicted: Integers,
    groups: Texts,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    classes: int = 2,
    rows_min: int = ROWS_MIN,
) -> dict[str, Estimate]:
    """One model's rates, `tpr.slice.<group>`, and gaps, `odds_gap`, with 95 % intervals; all arrays are [n]."""
    names, numbers = np.unique(groups, return_inverse=True)
    found = counted(y, (predicted,), numbers, classes=classes, resamples=resamples, seed=seed, rows_min=rows_min)
    return _gaps(found, rows=len(y)) | _by_group(found, names.tolist())


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    """One protected column, or two together: the names of its groups, and each row's number among them."""

    name: str
    groups: tuple[str, ...]
    numbers: Integers

    @classmethod
    def of(cls, name: str, values: Texts) -> "_Column":
        typed, numbers = np.unique(values, return_inverse=True)
        written = [unicodedata.normalize("NFC", f"{name}={value}") for value in typed]
        groups, same = np.unique(written, return_inverse=True)
        return cls(name, tuple(groups.tolist()), same[numbers])

    def crossed(self, other: "_Column") -> "_Column":
        """The groups of both columns that have rows."""
        keys, numbers = np.unique(self.numbers * len(other.groups) + other.numbers, return_inverse=True)
        pairs = [divmod(key, len(other.groups)) for key in keys.tolist()]
        groups = tuple(f"{self.groups[one]},{other.groups[two]}" for one, two in pairs)
        return _Column(f"{self.name},{other.name}", groups, numbers)


def _columns(split: Split, protected: Sequence[str]) -> Iterator[_Column]:
    """The protected columns, and every two of them together."""
    if missing := sorted(set(protected) - split.slices.keys()):
        raise InvalidInputError(
            f"the protected columns {missing} are no slice columns; the split has {sorted(split.slices)}; "
            "change `protected` or `slices` in what the workload's `data` returns"
        )
    columns = [_Column.of(name, split.slices[name]) for name in protected]
    yield from columns
    yield from (one.crossed(other) for one, other in combinations(columns, 2))


def _gaps(found: Mapping[str, GroupRate], *, rows: int) -> dict[str, Estimate]:
    """The widest difference between groups, of every gap whose rates were found."""
    told: dict[str, Estimate] = {}
    for gap, parts in GAPS.items():
        if all(part in found for part in parts):
            drawn = np.maximum.reduce([found[part].gap for part in parts])
            names = (gap, f"twin_{gap}", f"{gap}_increase")[: len(drawn)]
            told |= zip(names, _estimates(drawn.T, np.full(len(drawn), rows)), strict=True)
    return told


def _by_group(found: Mapping[str, GroupRate], groups: Sequence[str]) -> dict[str, Estimate]:
    """Every group's rates."""
    told: dict[str, Estimate] = {}
    for rate, each in found.items():
        for name, drawn in zip((rate, f"twin_{rate}", f"{rate}_change"), each.by_group, strict=False):
            for group, estimate in zip(groups, _estimates(drawn, each.rows), strict=True):
                told[f"{name}.slice.{group}"] = estimate
    return told


def _estimates(values: Doubles, rows: Integers) -> Iterator[Estimate]:
    """Numbers [1 + resamples, numbers] as observed (first), each with the percentiles of it as resampled.

    The interval never leaves out what was observed. `rows` is how many each rests on.
    """
    ends = np.quantile(np.ascontiguousarray(values[1:].T), [0.025, 0.975], axis=1)
    for value, low, high, n in zip(*(each.tolist() for each in (values[0], *ends, rows)), strict=True):
        yield Estimate(value, min(low, value), max(high, value), n) if np.isfinite(value) else unknown(n=n)


def _tables(
    y: Integers, answers: Sequence[Integers], column: _Column, *, classes: int, rows_min: int
) -> Iterator[tuple[str, PairedTable]]:
    """Right and wrong answers of both on a group's rows of one label, for every group with `rows_min` rows."""
    shape = (len(column.groups), classes, 2, 2)
    ours, theirs = (said == y for said in answers)
    cells = np.ravel_multi_index((column.numbers, y, ours.astype(int), theirs.astype(int)), shape)
    counts = np.bincount(cells, minlength=prod(shape)).reshape(shape)
    for group, of_group in zip(column.groups, counts, strict=True):
        for label, ((both_wrong, twin_only), (candidate_only, both_right)) in enumerate(of_group.tolist()):
            table = PairedTable(both_right, candidate_only, twin_only, both_wrong)
            if table.n and of_group.sum() >= rows_min:
                yield f"paired.slice.{group},class={label}", table


def _widest(columns: Sequence[Estimate]) -> Estimate:
    """The largest of each end, over the columns that have one."""
    known = [(each.value, each.low, each.high) for each in columns if each.low is not None and each.high is not None]
    if not known:
        return unknown(n=columns[0].n)
    value, low, high = (max(ends) for ends in zip(*known, strict=True))
    return Estimate(value, low, high, columns[0].n)
