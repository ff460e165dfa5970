"""Slices that nobody named: where the candidate loses most, found on half of the rows and judged on the rest.

A shallow tree splits the rows by what the candidate lost, so that a slice has a name: `class=3 and confidence up to
0.62`. Slices by a search over simple conditions: Chung 2019 (Slice Finder, arXiv:1807.06068).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.correctness.quality import paired, slices
from pruneguard.evaluation.marking import BY_CLASS, Marking, numbers
from pruneguard.evaluation.resampling import Doubles
from pruneguard.evaluation.sessions import probabilities
from pruneguard.evidence import Measurement
from pruneguard.workload import Floats, Kind, Split

ROWS_MIN = 30
"""Rows of either half below which a slice is not looked for."""

SLICES_MAX = 4
CONDITIONS_MAX = 3

ALL = "all rows"

Mask = npt.NDArray[np.bool_]


def measure(
    logits: tuple[Floats, Floats], split: Split, *, kind: Kind, seed: int, marking: Marking = BY_CLASS
) -> dict[str, Measurement]:
    """`quality.found.paired` on half of the rows, and below it the slices that were found on the other half.

    The rows that say where to look are not among those that are counted, and the number of slices is at most
    `SLICES_MAX`, whatever was found: Holm's test over the slices keeps its level (Cox 1975, Biometrika 62, 441-444).
    Where no slice stands out there is one, `all rows`. Costs no pass.

    The conditions are about the slice columns and the label, the twin's confidence, or its answer where that is a
    number, of images the mean and the
    standard deviation of the pixels, of tables every feature by its number. What all models share is therefore not
    blamed on pruning: the tree is fitted to who was right, the twin minus the candidate.
    """
    ours, theirs = (marking.right(each, split.y) for each in logits)
    named = dict(_conditions(logits[1], split, kind))
    finding = np.zeros(len(split), dtype=bool)
    finding[np.random.default_rng(seed).permutation(len(split))[: len(split) // 2]] = True
    found: dict[str, Measurement] = {"quality.found.paired": paired(ours[~finding], theirs[~finding])}
    for name, rows in _slices(named, theirs.astype(np.float64) - ours, finding, seed=seed).items():
        judged = rows & ~finding
        found[f"quality.found.paired.slice.{name}"] = paired(ours[judged], theirs[judged])
    return found


def _conditions(twin: Floats, split: Split, kind: Kind) -> Iterator[tuple[str, Doubles | Mask]]:
    """What a row can be told by: a mask where it has a property or not, else a number."""
    yield from ((name, rows) for name, rows in slices(split) if rows.sum() >= 2 * ROWS_MIN)
    if twin.shape[1] > 1:
        yield "confidence", np.nan_to_num(probabilities(twin).max(axis=1))
    else:
        yield "answer", np.nan_to_num(numbers(twin))
    flat = split.x.reshape(len(split), -1)
    if kind == "images":
        yield "brightness", flat.mean(axis=1, dtype=np.float64)
        yield "contrast", flat.std(axis=1, dtype=np.float64)
    elif kind == "table":
        yield from ((f"feature {number}", values.astype(np.float64)) for number, values in enumerate(flat.T))


def _slices(named: Mapping[str, Doubles | Mask], lost: Doubles, finding: Mask, *, seed: int) -> dict[str, Mask]:
    """Names of the parts of all rows into which a tree divides those of `finding` by what was lost there."""
    from sklearn.tree import DecisionTreeRegressor  # half a second to import, for one family

    seen = np.stack(list(named.values()), axis=1).astype(np.float32)
    if finding.sum() < 2 * ROWS_MIN or not np.isfinite(seen).all():
        return {ALL: np.ones(len(finding), dtype=bool)}
    tree = DecisionTreeRegressor(
        max_leaf_nodes=SLICES_MAX, max_depth=CONDITIONS_MAX, min_samples_leaf=ROWS_MIN, random_state=seed
    ).fit(seen[finding], lost[finding])
    leaves = tree.apply(seen)
    parts: dict[str, Mask] = {}
    for leaf, name in _named_leaves(tree.tree_, named):
        parts[name] = parts.get(name, False) | (leaves == leaf)  # two that read alike are one
    return parts


def _named_leaves(tree: Any, named: Mapping[str, Doubles | Mask]) -> Iterator[tuple[int, str]]:
    """The leaves of scikit-learn's tree and what is true of the rows in them, the last word on each column alone."""
    columns = list(named)
    waiting: list[tuple[int, dict[str, str]]] = [(0, {})]
    while waiting:
        node, told = waiting.pop()
        if tree.children_left[node] < 0:
            yield node, " and ".join(told.values()) or ALL
            continue
        column, threshold = columns[tree.feature[node]], f"{tree.threshold[node]:.4g}"
        marked = named[column].dtype == np.bool_
        low, high = (
            (f"not {column}", column) if marked else (f"{column} up to {threshold}", f"{column} over {threshold}")
        )
        waiting.append((tree.children_left[node], told | {f"{column} low": low}))
        waiting.append((tree.children_right[node], told | {f"{column} high": high}))
