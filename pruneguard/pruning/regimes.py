"""What happens around each step of an optimiser while a network is pruned: masks that hold, grow, splice or move.

`training.fit` calls a regime twice a step. Between the steps the network is masked, so whatever it answers, is measured
on or leaves behind is what will be deployed. Where a schedule leads to a ratio, the masks are final after
`SETTLED` of the steps, and what is left of the training belongs to the weights that stay.

A regime is for one training; where masks grow, they are empty before the first step.
"""

import math
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import masks
from pruneguard.pruning.masks import Masks

SETTLED = 0.7
"""Share of the steps after which no mask changes."""


class Regime(Protocol):
    """Steps count from 0 to `steps - 1`."""

    @property
    def masks(self) -> Masks:
        """What stays, as it stands after the last step."""

    def before(self, model: nn.Module, step: int, steps: int) -> None:
        """Gradients are there, weights have not moved."""

    def after(self, model: nn.Module, step: int, steps: int) -> None:
        """The optimiser has moved the weights."""


class Held:
    """Masked weights stay zero, whatever weight decay or momentum would make of them.

    The network has to be masked already (`masks.apply`): training starts with a forward pass.
    """

    def __init__(self, held: Masks) -> None:
        self.masks = held

    def before(self, model: nn.Module, step: int, steps: int) -> None: ...

    def after(self, model: nn.Module, step: int, steps: int) -> None:
        masks.apply(model, self.masks)


class Gradual:
    """Automated gradual pruning: the ratio grows along a cubic, and what is masked does not come back.

    Zhu & Gupta 2017 (arXiv 1710.01878). `every` so many steps the masks are made anew by magnitude and `budget`.
    """

    def __init__(self, end: float, *, start: float = 0.0, budget: str = "global", every: int = 10) -> None:
        _refuse(end, start, budget, every)
        self.end, self.start, self.budget, self.every = end, start, budget, every
        self.masks: Masks = {}

    def before(self, model: nn.Module, step: int, steps: int) -> None: ...

    def after(self, model: nn.Module, step: int, steps: int) -> None:
        if _due(step, steps, self.every):
            ratio, magnitudes = cubic(step, steps, self.start, self.end), masks.magnitudes(model)
            self.masks = masks.share(model, magnitudes, ratio=ratio, budget=self.budget, within=self.masks)
        masks.apply(model, self.masks)


class Splicing:
    """Dynamic network surgery: all weights learn, masked ones are kept in mind and come back when they have grown.

    Guo et al. 2016 (arXiv 1608.04493). A weight leaves below 0.9 and returns from 1.1 of the threshold; between, it
    stays as it is. The threshold is the one at which `ratio` is met exactly. Masks change with a probability that falls
    as (1 + decay * step) ** -1.
    """

    BAND = (0.9, 1.1)

    def __init__(self, ratio: float | None, *, budget: str = "global", decay: float = 0.01, seed: int = 0) -> None:
        masks.refuse(ratio, budget)
        self.ratio, self.budget, self.decay = ratio, budget, decay
        self.masks: Masks = {}
        self._generator = torch.Generator().manual_seed(seed)
        self._hidden = _Hidden()

    def before(self, model: nn.Module, step: int, steps: int) -> None:
        self._hidden.restore(model)

    def after(self, model: nn.Module, step: int, steps: int) -> None:
        drawn = float(torch.rand((), generator=self._generator)) < 1 / (1 + self.decay * step)
        if step == _final(steps) or (drawn and step < _final(steps)):
            self.masks = masks.share(model, self._scores(model), ratio=self.ratio, budget=self.budget)
        self._hidden.hide(model, self.masks)

    def _scores(self, model: nn.Module) -> masks.Scores:
        """What stays leaves when |w| / 0.9 < t, what is masked returns when |w| / 1.1 >= t: one threshold for both."""
        return {
            name: magnitude / (torch.where(self.masks[name], *self.BAND) if name in self.masks else self.BAND[0])
            for name, magnitude in masks.magnitudes(model).items()
        }


class Movement:
    """Movement pruning: weights that the loss moves towards zero leave, however large they are.

    Sanh et al. 2020 (arXiv 2005.07683). Scores gather -weight * gradient, for masked weights too, so that one of them
    may return; the weights below the share that a cubic prescribes are masked. Meant for a trained network.
    """

    def __init__(self, end: float, *, budget: str = "global", every: int = 10) -> None:
        _refuse(end, 0.0, budget, every)
        self.end, self.budget, self.every = end, budget, every
        self.masks: Masks = {}
        self._scores: dict[str, torch.Tensor] = {}
        self._hidden = _Hidden()

    def before(self, model: nn.Module, step: int, steps: int) -> None:
        self._hidden.restore(model)
        for name, parameter in masks.prunable(model).items():
            score = self._scores.setdefault(name, torch.zeros(parameter.shape, dtype=torch.float64))
            if parameter.grad is not None:
                score -= parameter.detach().double() * parameter.grad.double()
                if name in self.masks:
                    parameter.grad.masked_fill_(~self.masks[name], 0)

    def after(self, model: nn.Module, step: int, steps: int) -> None:
        if _due(step, steps, self.every):
            ratio = cubic(step, steps, 0.0, self.end)
            self.masks = masks.share(model, self._scores, ratio=ratio, budget=self.budget)
        self._hidden.hide(model, self.masks)


def cubic(step: int, steps: int, start: float, end: float) -> float:
    """The ratio after a step: end + (start - end) (1 - t)^3, where t reaches 1 when masks are to be final.

    >>> [round(cubic(step, 100, 0.0, 0.8), 3) for step in (-1, 13, 34, 69, 99)]
    [0.0, 0.39, 0.7, 0.8, 0.8]
    """
    progress = min(1.0, (step + 1) / (SETTLED * steps))
    return end + (start - end) * (1 - progress) ** 3


def _final(steps: int) -> int:
    """The step with which masks become final."""
    return max(1, math.ceil(SETTLED * steps)) - 1


def _due(step: int, steps: int, every: int) -> bool:
    return step == _final(steps) or (step < _final(steps) and (step + 1) % every == 0)


def _refuse(end: float, start: float, budget: str, every: int) -> None:
    if masks.pattern(budget) is not None:
        raise InvalidInputError(f"budget={budget} has one ratio, which cannot grow; mask at once, or splice")
    masks.refuse(end, budget)
    if not 0 <= start <= end or every < 1:
        raise InvalidInputError(f"start={start}, every={every}; expected a ratio up to {end} and at least one step")


class _Hidden:
    """The values of masked weights, which the network does not show between the steps."""

    def __init__(self) -> None:
        self._values: Mapping[str, torch.Tensor] = {}

    def restore(self, model: nn.Module) -> None:
        with torch.no_grad():
            for name, value in self._values.items():
                model.get_parameter(name).copy_(value)

    def hide(self, model: nn.Module, stays: Masks) -> None:
        self._values = {name: model.get_parameter(name).detach().clone() for name in stays}
        masks.apply(model, stays)
