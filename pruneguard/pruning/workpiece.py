"""A copy of the twin on its way to a candidate, and what has been done to it so far."""

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import torch
from torch import nn

from pruneguard import canonical
from pruneguard.pruning import masks, parts, surgery, weights
from pruneguard.pruning.group import Group
from pruneguard.pruning.lineage import (
    Factors,
    Indices,
    Kept,
    Lineage,
    Mask,
    Part,
    Removed,
    Round,
    Rows,
    composed,
    joined,
)
from pruneguard.pruning.masks import Masks

UNASKED = "no step of the recipe takes anything of it"


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
    epochs: int = 0

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
        model, names = parts.cut(self.model, removed=removed, kept=kept)
        sources = {name: self.sources[before] for name, before in names.items()}
        return replace(
            self,
            model=model,
            kept=composed(self.kept, kept, names),
            sources=sources,
            removed=_told_once(joined(self.removed, self._in_dense(removed)), set(sources.values())),
        )

    def masked(self, found: Masks) -> "Workpiece":
        """With only the masked weights zero."""
        model = copy.deepcopy(self.model)
        masks.apply(model, found)
        return replace(self, model=model, masks=found)

    def started(self, model: nn.Module, stays: Masks) -> "Workpiece":
        """As another network of the twin's shape: places count from its weights."""
        state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        return replace(self, model=model, start=state, masks=stays)

    def rewound(self, early: weights.State) -> "Workpiece":
        """With what stays put back to what it was at an earlier moment of the twin's training; places count from there.

        Lottery tickets: Frankle & Carbin 2018 (arXiv 1803.03635), Frankle et al. 2020 (1912.05671).
        """
        back = replace(self, model=copy.deepcopy(self.model), start=early)
        back.model.load_state_dict(back._places())
        return back

    def told(self, untouched: Mapping[str, str]) -> "Workpiece":
        """Knowing of more layers that a step could not reach, by the names they have now."""
        return replace(
            self, untouched={**self.untouched, **{self._dense_name(at): why for at, why in untouched.items()}}
        )

    def lineage(self, *, recipe: Sequence[Mapping[str, Any]], ratio: float, seed: int) -> Lineage:
        """How this came to be."""
        names = {name: source for name, source in self.sources.items() if name != source}
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
            untouched=self._whole(),
            rounds=self.rounds,
            rows=self.rows,
            epochs=self.epochs,
        )

    def _in_dense(self, removed: Removed) -> Removed:
        return {part: {self._dense_name(root): gone for root, gone in roots.items()} for part, roots in removed.items()}

    def _dense_name(self, name: str) -> str:
        """What a module or tensor is called in the dense network: what is inside an expert moves up with it."""
        if name in self.sources:
            return self.sources[name]
        ends = ((source, now[len(name) :]) for now, source in self.sources.items() if now.startswith(f"{name}."))
        return next((source.removesuffix(end) for source, end in ends if source.endswith(end)), name)

    def _whole(self) -> dict[str, str]:
        """The layers whose weights are all still there, and why: what a step said of them, or that none was for them.

        What one step could not reach another may have cut; such a layer is not among them.
        """
        touched = {self.sources[name] for name, axes in self.kept.items() if any(axis is not None for axis in axes)}
        touched |= {self.sources[name] for name, mask in self.masks.items() if not mask.all()}
        touched |= {self.sources[f"{layer}.weight"] for layer in self.factored}
        if not (touched or self.removed):  # steps that take nothing away leave nothing out
            return dict(self.untouched)
        here = set(self.sources.values()) - touched
        reasons = {}
        for name, weight in self.dense.named_parameters():
            if weight.dim() > 1 and name in here:
                told = [at for at in accumulate(name.split("."), "{}.{}".format) if at in self.untouched]
                for at in told or [name.rpartition(".")[0] or name]:
                    reasons[at] = self.untouched.get(at, UNASKED)
        return reasons

    def _places(self) -> dict[str, torch.Tensor]:
        """The start's own entries at the places that stayed."""
        places = {name: surgery.gather(self.start[self.sources[name]], axes) for name, axes in self.kept.items()}
        # Not a product: that would leave -0.0 where a negative weight was.
        return places | {name: places[name].masked_fill(~mask, 0) for name, mask in self.masks.items()}


def _told_once(removed: Removed, here: Collection[str]) -> dict[str, dict[str, Indices]]:
    """What left, without that of modules that have left since with the block or expert that they were in."""

    def stands(part: str, root: str) -> bool:
        inside = f"{root}." if root else ""
        # Nothing needs be left in a list of blocks for it to stand.
        return part == Part.BLOCKS or any(name.startswith(inside) for name in here)

    still = {
        part: {root: gone for root, gone in roots.items() if stands(part, root)} for part, roots in removed.items()
    }
    return {part: roots for part, roots in still.items() if roots}
