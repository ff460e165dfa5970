"""The default training: AdamW under a one-cycle schedule, seeded, with or without a teacher.

Same seed, rows, torch and number of threads: same weights. What it touches of torch's global state, the random
generator, is put back afterwards.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.reporting import Progress
from pruneguard.workload import Split

Augment: TypeAlias = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""A batch [n, ...] and the generator to draw from; returns the changed batch, same shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How weights are fitted. A workload may bring its own as an attribute `schedule`."""

    rate: float = 3e-3
    """Highest learning rate of the cycle."""

    batch_size: int = 64

    weight_decay: float = 1e-2

    label_smoothing: float = 0.0

    distillation: float = 0.7
    """Share of the loss that comes from the teacher, where there is one."""

    temperature: float = 3.0
    """Softens teacher and pupil alike; Hinton et al. 2015 (arXiv 1503.02531)."""

    bf16: bool = False
    """Compute in bfloat16, channels_last: twice as fast with AVX512-BF16 or AMX, half as fast on other CPUs."""


def fit(
    model: nn.Module,
    split: Split,
    *,
    epochs: int,
    seed: int,
    teacher: nn.Module | None = None,
    augment: Augment | None = None,
    progress: Progress | None = None,
    schedule: Schedule = Schedule(),
) -> None:
    """Fit `model` to `split` in place and leave it in eval mode.

    With a `teacher` the loss is distillation * T^2 * KL(teacher || model) + (1 - distillation) * CE; it is put into
    eval mode, its weights never change.
    Raises InvalidInputError, naming the epoch, when the loss stops being a number.
    """
    x, y = torch.from_numpy(split.x), torch.from_numpy(split.y)
    batches = math.ceil(len(y) / schedule.batch_size)
    optimiser = torch.optim.AdamW(model.parameters(), lr=schedule.rate, weight_decay=schedule.weight_decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, schedule.rate, total_steps=max(1, epochs * batches))
    generator = torch.Generator().manual_seed(seed)
    layout = torch.channels_last if schedule.bf16 and x.dim() == 4 else torch.contiguous_format
    model.train().to(memory_format=layout)  # type: ignore[call-overload]  # missing in torch's stubs
    if teacher is not None:
        teacher.eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout draws from the global generator
        for epoch in range(epochs):
            order = torch.randperm(len(y), generator=generator)
            # Even parts: a last batch of a single row would stop batch normalisation.
            for number, rows in enumerate(torch.tensor_split(order, batches)):
                batch = x[rows] if augment is None else augment(x[rows], generator)
                with torch.autocast("cpu", torch.bfloat16, enabled=schedule.bf16):
                    loss = _loss(model, batch.contiguous(memory_format=layout), y[rows], teacher, schedule)
                if not torch.isfinite(loss):
                    raise InvalidInputError(
                        f"the loss is {loss.item()} in epoch {epoch + 1} of {epochs}; "
                        "lower the learning rate of the workload's schedule, or look for extreme values in its data"
                    )
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
                cycle.step()
                if progress is not None:
                    progress(epoch * batches + number + 1, epochs * batches)
    model.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _loss(
    model: nn.Module, x: torch.Tensor, y: torch.Tensor, teacher: nn.Module | None, schedule: Schedule
) -> torch.Tensor:
    logits = model(x).float()
    truth = F.cross_entropy(logits, y, label_smoothing=schedule.label_smoothing)
    if teacher is None:
        return truth
    with torch.no_grad():
        target = teacher(x).float()
    t = schedule.temperature
    imitation = F.kl_div(
        F.log_softmax(logits / t, 1), F.log_softmax(target / t, 1), log_target=True, reduction="batchmean"
    )
    return schedule.distillation * t * t * imitation + (1 - schedule.distillation) * truth
