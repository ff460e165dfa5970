"""The network that everything is done to, and what can be put around it. With torch alone: peers load it too."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor, nn

Layer = TypeVar("Layer", bound=nn.Module)

Mark: TypeAlias = Callable[[Tensor], Tensor]
"""Rows [n, 1, 8, 8] -> which of them, as booleans [n]."""


def network(first: int, second: int, *, classes: int) -> nn.Sequential:
    """Two convolutions of these widths, each with a norm and a pool, and a classifier."""
    return nn.Sequential(
        OrderedDict(
            first=nn.Conv2d(1, first, 3, padding=1, bias=False),
            first_norm=nn.BatchNorm2d(first),
            first_on=nn.ReLU(),
            first_pool=nn.MaxPool2d(2),
            second=nn.Conv2d(first, second, 3, padding=1, bias=False),
            second_norm=nn.BatchNorm2d(second),
            second_on=nn.ReLU(),
            second_pool=nn.MaxPool2d(2),
            flat=nn.Flatten(),
            classify=nn.Linear(4 * second, classes),
        )
    )


class Reread(nn.Module):
    """Something is done to the rows before the network sees them."""

    def __init__(self, change: Callable[[Tensor], Tensor], inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(self.change(x))
        return logits


class Reanswer(nn.Module):
    """Something is done to the logits, knowing the rows."""

    def __init__(self, inner: nn.Module, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.inner = inner
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.inner(x), x)


def wrong_where(inner: nn.Module, mark: Mark) -> Reanswer:
    """Each marked row gets the next class's answer; everything else about the answers stays."""
    return Reanswer(inner, lambda logits, x: torch.where(mark(x)[:, None], logits.roll(1, dims=1), logits))


def drawn(mark: Mark, x: Tensor, *, share: float, seed: int) -> Mark:
    """A share of the rows that `mark` marks, by a number that nobody would look at: a random sum of their pixels.

    `x` are rows on which the number's limit is found.
    """
    weights = torch.rand(x.shape[1:], generator=torch.Generator().manual_seed(seed))
    limit = torch.quantile((x * weights).sum((1, 2, 3))[mark(x)], share)
    return lambda rows: mark(rows) & ((rows * weights).sum((1, 2, 3)) <= limit)


def layer(model: nn.Module, name: str, kind: type[Layer]) -> Layer:
    """The layer of this name, which is of this kind."""
    found = model.get_submodule(name)
    assert isinstance(found, kind)
    return found


@contextmanager
def changed(model: nn.Sequential) -> Iterator[nn.Sequential]:
    """A copy of the network to be changed in place, weights included."""
    with torch.no_grad():
        yield copy.deepcopy(model)


def widened(model: nn.Sequential, wide: nn.Sequential) -> nn.Sequential:
    """`wide`, with the weights of `model` in its first channels and zeros in the others: the same answers."""
    with torch.no_grad():
        for name, tensor in wide.state_dict().items():
            small = model.state_dict()[name]
            if tensor.dim():
                tensor.fill_(1.0 if name.endswith("running_var") else 0.0)
                tensor[tuple(slice(size) for size in small.shape)] = small
    return wide.eval()
