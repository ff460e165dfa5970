"""Who reads what a module answers: some of its units become NaN, and layers say in which of their columns it arrives.

NaN goes through whatever a forward() does between two layers: slices, pooling, masks, concatenations, packed
sequences. A layer that reads columns takes note and goes on without it, so what is found are the direct readers.

Two passes for each bit of the units' numbers tell them all apart: one marks the units that lack the bit, one those that
have it. A column that reads one unit is NaN in one of the two, bit by bit, and so spells its number; a column that
reads several is NaN in both for some bit.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pruneguard.pruning.group import Indices
from pruneguard.workload import Floats

LAYERS = (nn.Linear, nn.Conv1d, nn.BatchNorm1d, nn.RNNBase, nn.MultiheadAttention)
"""They are looked at whole, though modules stand in them; any other layer is where parameters are and no modules."""

Mark = Callable[[Any, torch.Tensor], Any]
"""What a module answered, and a bool for each of its units: the same answer with these units NaN."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A layer that reads unit u in `columns[u]` of dimension `dim` of its input, and in no others.

    `tensors` are the names, with the dimension that goes with the columns. `rowwise`: dimension 0 of the input is the
    batch.
    """

    module: str
    dim: int
    tensors: tuple[tuple[str, int], ...]
    columns: tuple[Indices, ...]
    rowwise: bool


def readers(model: nn.Module, example: Floats, *, source: str, units: int, mark: Mark) -> tuple[Reader, ...] | str:
    """The layers that read the units of module `source`, or why these cannot be told apart everywhere they go."""
    probe = _Probe(copy.deepcopy(model).eval(), source=source, mark=mark, rows=len(example))
    bits = max(1, (units - 1).bit_length())
    numbers = torch.arange(units)
    passes = [(numbers >> bit) % 2 == value for bit in range(bits) for value in (0, 1)]
    try:
        seen = [probe.run(torch.tensor(example), marked) for marked in passes]
    except Exception as error:  # noqa: BLE001 - a forward() of the user's that does not take NaN
        return f"forward() fails when units are marked as NaN: {type(error).__name__}: {error}"
    if probe.obstacle:
        return probe.obstacle
    found = []
    for name in dict.fromkeys(name for arrived in seen for name in arrived):
        blank = torch.zeros_like(next(arrived[name] for arrived in seen if name in arrived))
        arrivals = torch.stack([arrived.get(name, blank) for arrived in seen]).reshape(bits, 2, -1)
        columns = _columns(arrivals, units)
        if columns is None:
            return f"{probe.called(name)} reads several units in one column"
        dim, owned = _reading(probe.layers[name]) or (0, ())
        found.append(
            Reader(name, dim, tuple((f"{name}.{tensor}", at) for tensor, at in owned), columns, probe.rowwise[name])
        )
    return tuple(found)


class _Probe:
    """A copy of a network that marks units of one module and notes where the marks arrive."""

    def __init__(self, model: nn.Module, *, source: str, mark: Mark, rows: int) -> None:
        self.layers = dict(model.named_modules())
        self.obstacle = ""
        self.rowwise: dict[str, bool] = {}
        self._model, self._mark, self._rows = model, mark, rows
        self._marked = torch.zeros(0, dtype=torch.bool)
        self._arrived: dict[str, torch.Tensor] = {}
        self._answered = False
        for name, layer in self.layers.items():
            if isinstance(layer, LAYERS) or (layer._parameters and not layer._modules):
                layer.register_forward_pre_hook(self._noting(name), with_kwargs=True)
        self.layers[source].register_forward_hook(self._marking)

    def run(self, rows: torch.Tensor, marked: torch.Tensor) -> dict[str, torch.Tensor]:
        """Layer -> which of its columns became NaN."""
        self._marked, self._arrived, self._answered = marked, {}, False
        with torch.no_grad():
            answer = self._model(rows)
        if not self._answered:
            self.obstacle = self.obstacle or "forward() never calls it"
        if _has_nan(answer):
            self.obstacle = self.obstacle or "its units reach the answer with no layer between that could lose columns"
        return self._arrived

    def called(self, name: str) -> str:
        return f"{name or 'the network'} ({type(self.layers[name]).__name__})"

    def _marking(self, layer: nn.Module, given: Any, answer: Any) -> Any:
        self._answered = True
        return self._mark(answer, self._marked)

    def _noting(self, name: str) -> Callable[..., Any]:
        def note(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if not _has_nan((args, kwargs)):
                return None
            read, *beside = (*args, *kwargs.values())
            reading = _reading(layer)
            if reading is None:
                self.obstacle = self.obstacle or f"{self.called(name)} reads it, which cannot lose columns exactly"
            elif _has_nan(beside):
                self.obstacle = self.obstacle or f"{self.called(name)} starts from its state"
            else:
                dim, data = reading[0], next(tensors(read))
                arrived = data.isnan().movedim(dim, -1).reshape(-1, data.shape[dim]).any(0)
                self._arrived[name] = arrived | self._arrived.get(name, torch.zeros_like(arrived))
                self.rowwise[name] = isinstance(read, torch.Tensor) and len(read) == self._rows
            if isinstance(layer, nn.BatchNorm1d):  # each column for itself: whoever comes next reads the same units
                return None
            return _without_nan(args), _without_nan(kwargs)

        return note


def _reading(layer: nn.Module) -> tuple[int, tuple[tuple[str, int], ...]] | None:
    """The dimension of a layer's input that its columns stand in, and where its tensors keep them; None: nowhere."""
    dim, names, at = 0, [""], 1
    match layer:
        case nn.Linear():
            dim, names = -1, ["weight"]
        case nn.Conv1d() if layer.groups == 1:
            dim, names = -2, ["weight"]
        case nn.RNNBase():
            dim, names = -1, ["weight_ih_l0", "weight_ih_l0_reverse"][: 1 + layer.bidirectional]
        case nn.BatchNorm1d():
            dim, names, at = 1, ["weight", "bias", "running_mean", "running_var"], 0
    held = {**layer._parameters, **layer._buffers}
    if not all(name in held for name in names):  # or computed out of others: weight_norm, spectral_norm
        return None
    return dim, tuple((name, at) for name in names if held[name] is not None)


def _columns(arrivals: torch.Tensor, units: int) -> tuple[Indices, ...] | None:
    """Unit -> columns that read it and no other, from [bits, 2, columns]; None where a column reads several."""
    read = arrivals.flatten(0, 1).any(0)
    single = (arrivals[:, 0] ^ arrivals[:, 1]).all(0)
    if bool((read & ~single).any()):
        return None
    powers = 2 ** torch.arange(len(arrivals))
    numbers = (arrivals[:, 1] * powers[:, None]).sum(0)
    columns: list[list[int]] = [[] for _ in range(units)]
    for column in read.nonzero().flatten().tolist():
        columns[int(numbers[column])].append(column)
    return tuple(tuple(some) for some in columns)


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Tensors of floats in whatever a layer is given or answers."""
    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        yield from tensors(tuple(value.values()))
    elif isinstance(value, tuple | list):  # a PackedSequence too
        for part in value:
            yield from tensors(part)


def mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same with each tensor of floats changed."""
    if isinstance(value, torch.Tensor):
        return change(value) if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {key: mapped(part, change) for key, part in value.items()}
    if isinstance(value, tuple | list):
        parts = [mapped(part, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def _has_nan(value: Any) -> bool:
    return any(bool(tensor.isnan().any()) for tensor in tensors(value))


def _without_nan(value: Any) -> Any:
    return mapped(value, lambda tensor: tensor.masked_fill(tensor.isnan(), 0.0))
