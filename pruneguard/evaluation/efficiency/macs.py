"""Multiply-accumulates: what one answer costs, whatever the machine."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pruneguard.evaluation.contender import device_of, evaluating
from pruneguard.workload import Floats


def multiply_accumulates(model: nn.Module, row: Floats) -> int:
    """How often the network multiplies and adds up to answer one row [1, ...].

    Counted are convolutions, matrix products and attention, as torch executes them; not biases, activations,
    normalisation and pooling. A weight of zero counts like any other: dense kernels multiply by it. Where the path
    depends on the row, as experts do, it is this row's.
    """
    counter = FlopCounterMode(display=False)
    with evaluating(model), torch.no_grad(), _decomposed(), counter:
        model(torch.from_numpy(row).to(device_of(model)))
    return int(counter.get_total_flops()) // 2


@contextmanager
def _decomposed() -> Iterator[None]:
    """No fused kernels for recurrent layers, attention and transformer layers: the counter cannot look into them."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a setting for other machines, which `flags` sets along
            with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
