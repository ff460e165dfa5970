"""What each part of a network is worth: the methods there are, as data, and the one way to ask for their scores."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import watching, weighing
from pruneguard.pruning.group import Group, Part
from pruneguard.pruning.parts import attention, trying
from pruneguard.workload import Split

ROWS_MAX = 1024
"""More rows than this are sampled; an order of parts settles long before."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One way to say what a part is worth.

    `parts` are the kinds that it fits. `scaled` says that every group's scores are brought to mean one, because they
    have a unit of their own; the others compare across groups as they are.
    """

    doc: str
    paper: str
    parts: frozenset[Part]
    needs_rows: bool
    scaled: bool
    score: Callable[[nn.Module, Sequence[Group], Split | None, int], list[torch.Tensor]]


_EVERY = frozenset(Part)
_WIDE = frozenset({Part.CHANNELS, Part.NEURONS, Part.HEADS, Part.UNITS})


def _drawn(model: nn.Module, groups: Sequence[Group], rows: Split | None, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(group.width, generator=generator, dtype=torch.float64) for group in groups]


def _on_rows(
    score: Callable[[nn.Module, Sequence[Group], Split], list[torch.Tensor]],
) -> Callable[[nn.Module, Sequence[Group], Split | None, int], list[torch.Tensor]]:
    def scored(model: nn.Module, groups: Sequence[Group], rows: Split | None, seed: int) -> list[torch.Tensor]:
        assert rows is not None  # `scores` has seen to it
        return score(model, groups, _sample(rows, seed))

    return scored


CRITERIA: Mapping[str, Criterion] = {
    "l1": Criterion(
        doc="sum of absolute weights over everything that goes with the part",
        paper="Li et al. 2017, arXiv 1608.08710; over whole groups as Fang et al. 2023, arXiv 2301.12900",
        parts=_EVERY,
        needs_rows=False,
        scaled=True,
        score=lambda model, groups, rows, seed: weighing.norms(model, groups, power=1),
    ),
    "l2": Criterion(
        doc="sum of squared weights over everything that goes with the part",
        paper="Li et al. 2017, arXiv 1608.08710; over whole groups as Fang et al. 2023, arXiv 2301.12900",
        parts=_EVERY,
        needs_rows=False,
        scaled=True,
        score=lambda model, groups, rows, seed: weighing.norms(model, groups, power=2),
    ),
    "taylor": Criterion(
        doc="squared change of the loss without the part, to first order: (sum of gradient * weight)^2",
        paper="Molchanov et al. 2019, arXiv 1906.10771; for heads as Michel et al. 2019, arXiv 1905.10650",
        parts=_EVERY,
        needs_rows=True,
        scaled=False,
        score=_on_rows(weighing.taylor),
    ),
    "fpgm": Criterion(
        doc="sum of distances to the weights of the other parts: what lies in their midst can be replaced by them",
        paper="He et al. 2019, arXiv 1811.00250",
        parts=_WIDE,
        needs_rows=False,
        scaled=True,
        score=lambda model, groups, rows, seed: weighing.distances(model, groups),
    ),
    "mrmr": Criterion(
        doc="order of selection by what a part tells about the class and the selected parts do not tell already",
        paper="Peng, Long and Ding 2005, doi 10.1109/TPAMI.2005.159",
        parts=_WIDE,
        needs_rows=True,
        scaled=True,
        score=_on_rows(watching.relevance),
    ),
    "influence": Criterion(
        doc="1 - mean cosine between what goes into the block and what comes out",
        paper="Men et al. 2024 (ShortGPT), arXiv 2403.03853",
        parts=frozenset({Part.BLOCKS}),
        needs_rows=True,
        scaled=False,
        score=_on_rows(watching.influence),
    ),
    "usage": Criterion(
        doc="mean probability that the router gives the expert, times the mean norm of the expert's output",
        paper="Lu et al. 2024, arXiv 2402.14800; Lasby et al. 2025 (REAP), arXiv 2510.13999",
        parts=frozenset({Part.EXPERTS}),
        needs_rows=True,
        scaled=True,
        score=_on_rows(watching.usage),
    ),
    "random": Criterion(
        doc="a draw: the control that every other criterion has to beat",
        paper="Blalock et al. 2020 (ShrinkBench), arXiv 2003.03033",
        parts=_EVERY,
        needs_rows=False,
        scaled=False,
        score=_drawn,
    ),
}


def default(part: Part) -> str:
    """The criterion for a kind of part where nobody asks for another."""
    return {Part.HEADS: "taylor", Part.BLOCKS: "influence", Part.EXPERTS: "usage"}.get(part, "l2")


def scores(
    model: nn.Module, groups: Sequence[Group], *, criterion: str, rows: Split | None, seed: int
) -> list[torch.Tensor]:
    """What the parts of each group are worth: float64 [width] each, comparable across groups; the lowest leaves first.

    `model` is left as it was. `rows` are looked at by criteria that need some, in evaluation mode, at most `ROWS_MAX`
    of them; `seed` draws those, and the scores of `random`.

    Raises InvalidInputError for an unknown criterion, one that does not fit a group's kind of part, missing or unfit
    rows, and weights, activations or gradients that are not finite.
    """
    known = _known(criterion, groups)
    if known.needs_rows and (rows is None or not len(rows)):
        raise InvalidInputError(
            f"the criterion {criterion!r} looks at rows and was given none; give it rows of the training split, "
            f"or use one of {sorted(name for name, other in CRITERIA.items() if not other.needs_rows)}"
        )
    weighing.require_finite(model, groups)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # a forward of the user's may draw even in evaluation mode
        found = known.score(_watchable(model, groups), groups, rows, seed)
    for group, values in zip(groups, found, strict=True):
        if not torch.isfinite(values).all():
            raise InvalidInputError(
                f"the scores of {group.root} under {criterion!r} are not finite: gradients or activations overflow; "
                "look for extreme values in the rows, or train with a lower learning rate"
            )
    return [_to_mean_one(values) for values in found] if known.scaled else found


def _watchable(model: nn.Module, groups: Sequence[Group]) -> nn.Module:
    """A copy in evaluation mode that calls each of its modules: torch's own attention and encoder call past some."""
    copied = copy.deepcopy(model).eval()
    trying.without_nesting(copied)
    attention.reshape(copied, {group.root: () for group in groups if group.part is Part.HEADS})
    return copied


def _known(criterion: str, groups: Sequence[Group]) -> Criterion:
    if criterion not in CRITERIA:
        raise InvalidInputError(f"no criterion is called {criterion!r}; there are {sorted(CRITERIA)}")
    for part in sorted({group.part for group in groups} - CRITERIA[criterion].parts):
        fitting = sorted(name for name, other in CRITERIA.items() if part in other.parts)
        raise InvalidInputError(f"the criterion {criterion!r} does not fit {part.value}; expected one of {fitting}")
    return CRITERIA[criterion]


def _to_mean_one(values: torch.Tensor) -> torch.Tensor:
    mean = values.mean()
    return values / mean if mean > 0 else values


def _sample(rows: Split, seed: int) -> Split:
    if len(rows) <= ROWS_MAX:
        return rows
    drawn = np.sort(np.random.default_rng(seed).choice(len(rows), ROWS_MAX, replace=False))
    return Split(rows.x[drawn], rows.y[drawn])
