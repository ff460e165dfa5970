"""A model's weights as bytes: safetensors, never a pickle.

The same weights always make the same bytes: safetensors orders tensors by type and name, and strides are dropped.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import safetensors.torch
import torch
from safetensors import SafetensorError

from pruneguard import canonical
from pruneguard.errors import InvalidInputError

if TYPE_CHECKING:
    from torch import nn

State: TypeAlias = Mapping[str, torch.Tensor]
"""Tensors by the names they have in a network's state_dict."""


def dump(model: "nn.Module") -> bytes:
    """Every parameter and persistent buffer of `model`, tied tensors under each of their names."""
    return save(model.state_dict())


def save(state: State) -> bytes:
    """The safetensors bytes of these tensors."""
    # clone: safetensors refuses tensors that share memory, and channels_last strides must not reach the bytes.
    return safetensors.torch.save(
        {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
    )


def read(content: bytes) -> dict[str, torch.Tensor]:
    """The tensors in these safetensors bytes. Raises InvalidInputError when they are none."""
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise InvalidInputError(f"these weights are not safetensors ({error}); dump the model again") from error


def load(model: "nn.Module", content: bytes) -> None:
    """Put the weights in `content` into `model`, in place.

    Raises InvalidInputError, and leaves the model as it was, unless names, shapes and types are exactly the model's.
    """
    given = read(content)
    expected = model.state_dict()
    absent, surplus = sorted(expected.keys() - given.keys()), sorted(given.keys() - expected.keys())
    if absent or surplus:
        raise InvalidInputError(
            f"the weights lack {absent} and have the unknown {surplus}; load them into the network they were taken from"
        )
    for name, tensor in expected.items():
        found = given[name]
        if (found.shape, found.dtype) != (tensor.shape, tensor.dtype):
            raise InvalidInputError(
                f"{name} is {found.dtype} {tuple(found.shape)} in the weights and {tensor.dtype} {tuple(tensor.shape)} "
                "in the model; a pruned network is rebuilt from its lineage before its weights are loaded"
            )
    model.load_state_dict(given)


def digest(model: "nn.Module") -> str:
    """Digest of `dump(model)`: the name that lineage and ledger know a network's weights by."""
    return canonical.digest(dump(model))


def refuse_unprunable(model: "nn.Module") -> None:
    """Raise InvalidInputError for a network whose copies would not be what they seem.

    Two parameters that are one tensor: what prunes one would prune the other. Hooks: a copy takes them along, bound to
    whatever they knew. Weights that are computed at every call (parametrizations, `torch.nn.utils.prune`, weight norm):
    cutting what they are computed from is not cutting them.
    """
    names: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if (other := names.setdefault(parameter.data_ptr(), name)) != name and parameter.numel():
            raise InvalidInputError(
                f"{other} and {name} share one weight; pruning one would cut the other. Untie them before pruning"
            )
    for place, module in model.named_modules():
        where = place or type(model).__name__
        if hasattr(module, "parametrizations") or any(name.endswith(("_orig", "_g")) for name in module._parameters):
            raise InvalidInputError(
                f"{where} computes its weights at every call (a parametrization, weight norm, torch.nn.utils.prune); "
                "make them plain first: remove_parametrizations, remove_weight_norm, prune.remove"
            )
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
            raise InvalidInputError(f"{where} has hooks; pruning works on copies, so remove them in build()")
