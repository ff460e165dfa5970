"""What each layer loses when only it is cut, without any training after it.

Per layer and ratio as Han et al. 2015 (arXiv 1506.02626), for whole channels as Li et al. 2017 (1608.08710). It says
where a network is fragile, which tells a recipe's scope and the ratios worth searching; it is no forecast of what
training makes good again.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn

from pruneguard.analysis.kinds import WEIGHTS, Team, asked, require_any, teams
from pruneguard.analysis.subject import Subject, difference_document, require_ratios
from pruneguard.errors import InvalidInputError
from pruneguard.evidence import PairedTable
from pruneguard.pruning import budgets, criteria, masks, parts, surgery
from pruneguard.pruning.recipe import Recipe
from pruneguard.reporting import listener

RATIOS = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, slots=True)
class Cut:
    """One layer at one ratio. `saved` is the share of the whole network's weights that this took away.

    `table` is None where no such network could be made; then `reason` says why.
    """

    ratio: float
    saved: float
    table: PairedTable | None
    reason: str = ""

    def to_document(self) -> dict[str, Any]:
        return {"ratio": self.ratio, "saved": self.saved, **difference_document(self.table), "why": self.reason}


@dataclass(frozen=True, slots=True)
class Layer:
    """What was cut alone: a group of parts or one tensor of weights, `width` of them, by its own criterion."""

    kind: str
    name: str
    width: int
    criterion: str
    cuts: tuple[Cut, ...]

    def to_document(self) -> dict[str, Any]:
        facts = {"kind": self.kind, "layer": self.name, "width": self.width, "criterion": self.criterion}
        return facts | {"cuts": [cut.to_document() for cut in self.cuts]}

    def bearable(self, drop_max: float) -> float:
        """The boldest ratio up to which no cut costs more than `drop_max` of accuracy; 0 where even the mildest does.

        >>> mild, bold = PairedTable(98, 0, 1, 1), PairedTable(50, 0, 49, 1)
        >>> Layer("channels", "0", 16, "l2", (Cut(0.1, 0.01, mild), Cut(0.5, 0.1, bold))).bearable(0.02)
        0.1
        """
        boldest = 0.0
        for cut in self.cuts:
            if cut.table is not None and not -cut.table.difference <= drop_max:
                break
            boldest = cut.ratio if cut.table is not None else boldest
        return boldest


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """All layers; `accuracy` is the twin's, on `rows` rows."""

    model: str
    rows: int
    accuracy: float
    ratios: tuple[float, ...]
    layers: tuple[Layer, ...]
    untouched: Mapping[str, str]

    def to_document(self) -> dict[str, Any]:
        return {
            "analysis": "sensitivity",
            "model": self.model,
            "split": "gate",
            "rows": self.rows,
            "twin_accuracy": self.accuracy,
            "ratios": list(self.ratios),
            "layers": [layer.to_document() for layer in self.layers],
            "untouched": dict(self.untouched),
        }


_Made: TypeAlias = tuple[nn.Module, float]
_Make: TypeAlias = Callable[[float], _Made]


def measure(subject: Subject, *, recipe: Recipe | None = None, ratios: Sequence[float] = RATIOS) -> Sensitivity:
    """Cut each layer alone: what the recipe prunes, by its criteria, or every kind of part that there is.

    Widths are not rounded. Raises InvalidInputError for ratios that cannot be, and where nothing can be cut.
    """
    ratios, kinds = require_ratios(ratios), asked(recipe)
    found, untouched = teams(subject, kinds)
    todo = [(Layer(t.part.value, t.name, t.width, t.criterion, ()), make) for t, make in _parts(subject, found)]
    if WEIGHTS in kinds:
        todo += _weights(subject, ratios, criterion=kinds[WEIGHTS])
    require_any(todo, untouched, network=subject.manifest.model)
    bar, count = listener.get().progress("cutting one layer at a time"), len(todo) * len(ratios)
    layers = []
    for number, (layer, make) in enumerate(todo):
        cuts = []
        for ratio in ratios:
            cuts.append(_cut(subject, make, ratio))
            bar(number * len(ratios) + len(cuts), count)
        layers.append(Layer(layer.kind, layer.name, layer.width, layer.criterion, tuple(cuts)))
    return Sensitivity(subject.manifest.model, len(subject.rows), subject.accuracy, ratios, tuple(layers), untouched)


def _cut(subject: Subject, make: _Make, ratio: float) -> Cut:
    try:
        model, saved = make(ratio)
        return Cut(ratio, saved, subject.compared(model))
    except InvalidInputError as error:
        return Cut(ratio, 0.0, None, str(error))


def _parts(subject: Subject, found: Sequence[Team]) -> Iterator[tuple[Team, _Make]]:
    for team in found:
        scores = criteria.scores(
            subject.twin.model,
            team.groups,
            criterion=team.criterion,
            rows=subject.snapshot.train,
            seed=subject.manifest.seed,
        )
        yield team, _narrowing(subject, team, scores)


def _narrowing(subject: Subject, team: Team, scores: Sequence[torch.Tensor]) -> _Make:
    def make(ratio: float) -> _Made:
        chosen = budgets.choose(team.groups, scores, ratio=ratio, scope=budgets.Scope.LAYER, round_to=1)
        twin = subject.twin.model
        kept = surgery.consequence(twin, team.groups, chosen)
        model, _ = parts.cut(twin, removed=surgery.removal(team.groups, chosen), kept=kept)
        surgery.require_alive(twin, model, subject.example)
        return model, 1 - surgery.share_left(twin, kept)

    return make


def _weights(subject: Subject, ratios: Sequence[float], *, criterion: str) -> list[tuple[Layer, _Make]]:
    twin, seed = subject.twin.model, subject.manifest.seed
    total = sum(parameter.numel() for parameter in twin.parameters())
    stays = {r: masks.make(twin, ratio=r, budget="layer", criterion=criterion, seed=seed) for r in ratios}

    def zeroing(name: str) -> _Make:
        def make(ratio: float) -> _Made:
            model, mask = copy.deepcopy(twin), stays[ratio][name]
            masks.apply(model, {name: mask})
            return model, int((~mask).sum()) / total

        return make

    tensors = masks.prunable(twin).items()
    return [(Layer(WEIGHTS, name, tensor.numel(), criterion, ()), zeroing(name)) for name, tensor in tensors]
