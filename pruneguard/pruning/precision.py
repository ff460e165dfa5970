"""Whether a training may compute in bfloat16: it has to be faster, and the accuracy has to agree."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pruneguard.pruning.losses import loss
from pruneguard.workload import Split

MACS_MIN = 1e8
"""Multiplications of a batch from which bfloat16 was faster for each kind of network, with one thread and with two.

Against float32, with AVX512-BF16 and torch 2.13: at 1e7 slower, at 1e8 1.1 to 1.8 times as fast, at 1e9 1.7 to 2.6.
"""

SAMPLE_ROWS = 256
TOLERANCE = 0.02
"""Largest difference of the two losses that counts as agreement, relative to the larger one plus 0.1."""


def pays(model: nn.Module, split: Split, *, batch_size: int) -> bool:
    """Whether training is faster in bfloat16 here. A rule about processor and network, so the same at every call.

    What torch cannot count, such as the inside of nn.LSTM, counts nothing: such networks stay with float32.
    """
    capabilities = torch.cpu.get_capabilities()
    if not (capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")):
        return False
    with FlopCounterMode(display=False) as counter:  # gradients on: without them attention takes a path that hides it
        _evaluated(model, torch.from_numpy(split.x[:1]))
    macs = int(counter.get_total_flops()) // 2
    return macs * min(batch_size, len(split)) >= MACS_MIN


def agrees(model: nn.Module, split: Split) -> bool:
    """Whether the loss on some rows is the same in bfloat16 and float32; the model keeps its mode."""
    rows = torch.linspace(0, len(split) - 1, min(SAMPLE_ROWS, len(split))).long()
    x, y = torch.from_numpy(split.x)[rows], torch.from_numpy(split.y)[rows]
    with torch.no_grad():
        exact = loss(_evaluated(model, x), y).item()
        with torch.autocast("cpu", torch.bfloat16):
            rough = loss(_evaluated(model, x).float(), y).item()
    # NaN compares false, so NaN never agrees.
    return abs(exact - rough) <= TOLERANCE * (max(exact, rough) + 0.1)


def _evaluated(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The answers in eval mode; every module's mode is put back."""
    training = {module for module in model.modules() if module.training}
    try:
        answers: torch.Tensor = model.eval()(x)
    finally:
        for module in training:
            module.training = True
    return answers
