"""A model's weights as bytes: safetensors, never a pickle.

The same weights always make the same bytes: safetensors orders tensors by type and name, and strides are dropped.
"""

from typing import TYPE_CHECKING

import safetensors.torch
import torch
from safetensors import SafetensorError

from pruneguard import canonical
from pruneguard.errors import InvalidInputError

if TYPE_CHECKING:
    from torch import nn


def dump(model: "nn.Module") -> bytes:
    """Every parameter and persistent buffer of `model`, tied tensors under each of their names."""
    # clone: safetensors refuses tensors that share memory, and channels_last strides must not reach the bytes.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    return safetensors.torch.save(tensors)


def load(model: "nn.Module", content: bytes) -> None:
    """Put the weights in `content` into `model`, in place.

    Raises InvalidInputError, and leaves the model as it was, unless names, shapes and types are exactly the model's.
    """
    try:
        given = safetensors.torch.load(content)
    except SafetensorError as error:
        raise InvalidInputError(f"these weights are not safetensors ({error}); dump the model again") from error
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


def refuse_tied(model: "nn.Module") -> None:
    """Raise InvalidInputError when two of the parameters are one tensor: what prunes one would prune the other."""
    names: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if (other := names.setdefault(parameter.data_ptr(), name)) != name and parameter.numel():
            raise InvalidInputError(
                f"{other} and {name} share one weight; pruning one would cut the other. Untie them before pruning"
            )
