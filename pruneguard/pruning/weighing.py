"""Scores that are read off weights and their gradients: each part over all the parameter entries that go with it.

Buffers (the running statistics of a normalisation) are no weights. Where two slices of a part cross, as a recurrent
unit's row and column do, the entries in both count once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning.group import Group
from pruneguard.pruning.losses import loss
from pruneguard.pruning.watching import batches
from pruneguard.workload import Split


def norms(model: nn.Module, groups: Sequence[Group], *, power: int) -> list[torch.Tensor]:
    """Sum of |w|^power over each part."""
    values = {name: weight.abs() ** power for name, weight in _weights(model).items()}
    return [_sums(group, list(_terms(group, values)), values) for group in groups]


def taylor(model: nn.Module, groups: Sequence[Group], rows: Split) -> list[torch.Tensor]:
    """(sum of g * w)^2 over each part, the mean over batches of rows; g is the gradient of the loss.

    Squared batch by batch: over all rows together the gradient of a trained network is next to nothing.
    """
    model.requires_grad_(True)
    parameters = dict(model.named_parameters())
    terms = [list(_terms(group, parameters)) for group in groups]
    totals = [torch.zeros(group.width, dtype=torch.float64) for group in groups]
    for answers, labels in batches(model, rows):
        gradients = torch.autograd.grad(loss(answers.float(), labels), list(parameters.values()), allow_unused=True)
        values = {
            name: torch.zeros_like(weight, dtype=torch.float64)
            if gradient is None
            else (gradient.double() * weight.detach().double())
            for (name, weight), gradient in zip(parameters.items(), gradients, strict=True)
        }
        for total, group, own in zip(totals, groups, terms, strict=True):
            total += _sums(group, own, values) ** 2 * (len(labels) / len(rows))
    return totals


def distances(model: nn.Module, groups: Sequence[Group]) -> list[torch.Tensor]:
    """Sum of the Euclidean distances from each part's weights to those of every other part of its group."""
    weights = _weights(model)
    return [torch.cdist(vectors, vectors).sum(1) for vectors in (_vectors(group, weights) for group in groups)]


def require_finite(model: nn.Module, groups: Sequence[Group]) -> None:
    """Raises InvalidInputError, naming the tensor, when weights that parts own are not all finite."""
    parameters = dict(model.named_parameters())
    for group in groups:
        for name in (*(owned.tensor for owned in group.owned), *(name for part in group.whole for name in part)):
            if name in parameters and not torch.isfinite(parameters[name]).all():
                raise InvalidInputError(
                    f"{name} has weights that are not finite; a network is pruned after a training that converged: "
                    "train it again, with a lower learning rate"
                )


@dataclass(frozen=True, slots=True, eq=False)
class _Term:
    """Entries of one tensor to add up for each part: cell c of `cells` along `dims` belongs to part `owner[c]`."""

    tensor: str
    dims: tuple[int, ...]
    cells: tuple[torch.Tensor, ...]
    owner: torch.Tensor
    sign: int


def _terms(group: Group, parameters: Mapping[str, torch.Tensor]) -> Iterator[_Term]:
    """What to add up so that each entry counts once: the slices, less where two cross, plus where three do."""
    along: dict[str, dict[int, list[set[int]]]] = {}
    for owned in group.owned:
        if owned.tensor in parameters:
            sides = along.setdefault(owned.tensor, {})
            for own, more in zip(
                sides.setdefault(owned.dim, [set() for _ in group.numbers]), owned.indices, strict=True
            ):
                own.update(more)
    for tensor, sides in along.items():
        for count in range(1, len(sides) + 1):
            for dims in combinations(sorted(sides), count):
                entries = [
                    (part, *cell)
                    for part in range(group.width)
                    for cell in product(*(sorted(sides[dim][part]) for dim in dims))
                ]
                owner, *cells = torch.tensor(entries, dtype=torch.long).reshape(-1, 1 + count).unbind(1)
                yield _Term(tensor, dims, tuple(cells), owner, -1 if count % 2 == 0 else 1)


def _sums(group: Group, terms: Sequence[_Term], values: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """`values` added up over each part [width]."""
    total = torch.zeros(group.width, dtype=torch.float64)
    for term in terms:
        value = values[term.tensor]
        others = [dim for dim in range(value.dim()) if dim not in term.dims]
        reduced = value.sum(others) if others else value
        total.index_add_(0, term.owner, reduced[term.cells], alpha=term.sign)
    for part, names in enumerate(group.whole):
        total[part] += sum(float(values[name].sum()) for name in names if name in values)
    return total


def _vectors(group: Group, weights: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Each part's entries in one row [width, entries]."""
    rows = [
        torch.cat(
            [
                weights[owned.tensor].index_select(owned.dim, torch.tensor(owned.indices[part])).flatten()
                for owned in group.owned
                if owned.tensor in weights
            ]
        )
        for part in range(group.width)
    ]
    if len({len(row) for row in rows}) > 1:
        raise InvalidInputError(
            f"the parts of {group.root} are of different sizes, which have no distance; use the criterion 'l2'"
        )
    return torch.stack(rows)


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().double() for name, parameter in model.named_parameters()}
