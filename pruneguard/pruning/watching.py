"""Scores that are read off a network at work: what its parts compute on rows, in evaluation mode."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning.group import Group
from pruneguard.workload import Split

BATCH = 64
BINS = 8
"""What the module that chooses experts may be called, beside the list `experts`."""


def relevance(model: nn.Module, groups: Sequence[Group], rows: Split) -> list[torch.Tensor]:
    """mRMR: the part that tells most about the label comes first; each next tells most beyond those before it.

    A part is its mean activation on each row, in eight quantile bins; labels that are numbers are put into such bins
    too. The first gets the score `width`, the last 1.
    """
    labels = torch.from_numpy(rows.y)
    if labels.is_floating_point():
        labels = _bins(labels[:, None].double())[:, 0]
    seen = _read(model, groups, rows)
    return [_order(_bins(activations), labels).double() for activations in seen]


def influence(model: nn.Module, groups: Sequence[Group], rows: Split) -> list[torch.Tensor]:
    """1 - mean cosine between input and output of each block, over every position of every row."""
    changes = {place: _Mean() for group in groups for place in _places(group, "")}

    def note(name: str, given: torch.Tensor, answer: torch.Tensor) -> None:
        if given.shape != answer.shape:
            raise InvalidInputError(
                f"the block {name} turns {tuple(given.shape)} into {tuple(answer.shape)}; a block that may leave keeps "
                "the shape: prune channels there"
            )
        features = 1 if given.dim() > 3 else -1  # images have their features second, sequences and tables last
        changes[name].add(1 - F.cosine_similarity(given.double(), answer.double(), dim=features))

    _watch(model, changes, rows, note)
    return [torch.stack([changes[name].value for name in _places(group, "")]) for group in groups]


def usage(model: nn.Module, groups: Sequence[Group], rows: Split) -> list[torch.Tensor]:
    """Mean probability under the router, times mean norm of the output, of each expert. Zero for one never asked."""
    routers = {_router(group): group for group in groups}
    norms = {place: _Mean() for group in groups for place in _places(group, "experts")}
    masses = {name: _Mean() for name in routers}

    def note(name: str, given: torch.Tensor, answer: torch.Tensor) -> None:
        if name in masses:
            masses[name].add(_probabilities(answer).flatten(0, -2), dim=0)
        elif answer.numel():
            norms[name].add(answer.double().norm(dim=-1))

    _watch(model, [*norms, *masses], rows, note, silent=frozenset(norms))
    found = []
    for router, group in routers.items():
        numbers = [number for (number,) in group.numbers]
        mass = masses[router].value
        if mass.dim() != 1 or len(mass) <= max(numbers):
            raise InvalidInputError(
                f"{router} answers with a shape that has no probability for each of {len(numbers)} experts last; "
                "score them with 'taylor' or 'l2'"
            )
        found.append(mass[numbers] * torch.stack([norms[place].value for place in _places(group, "experts")]))
    return found


def batches(model: nn.Module, rows: Split) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Answers and labels, batch by batch. Raises InvalidInputError where the network and the rows do not fit."""
    for start in range(0, len(rows), BATCH):
        labels = torch.from_numpy(rows.y[start : start + BATCH])
        try:
            answers = model(torch.from_numpy(rows.x[start : start + BATCH]))
        except InvalidInputError:
            raise  # from a hook of this file
        except Exception as error:  # the user's forward may raise anything
            raise InvalidInputError(
                f"{type(model).__name__} fails on {len(labels)} rows {list(rows.x.shape[1:])}: "
                f"{type(error).__name__}: {error}; give rows of the kind that it was trained on"
            ) from error
        if labels.is_floating_point():
            if answers.numel() != len(labels):
                raise InvalidInputError(
                    f"the network answers {list(answers.shape)} and the labels are numbers; expected one for each row"
                )
        elif answers.dim() != 2 or int(labels.max()) >= answers.shape[1] or int(labels.min()) < 0:
            raise InvalidInputError(
                f"the network answers {list(answers.shape)} and the labels go from {int(labels.min())} to "
                f"{int(labels.max())}; expected [rows, classes] and classes from 0"
            )
        yield answers, labels


class _Mean:
    """A running mean of values that come in pieces."""

    def __init__(self) -> None:
        self._total, self._count = torch.zeros((), dtype=torch.float64), 0

    def add(self, values: torch.Tensor, dim: int | None = None) -> None:
        self._total = self._total + (values.sum() if dim is None else values.sum(dim))
        self._count += values.numel() if dim is None else values.shape[dim]

    @property
    def value(self) -> torch.Tensor:
        return self._total / max(1, self._count)


_Note = Callable[[str, torch.Tensor, torch.Tensor], None]


@torch.no_grad()
def _watch(
    model: nn.Module, names: Iterable[str], rows: Split, note: _Note, *, silent: frozenset[str] = frozenset()
) -> None:
    """Show `note` the first tensor in and out of the named modules, call by call; all but `silent` must be called."""
    called: set[str] = set()

    def hook(name: str) -> Callable[..., None]:
        def see(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], answer: Any) -> None:
            called.add(name)
            note(name, _tensor((*args, *kwargs.values())), _tensor(answer))

        return see

    with _hooked({_module(model, name): hook(name) for name in names}):
        for _ in batches(model, rows):
            pass
    if missing := sorted({*names} - called - silent):
        raise InvalidInputError(
            f"{missing} were never called by forward(), so nothing can be read there; score with 'taylor' or 'l2'"
        )


def _read(model: nn.Module, groups: Sequence[Group], rows: Split) -> list[torch.Tensor]:
    """Mean activation of each part on each row, [rows, width] for each group."""
    for group in groups:
        if group.observed is None:
            raise InvalidInputError(f"what {group.root} computes cannot be read; score it with 'taylor' or 'l2'")
    places = {group.observed.module for group in groups if group.observed is not None}
    pieces: list[list[torch.Tensor]] = [[] for _ in groups]

    def note(name: str, given: torch.Tensor, answer: torch.Tensor) -> None:
        for group, own in zip(groups, pieces, strict=True):
            observed = group.observed
            if observed is not None and observed.module == name:
                seen = given if observed.side == "input" else answer
                others = [dim for dim in range(1, seen.dim()) if dim != observed.dim % seen.dim()]
                flat = seen.double().mean(others) if others else seen.double()
                own.append(torch.stack([flat[:, list(indices)].mean(1) for indices in observed.indices], 1))

    _watch(model, places, rows, note)
    found = [torch.cat(own) for own in pieces]
    for group, activations in zip(groups, found, strict=True):
        if len(activations) != len(rows):
            raise InvalidInputError(
                f"{len(activations)} activations of {group.root} were seen on {len(rows)} rows; 'mrmr' needs one for "
                "each row: score a layer that runs more than once, or not by rows, with 'taylor' or 'l2'"
            )
    return found


def _bins(activations: torch.Tensor) -> torch.Tensor:
    """Which of the quantile bins each activation is in [rows, width]; equal values are in one bin."""
    edges = torch.quantile(activations, torch.arange(1, BINS, dtype=torch.float64) / BINS, dim=0)
    return torch.searchsorted(edges.T.contiguous(), activations.T.contiguous(), right=True).T


def _order(bins: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Width for the part that is selected first, down to 1 for the last."""
    width = bins.shape[1]
    spread = F.one_hot(bins, BINS).float()  # [rows, width, bins]
    gain = _information(spread, F.one_hot(labels).float())
    redundancy, score = torch.zeros(width), torch.zeros(width)
    free = torch.ones(width, dtype=torch.bool)
    for count in range(width):
        worth = gain - redundancy / max(1, count)
        best = int(torch.where(free, worth, -torch.inf).argmax())
        free[best] = False
        score[best] = width - count
        redundancy += _information(spread, spread[:, best])
    return score


def _information(spread: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Mutual information in nats of each part [rows, width, bins] with one variable [rows, values]; both one-hot."""
    joint = torch.einsum("nwb,nv->wbv", spread, other) / len(other)
    alone = joint.sum(2, keepdim=True) * joint.sum(1, keepdim=True)
    return torch.where(joint > 0, joint * (joint / alone).log(), 0).sum((1, 2))


def _places(group: Group, within: str) -> list[str]:
    """The names of the modules that the parts are."""
    return [".".join(filter(None, (group.root, within, str(number)))) for (number,) in group.numbers]


def _router(group: Group) -> str:
    if group.observed is None:
        raise InvalidInputError(
            f"what {group.root} chooses experts by cannot be seen; score them with 'taylor' or 'l2'"
        )
    return group.observed.module


def _probabilities(answer: torch.Tensor) -> torch.Tensor:
    """A router's answer, softmaxed unless it is already."""
    answer = answer.double()
    ready = bool((answer >= 0).all()) and torch.allclose(answer.sum(-1), torch.ones((), dtype=torch.float64), atol=1e-4)
    return answer if ready else answer.softmax(-1)


def _module(model: nn.Module, name: str) -> nn.Module:
    module: nn.Module = model.get_submodule(name)
    return module


def _tensor(values: Any) -> torch.Tensor:
    """The first tensor of what a module takes or gives."""
    if isinstance(values, torch.Tensor):
        return values
    for value in values.values() if isinstance(values, Mapping) else values:
        if isinstance(value, torch.Tensor | tuple | list | Mapping):
            return _tensor(value)
    raise InvalidInputError("a module that is watched takes or gives no tensor; score with 'taylor' or 'l2'")


@contextmanager
def _hooked(hooks: Mapping[nn.Module, Callable[..., None]]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook, with_kwargs=True) for module, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
