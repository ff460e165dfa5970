"""Units of nn.RNN, nn.GRU and nn.LSTM: intrinsic sparse structures (Wen et al., ICLR 2018, arXiv 1709.05027).

With a unit go its rows in every gate, its column in its own recurrence and in the layer above, and its columns in
whatever reads the module. A module has one `hidden_size`, so each of its layers and directions loses equally many
units, but each loses its own: they are groups of one `level`.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import surgery
from pruneguard.pruning.group import Found, Group, Indices, Observed, Part, Slice
from pruneguard.pruning.parts import probing
from pruneguard.workload import Floats

DEVIATION_MAX = 1e-4
"""Of the answers' largest magnitude: more than rounding between a network cut and a network with zeros there."""


def find(model: nn.Module, example: Floats) -> Found:
    """One group for each layer and direction of each recurrent module; unit j of the k-th has number k * hidden + j.

    Whether the readers were found right is tried: half of the units are cut, other halves in other layers, and the
    network must run and answer as with zeros in their place. Raises InvalidInputError when it does not run as it is.
    """
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.RNNBase | nn.RNNCellBase)}
    if layers:
        _require_sound(model, example)
    groups: list[Group] = []
    untouched: dict[str, str] = {}
    for name, layer in layers.items():
        if isinstance(layer, nn.RNNCellBase):
            untouched[name] = "its state goes round in a loop of forward()'s own; use nn.RNN, nn.GRU or nn.LSTM"
        elif isinstance(found := _groups(model, example, name=name, module=layer), str):
            untouched[name] = found
        else:
            groups.extend(found)
    return Found(tuple(groups), untouched)


def _groups(model: nn.Module, example: Floats, *, name: str, module: nn.RNNBase) -> list[Group] | str:
    """The groups of one module, or why it has none."""
    rows = module.num_layers * (1 + module.bidirectional)
    if module.proj_size:
        return "its outputs are projections of its units (proj_size), which mix them"
    if module.hidden_size == 1:
        return "it has one unit"
    if not all(weight in module._parameters for weight in module._flat_weights_names):
        return "its weights are computed from other tensors (weight_norm or the like)"
    readers = probing.readers(model, example, source=name, units=rows * module.hidden_size, mark=_mark)
    if isinstance(readers, str):
        return readers
    groups = [_group(name, module, row, readers) for row in range(rows)]
    return _refuted(model, example, groups) or groups


def _group(name: str, module: nn.RNNBase, row: int, readers: tuple[probing.Reader, ...]) -> Group:
    hidden = module.hidden_size
    numbers = range(row * hidden, (row + 1) * hidden)
    owned = [Slice(f"{name}.{tensor}", dim, tuple(indices)) for tensor, dim, indices in _own(module, row)]
    observed = None
    for reader in readers:
        columns = tuple(reader.columns[number] for number in numbers)
        if not any(columns):
            continue
        owned.extend(Slice(tensor, dim, columns) for tensor, dim in reader.tensors)
        if observed is None and reader.rowwise and all(columns):
            observed = Observed(reader.module, "input", reader.dim, columns)
    return Group(
        part=Part.UNITS,
        root=name,
        numbers=tuple((number,) for number in numbers),
        owned=tuple(owned),
        observed=observed,
        padded=True,  # from a state of zero, a unit without weights stays at zero
        level=name,
    )


def _own(module: nn.RNNBase, row: int) -> Iterator[tuple[str, int, list[Indices]]]:
    """Tensors of a module, a dimension of them, and what each unit of the `row`-th layer and direction has there."""
    hidden, directions = module.hidden_size, 1 + module.bidirectional
    layer, direction = divmod(row, directions)
    place = f"l{layer}" + "_reverse" * direction
    gates = module._parameters[f"weight_hh_{place}"]
    assert gates is not None
    rows = [tuple(range(unit, len(gates), hidden)) for unit in range(hidden)]
    yield f"weight_ih_{place}", 0, rows
    yield f"weight_hh_{place}", 0, rows
    yield f"weight_hh_{place}", 1, [(unit,) for unit in range(hidden)]
    if module.bias:
        yield f"bias_ih_{place}", 0, rows
        yield f"bias_hh_{place}", 0, rows
    if layer + 1 < module.num_layers:
        for above in range(directions):
            yield (
                f"weight_ih_l{layer + 1}" + "_reverse" * above,
                1,
                [(direction * hidden + unit,) for unit in range(hidden)],
            )


def _mark(answer: Any, marked: torch.Tensor) -> Any:
    """What a recurrent module answered with units as NaN: in the outputs of its last layer, in the states of all."""
    outputs, states = answer

    def output(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.masked_fill(marked[-tensor.shape[-1] :], math.nan)

    def state(tensor: torch.Tensor) -> torch.Tensor:
        rows = marked.reshape(len(tensor), -1)
        return tensor.masked_fill(rows[:, None] if tensor.dim() == 3 else rows, math.nan)

    return probing.mapped(outputs, output), probing.mapped(states, state)


def _refuted(model: nn.Module, example: Floats, groups: Sequence[Group]) -> str:
    """In what the network with half of the units cut departs from the one with zeros there; empty if in nothing."""
    generator = torch.Generator().manual_seed(0)
    chosen = {
        number: torch.randperm(group.width, generator=generator)[: group.width // 2].tolist()
        for number, group in enumerate(groups)
    }
    expected = _answers(surgery.silenced(model, groups, chosen), example)
    try:
        cut, _ = surgery.cut(model, kept=surgery.consequence(model, groups, chosen))
        found = _answers(cut, example)
    except Exception as error:  # noqa: BLE001 - the user's forward, on a width that it did not expect
        return (
            f"the network does not run with fewer units: {type(error).__name__}: {error}; "
            "keep their number out of forward(): read hidden_size from the layer"
        )
    if [one.shape for one in found] != [one.shape for one in expected]:
        return "the network's answer has another shape with fewer units"
    limit = DEVIATION_MAX * max(1.0, *(float(one.abs().max()) for one in expected))
    if not all(bool(((a - b).abs() <= limit).all()) for a, b in zip(found, expected, strict=True)):
        return "the network without some of its units answers differently from the network with zeros for them"
    return ""


def _answers(model: nn.Module, example: Floats) -> list[torch.Tensor]:
    with torch.no_grad():
        return list(probing.tensors(model.eval()(torch.tensor(example))))


def _require_sound(model: nn.Module, example: Floats) -> None:
    try:
        answers = _answers(copy.deepcopy(model), example)
    except Exception as error:  # the user's forward may raise anything
        raise InvalidInputError(
            f"{type(model).__name__} does not run on its example rows: {type(error).__name__}: {error}; "
            "mend its forward() before pruning"
        ) from error
    if not all(bool(answer.isfinite().all()) for answer in answers):
        raise InvalidInputError(f"{type(model).__name__} answers its example rows with NaN or infinity; train it anew")
