"""Worst-case damage inside a small ball: FGSM and PGD, white box, each model attacked through its own gradients.

The gradients come from the torch network, the score from the ONNX artefact that is deployed. Rows that no gradient
reaches, token ids for one, cannot be attacked so: nothing is measured, and a missing measurement never passes.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pruneguard.evaluation.contender import Contender, Pair, device_of, evaluating
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.quality import paired
from pruneguard.evaluation.sessions import Session, predictions
from pruneguard.evidence import Measurement
from pruneguard.workload import Floats, Integers, Split

EPSILON = 0.05
"""Radius of the ball in every feature, as a share of the domain's spread."""

STEPS = 10
ROWS_MAX = 1000
"""An attack costs about thirty inference passes; more rows than these are sampled."""

_BATCH = 256

Marks: TypeAlias = npt.NDArray[np.bool_]


def measure(pair: Pair, split: Split, domain: Domain, *, attack: str, seed: int) -> dict[str, Measurement]:
    """`robustness.<attack>.paired`, `fgsm` or `pgd`, on at most ROWS_MAX rows drawn by `seed`."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(split))[:ROWS_MAX])
    x, y = split.x[rows], split.y[rows]

    def survived(contender: Contender, session: Session) -> Marks:
        """Which rows the artefact still gets right, by the attack on its own network."""
        attacked = ATTACKS[attack](contender.model, x, y, domain, seed)
        right: Marks = predictions(session.logits(attacked)) == y
        return right

    how = f"seed {seed}, {EPSILON} of the spread in {STEPS} steps, {domain.low} to {domain.high}"
    theirs = pair.yardstick.once(
        f"{attack} survived by {pair.twin.digest}, {how}",
        *(x, y, domain.spread),
        compute=lambda: survived(pair.twin, pair.twin_session),
    )
    ours = theirs if pair.same else survived(pair.candidate, pair.candidate_session)
    return {f"robustness.{attack}.paired": paired(ours, theirs)}


def attackable(model: nn.Module, x: Floats) -> bool:
    """Whether a gradient reaches these rows: not where the network takes them for token ids, or cuts them off."""
    with evaluating(model), torch.enable_grad():
        here = torch.from_numpy(x).to(device_of(model)).requires_grad_()
        logits = model(here)
        if not logits.requires_grad:
            return False
        (gradient,) = torch.autograd.grad(logits.sum(), here, allow_unused=True)
    return gradient is not None


def fgsm(model: nn.Module, x: Floats, y: Integers, domain: Domain, *, epsilon: float = EPSILON) -> Floats:
    """One step along the gradient's sign (Goodfellow 2015, arXiv:1412.6572), inside ball and bounds."""

    def attack(ball: "_Ball", labels: Tensor) -> Tensor:
        return ball.step(ball.centre, ball.look(ball.centre, labels)[1], size=1.0)

    return _in_batches(model, x, y, domain, epsilon, attack)


def pgd(
    model: nn.Module, x: Floats, y: Integers, domain: Domain, *, seed: int, epsilon: float = EPSILON, steps: int = STEPS
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


ATTACKS: Mapping[str, Callable[[nn.Module, Floats, Integers, Domain, int], Floats]] = MappingProxyType(
    {
        "fgsm": lambda model, x, y, domain, seed: fgsm(model, x, y, domain),
        "pgd": lambda model, x, y, domain, seed: pgd(model, x, y, domain, seed=seed),
    }
)
"""By name, the cheap one first; the last argument is a seed."""


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
