"""A copy of the twin on its way to a candidate, and what has been done to it so far."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from pruneguard import canonical
from pruneguard.pruning import masks, surgery, weights
from pruneguard.pruning.lineage import Factors, Kept, Lineage, Mask, Removed, Round, Rows, composed, joined
from pruneguard.pruning.masks import Masks
from pruneguard.pruning.parts.group import Group


@dataclass(frozen=True, slots=True, eq=False)
class Workpiece:
    """The network as it is now, and how it came out of `dense`. Every act returns another; the twin is never touched.

    `start` are the weights that the places are counted in: those of `dense`, or of an earlier moment of its training.
    """

    model: nn.Module
    dense: nn.Module
    start: weights.State
    kept: Kept
    sources: Mapping[str, str]
    removed: Removed = field(default_factory=dict)
    masks: Masks = field(default_factory=dict)
    factored: Mapping[str, Factors] = field(default_factory=dict)
    untouched: Mapping[str, str] = field(default_factory=dict)
    rounds: tuple[Round, ...] = ()
    rows: Rows | None = None

    @classmethod
    def of(cls, twin: nn.Module) -> "Workpiece":
        """Raises InvalidInputError for a network that no method can work on."""
        weights.refuse_unprunable(twin)
        state = {name: tensor.detach().clone() for name, tensor in twin.state_dict().items()}
        whole = {name: (None,) * tensor.dim() for name, tensor in state.items()}
        return cls(copy.deepcopy(twin), twin, state, whole, {name: name for name in state})

    def cut(self, groups: Sequence[Group], chosen: surgery.Chosen) -> "Workpiece":
        """Without the chosen parts."""
        removed = surgery.removal(groups, chosen)
        kept = surgery.consequence(self.model, groups, chosen)
        model, names = surgery.cut(self.model, removed=removed, kept=kept)
        return replace(
            self,
            model=model,
            kept=composed(self.kept, kept, names),
            sources={name: self.sources[before] for name, before in names.items()},
            removed=joined(self.removed, self._in_dense(removed)),
        )

    def masked(self, found: Masks) -> "Workpiece":
        """With only the masked weights zero."""
        model = copy.deepcopy(self.model)
        masks.apply(model, found)
        return replace(self, model=model, masks=found)

    def rewound(self, early: weights.State) -> "Workpiece":
        """With what stays put back to what it was at an earlier moment of the twin's training; places count from there.

        Lottery tickets: Frankle & Carbin 2018 (arXiv 1803.03635), Frankle et al. 2020 (1912.05671).
        """
        back = replace(self, model=copy.deepcopy(self.model), start=early)
        back.model.load_state_dict(back._places())
        return back

    def told(self, untouched: Mapping[str, str]) -> "Workpiece":
        """Knowing of more layers that a step could not reach."""
        return replace(self, untouched={**self.untouched, **untouched})

    def lineage(self, *, recipe: Sequence[Mapping[str, Any]], ratio: float, seed: int) -> Lineage:
        """How this came to be."""
        names = {name: source for name, source in self.sources.items() if name != source}
        # What a recipe could not reach at one step another may have cut: such a layer is not untouched.
        cut = {name.rpartition(".")[0] for name, axes in self.kept.items() if any(axis is not None for axis in axes)}
        cut |= {name.rpartition(".")[0] for name in self.masks} | self.masks.keys() | self.factored.keys()
        return Lineage(
            dense=weights.digest(self.dense),
            start=canonical.digest(weights.save(self.start)),
            weights=canonical.digest(weights.save(self._places())),
            recipe=tuple(recipe),
            ratio=ratio,
            seed=seed,
            shapes={name: tuple(tensor.shape) for name, tensor in self.start.items()},
            kept=self.kept,
            removed=self.removed,
            sources=names,
            stored=canonical.digest(masks.pack(self.masks)) if self.masks else None,
            masks={
                name: Mask(canonical.digest(masks.bits(mask)), tuple(mask.shape), int(mask.sum()))
                for name, mask in self.masks.items()
            },
            factored=self.factored,
            untouched={name: why for name, why in self.untouched.items() if name not in cut},
            rounds=self.rounds,
            rows=self.rows,
        )

    def _in_dense(self, removed: Removed) -> Removed:
        """The same by the dense network's names: what is inside an expert moves up with it."""

        def root_of(root: str) -> str:
            ends = ((source, name[len(root) :]) for name, source in self.sources.items() if name.startswith(f"{root}."))
            return next((source.removesuffix(end) for source, end in ends if source.endswith(end)), root)

        return {part: {root_of(root): gone for root, gone in roots.items()} for part, roots in removed.items()}

    def _places(self) -> dict[str, torch.Tensor]:
        """The start's own entries at the places that stayed."""
        places = {name: surgery.gather(self.start[self.sources[name]], axes) for name, axes in self.kept.items()}
        # Not a product: that would leave -0.0 where a negative weight was.
        return places | {name: places[name].masked_fill(~mask, 0) for name, mask in self.masks.items()}
