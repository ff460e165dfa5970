"""FGSM and PGD: the way uphill is read off the torch network's own gradients."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pruneguard.evaluation.contender import device_of, evaluating
from pruneguard.evaluation.domain import Domain
from pruneguard.workload import Floats, Integers

EPSILON = 0.05
"""Radius of the ball in every feature, as a share of the domain's spread."""

STEPS = 10

UNIT = Domain(0.0, 1.0, kind="images", mean=np.zeros((), np.float32), spread=np.ones((), np.float32))
"""Features from 0 to 1, all in one unit: epsilon is what it says."""

_BATCH = 256


class Attack(Protocol):
    """Rows and labels in, attacked rows out, inside ball and bounds."""

    def __call__(
        self, model: nn.Module, x: Floats, y: Integers, domain: Domain, *, epsilon: float, steps: int, seed: int
    ) -> Floats: ...


def obstacle(model: nn.Module, x: Floats, y: Integers) -> str | None:
    """Why these rows cannot be attacked by gradients, in words; None where they can.

    Token ids and networks that cut the gradient off; operators that have no derivative; gradients that are not numbers
    on a row that is answered, or nothing but zero on every row. An attack that cannot move a row is no proof of
    strength. Zeros on some rows are no obstacle here: whether they hide something is what `robustness.masking` asks.
    """
    device, lost, moved = device_of(model), 0, False
    with evaluating(model), torch.enable_grad():
        for start in range(0, len(x), _BATCH):
            here = torch.from_numpy(x[start : start + _BATCH]).to(device).requires_grad_()
            labels = torch.from_numpy(y[start : start + _BATCH]).to(device)
            try:
                logits = model(here)
                loss = F.cross_entropy(logits, labels, reduction="sum")
                gradient = torch.autograd.grad(loss, here, allow_unused=True)[0] if loss.requires_grad else None
            except RuntimeError as error:  # how torch says that an operator has no derivative
                return f"the network's gradient fails ({str(error).splitlines()[0]})"
            if gradient is None:
                return "no gradient reaches the rows"
            finite = gradient.isfinite().flatten(1).all(dim=1)
            answered = logits.isfinite().all(dim=1)
            lost += int((answered & ~finite).sum())
            moved |= bool((gradient.flatten(1).any(dim=1) | ~answered).any())
    if lost:
        return f"the gradient is not a number on {lost} of {len(x)} rows"
    return None if moved else f"the gradient is zero on all {len(x)} rows"


def fgsm(
    model: nn.Module,
    x: Floats,
    y: Integers,
    domain: Domain = UNIT,
    *,
    epsilon: float = EPSILON,
    steps: int = 1,
    seed: int = 0,
) -> Floats:
    """One step along the gradient's sign (Goodfellow 2015, arXiv:1412.6572). `steps` and `seed` mean nothing here."""

    def attack(ball: "_Ball", labels: Tensor) -> Tensor:
        return ball.step(ball.centre, ball.look(ball.centre, labels)[1], size=1.0)

    return _in_batches(model, x, y, domain, epsilon, attack)


def pgd(
    model: nn.Module,
    x: Floats,
    y: Integers,
    domain: Domain = UNIT,
    *,
    epsilon: float = EPSILON,
    steps: int = STEPS,
    seed: int = 0,
) -> Floats:
    """Projected gradient descent from a seeded random start (Madry 2018, arXiv:1706.06083), steps of 2.5 / `steps`.

    Each row keeps the point that fooled the network most, FGSM's included: so it is never weaker than FGSM.
    """
    generator = torch.Generator().manual_seed(seed)

    def attack(ball: "_Ball", labels: Tensor) -> Tensor:
        best = ball.step(ball.centre, ball.look(ball.centre, labels)[1], size=1.0)
        worst = ball.margin(best, labels)
        here = ball.random(generator)
        for _ in range(steps + 1):  # the start is looked at too
            margin, uphill = ball.look(here, labels)
            better = (margin > worst).reshape(-1, *[1] * (here.ndim - 1))
            best, worst = torch.where(better, here, best), torch.maximum(margin, worst)
            here = ball.step(here, uphill, size=2.5 / steps)
        return best

    return _in_batches(model, x, y, domain, epsilon, attack)


ATTACKS: Mapping[str, Attack] = MappingProxyType({"fgsm": fgsm, "pgd": pgd})
"""By name, the cheap one first."""


class _Ball:
    """Every point within epsilon of some rows and inside the bounds."""

    def __init__(self, model: nn.Module, centre: Tensor, domain: Domain, epsilon: float) -> None:
        reach = epsilon * torch.from_numpy(domain.spread).to(centre.device)
        self._model = model
        self._reach = reach.expand_as(centre)
        self._low = (centre - reach).clamp(domain.low, domain.high)
        self._high = (centre + reach).clamp(domain.low, domain.high)
        self.centre = centre

    def random(self, generator: torch.Generator) -> Tensor:
        """A uniformly drawn point."""
        drawn = torch.rand(self.centre.shape, generator=generator).to(self.centre.device)
        return torch.lerp(self._low, self._high, drawn)

    def look(self, here: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Each row's margin at `here`, and the sign of the loss's gradient in every feature."""
        here = here.detach().requires_grad_()
        logits = self._model(here)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), here)
        return _margin(logits.detach(), labels), gradient.nan_to_num().sign()

    def margin(self, here: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            return _margin(self._model(here), labels)

    def step(self, here: Tensor, uphill: Tensor, *, size: float) -> Tensor:
        """From `here` by `size` radii in every feature, and back into the ball."""
        return (here + size * self._reach * uphill).clamp(self._low, self._high)


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Best wrong logit minus the right one, by row: above zero the network is fooled."""
    right = logits.gather(1, labels[:, None]).squeeze(1)
    return logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1) - right


def _in_batches(
    model: nn.Module,
    x: Floats,
    y: Integers,
    domain: Domain,
    epsilon: float,
    attack: Callable[[_Ball, Tensor], Tensor],
) -> Floats:
    device = device_of(model)
    attacked = np.empty_like(x)
    with evaluating(model):
        for start in range(0, len(x), _BATCH):
            rows = slice(start, start + _BATCH)
            ball = _Ball(model, torch.from_numpy(x[rows]).to(device), domain, epsilon)
            attacked[rows] = attack(ball, torch.from_numpy(y[rows]).to(device)).cpu().numpy()
    return attacked
