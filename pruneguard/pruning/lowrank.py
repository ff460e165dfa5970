"""Low rank: a layer becomes a chain of thinner ones, where that has fewer weights than the layer.

Matrices, that is linear layers and 1x1 convolutions, by truncated singular value decomposition (Denton et al., NeurIPS
2014, arXiv 1404.0736); convolutions with a kernel by Tucker-2: 1x1, kernel, 1x1 (Kim et al., ICLR 2016, arXiv
1511.06530), each side's basis from the singular vectors of the weight unfolded along it.
"""

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias, cast

import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning.group import Indices
from pruneguard.pruning.lineage import Factors

KINDS = ("all", "svd", "tucker")
"""Which layers: matrices (svd), convolutions with a kernel (tucker), or both."""

_HALVINGS = 50

_Layer: TypeAlias = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, slots=True, eq=False)
class Factored:
    """A network with chains in the place of layers, what each chain lost, and why the other layers stayed whole."""

    model: nn.Module
    factors: Mapping[str, Factors]
    untouched: Mapping[str, str]


def factor(model: nn.Module, *, kind: str = "all", ratio: float, round_to: int = 8) -> Factored:
    """A copy of `model` whose layers are chains with, together, at least the share `ratio` of their weights less.

    One number is shared by all layers: the part of the squared weights ("energy") that each basis keeps at least. It is
    the highest that reaches `ratio`; where none does, every chain is as thin as it can be. Ranks are multiples of
    `round_to`, or the layer's own width where that is less. The same weights give the same factors on the same machine.
    A forward() that reads the `weight` of a layer itself does not run afterwards.

    Raises InvalidInputError for a ratio outside (0, 1), a weight that is not finite, or where no layer gets smaller.
    """
    if not 0 < ratio < 1:
        raise InvalidInputError(f"the ratio is {ratio}; give the share of weights to remove, between 0 and 1")
    if round_to < 1 or kind not in KINDS:
        raise InvalidInputError(f"round_to={round_to}, kind={kind!r}; expected >= 1 and one of {KINDS}")
    spectra, untouched = {}, {}
    for name, layer in _weighty(model):
        if reason := _hindrance(name, layer, kind):
            untouched[name] = reason
            continue
        assert isinstance(layer, _LAYERS)  # else there is a hindrance
        found = _spectrum(layer, round_to)
        if found.ranks(energy=0) is None:
            untouched[name] = f"too small: a chain of rank {round_to} has no fewer weights"
        else:
            spectra[name] = found
    energy = _energy(spectra.values(), ratio=ratio)
    ranks = {name: widths for name, one in spectra.items() if (widths := one.ranks(energy)) is not None}
    if not ranks:
        raise InvalidInputError(
            f"no layer of {type(model).__name__} gets smaller as a chain of kind {kind} and rank {round_to}: "
            f"{untouched}; lower round_to, or leave this step out"
        )
    stay = f"at this ratio it stays whole: keeping {energy:.2%} of its energy takes a chain that is no smaller"
    factored = copy.deepcopy(model)
    factors = {}
    for name, widths in ranks.items():
        chain = _replace(factored, name, widths)
        spectra[name].fill(chain, widths)
        factors[name] = Factors(widths, spectra[name].error(chain))
    return Factored(factored, factors, untouched | dict.fromkeys(spectra.keys() - ranks.keys(), stay))


def reshape(model: nn.Module, factors: Mapping[str, Factors]) -> nn.Module:
    """A copy of `model` with the chains that `factors` name, zeros in them: weights are to be loaded into it.

    Raises InvalidInputError when a layer is not in the network, or cannot be such a chain.
    """
    model = copy.deepcopy(model)
    layers = dict(model.named_modules())
    for name, one in factors.items():
        layer = layers.get(name)
        if not name or not isinstance(layer, _LAYERS) or len(one.ranks) != len(_sides(layer)):
            raise InvalidInputError(
                f"{name!r} of {type(model).__name__} cannot be a chain of ranks {one.ranks}; the factors were "
                "recorded of another network"
            )
        _replace(model, name, one.ranks)
    return model


@dataclass(frozen=True, slots=True, eq=False)
class _Spectrum:
    """A layer's weight in float64, and its singular vectors and values along each side that a chain makes thinner.

    Sides are dimensions of the weight: the output's (0) for a matrix; the input's and the output's for a kernel.
    """

    weight: torch.Tensor
    sides: tuple[int, ...]
    vectors: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]
    round_to: int

    @property
    def size(self) -> int:
        return self.weight.numel()

    def left(self, energy: float) -> int:
        """How many weights there are at this energy, in a chain or in the layer."""
        ranks = self.ranks(energy)
        return self.size if ranks is None else self._weights(ranks)

    def ranks(self, energy: float) -> Indices | None:
        """The smallest whose bases keep `energy` each, rounded up; None where the layer itself is smaller."""
        ranks = []
        for values in self.values:
            tail = values.square().flip(0).cumsum(0).flip(0)  # lost at rank 0, 1, 2, ...
            needed = int((tail > tail[0] * (1 - energy)).sum())
            ranks.append(min(len(values), -(-max(1, needed) // self.round_to) * self.round_to))
        return tuple(ranks) if self._weights(tuple(ranks)) < self.size else None

    def _weights(self, ranks: Indices) -> int:
        outputs, inputs, *kernel = self.weight.shape
        links = [before * after for before, after in pairwise((inputs, *ranks, outputs))]
        links[len(links) // 2] *= math.prod(kernel)
        return sum(links)

    def fill(self, chain: Sequence[_Layer], ranks: Indices) -> None:
        """The weights of a chain: the bases at its ends, the weight projected on them in between."""
        core, ends = self.weight, []
        for side, vectors, rank in zip(self.sides, self.vectors, ranks, strict=True):
            basis = vectors[:, :rank]
            core = torch.tensordot(core, basis, dims=([side], [0])).movedim(-1, side)
            ends.append(basis if side == 0 else basis.T)
        weights = [*ends[:-1], core, ends[-1]]
        for link, weight in zip(chain, weights, strict=True):
            link.weight.data.copy_(weight.reshape(link.weight.shape))

    def error(self, chain: Sequence[_Layer]) -> float:
        """What the chain's own weights lack of the layer's, relative, in the Frobenius norm."""
        first, *core, last = (link.weight.detach().to(self.weight) for link in chain)
        if core:
            made = torch.einsum("or,rs...,si->oi...", last.flatten(1), core[0], first.flatten(1))
        else:
            made = last.flatten(1) @ first.flatten(1)
        lost = torch.linalg.vector_norm(self.weight - made.reshape(self.weight.shape))
        return float(lost / torch.linalg.vector_norm(self.weight)) if lost else 0.0


def _weighty(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """What has matrices or kernels, the layers inside attention and recurrent modules aside: those go with these."""
    whole = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)
    inside = tuple(f"{name}." if name else "" for name, layer in model.named_modules() if isinstance(layer, whole))
    for name, layer in model.named_modules():
        kinds = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, nn.Bilinear, *whole)
        if isinstance(layer, kinds) and not name.startswith(inside):
            yield name, layer


def _hindrance(name: str, layer: nn.Module, kind: str) -> str:
    """Why this layer cannot become a chain whatever its size; empty if it can."""
    if not name:
        return "it is the whole network; put it into an nn.Sequential"
    if type(layer) not in _LAYERS:
        return f"there is no chain for {type(layer).__name__}"
    assert isinstance(layer, _LAYERS)
    if not isinstance(layer, nn.Linear) and layer.groups > 1:
        return "there is no chain for a grouped convolution"
    if kind not in ("all", _kind(layer)):
        return f"kind {kind} leaves it alone; {_kind(layer)} would not"
    if not bool(layer.weight.isfinite().all()):
        raise InvalidInputError(f"{name}.weight has entries that are not finite; train the network anew")
    return ""


def _kind(layer: _Layer) -> str:
    return "svd" if layer.weight.numel() == layer.weight.shape[0] * layer.weight.shape[1] else "tucker"


def _sides(layer: _Layer) -> tuple[int, ...]:
    return (0,) if _kind(layer) == "svd" else (1, 0)


def _spectrum(layer: _Layer, round_to: int) -> _Spectrum:
    weight = layer.weight.detach().double()
    sides = _sides(layer)
    vectors, values = [], []
    for side in sides:
        left, value, _ = torch.linalg.svd(weight.movedim(side, 0).flatten(1), full_matrices=False)
        # A singular vector is as good as its negative: the largest entry of each is positive here.
        largest = left.gather(0, left.abs().argmax(0, keepdim=True))
        vectors.append(left * torch.where(largest < 0, -1.0, 1.0))
        values.append(value)
    return _Spectrum(weight, sides, tuple(vectors), tuple(values), round_to)


def _energy(spectra: Iterable[_Spectrum], *, ratio: float) -> float:
    """The highest energy at which the layers together lose `ratio` of their weights; 0 where none does."""
    spectra = list(spectra)
    allowed = (1 - ratio) * sum(one.size for one in spectra)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if sum(one.left(middle) for one in spectra) <= allowed:
            low = middle
        else:
            high = middle
    return low


def _replace(model: nn.Module, name: str, ranks: Indices) -> list[_Layer]:
    """Put a chain of zeros into the place of a layer, whose bias it keeps."""
    layer = model.get_submodule(name)
    assert isinstance(layer, _LAYERS)
    chain = _chain(layer, ranks)
    for link in chain:
        link.weight.data.zero_()
        link.weight.requires_grad_(layer.weight.requires_grad)
    chain[-1].bias = layer.bias
    model.set_submodule(name, nn.Sequential(*chain).train(layer.training))
    for place, module in model.named_modules():
        if not name.startswith(f"{place}." if place else ""):
            continue
        # In eval mode these two read `weight` of their linear layers past forward(), unless told not to.
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0
        elif isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False
    return chain


def _chain(layer: _Layer, ranks: Indices) -> list[_Layer]:
    """The links: strides, paddings and dilations at the first of a matrix, at the middle one of a kernel."""
    kind, options = type(layer), {"bias": False, "device": layer.weight.device, "dtype": layer.weight.dtype}

    def link(*sizes: Any, **how: Any) -> _Layer:  # without drawing first weights: the global generator is the caller's
        return cast("_Layer", nn.utils.skip_init(kind, *sizes, **how, **options))  # type: ignore[no-untyped-call]

    if isinstance(layer, nn.Linear):
        return [link(*ends) for ends in pairwise((layer.in_features, *ranks, layer.out_features))]
    how = {name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
    return [
        link(*ends, **(how if place == len(ranks) - 1 else {"kernel_size": 1}))
        for place, ends in enumerate(pairwise((layer.in_channels, *ranks, layer.out_channels)))
    ]
