"""The default training: AdamW under a one-cycle schedule, seeded, with or without a teacher.

Same seed, rows, torch, processor and number of threads: same weights. What it touches of torch's global state, the
random generator, is put back afterwards. A training that fails leaves the weights that it found.
"""

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import losses, precision
from pruneguard.pruning.regimes import Regime
from pruneguard.reporting import Progress, listener
from pruneguard.workload import Split

Augment: TypeAlias = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""A batch [n, ...] and the generator to draw from; returns the changed batch, same shape."""


_OUT_OF_MEMORY = re.compile("can't allocate memory|not enough memory|out of memory")


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

    bf16: bool | None = None
    """Compute in bfloat16, channels_last. None: where that is faster (`precision.pays`), and as long as its loss agrees
    with that of float32 at the end of each epoch."""


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
    regime: Regime | None = None,
    checkpoint: tuple[int, Callable[[nn.Module], None]] | None = None,
) -> None:
    """Fit `model` to `split` in place and leave it in eval mode.

    With a `teacher` the loss is distillation * T^2 * KL(teacher || model) + (1 - distillation) * CE, of a regression
    the same of squared differences; it is put into eval mode, its weights never change. `regime` prunes between the
    steps. `checkpoint` is the number of an epoch, counted from 1, and what to call with the network at its end.

    Raises InvalidInputError, naming epoch and step, when the loss or a gradient stops being finite, and when there is
    too little memory for a batch.
    """
    x, y = torch.from_numpy(split.x), torch.from_numpy(split.y)
    batches = math.ceil(len(y) / schedule.batch_size)
    steps = epochs * batches
    generator = torch.Generator().manual_seed(seed)
    if teacher is not None:
        teacher.eval()
    with _memory_told(schedule), _undone_on_failure(model), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout draws from the global generator
        rough = schedule.bf16
        if rough is None:
            rough = precision.pays(model, split, batch_size=schedule.batch_size)
        layout = _laid_out(model.train(), x, rough=rough)
        optimiser = torch.optim.AdamW(model.parameters(), lr=schedule.rate, weight_decay=schedule.weight_decay)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, schedule.rate, total_steps=max(1, steps))
        for epoch in range(1, epochs + 1):
            order = torch.randperm(len(y), generator=generator)
            # Even parts: a last batch of a single row would stop batch normalisation.
            for step, rows in enumerate(torch.tensor_split(order, batches), (epoch - 1) * batches):
                batch = x[rows] if augment is None else augment(x[rows], generator)
                with torch.autocast("cpu", torch.bfloat16, enabled=rough):
                    loss = _loss(model, batch.contiguous(memory_format=layout), y[rows], teacher, schedule)
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                _require_finite(loss, model, place=f"epoch {epoch} of {epochs}, step {step % batches + 1} of {batches}")
                if regime is not None:
                    regime.before(model, step, steps)
                optimiser.step()
                cycle.step()
                if regime is not None:
                    regime.after(model, step, steps)
                if progress is not None:
                    progress(step + 1, steps)
            if checkpoint is not None and checkpoint[0] == epoch:
                checkpoint[1](model)
            if rough and schedule.bf16 is None and epoch < epochs and not precision.agrees(model, split):
                listener.get().say(f"bfloat16 changes the loss after epoch {epoch}; the rest is trained in float32")
                rough, layout = False, _laid_out(model, x, rough=False)


@contextmanager
def _memory_told(schedule: Schedule) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch has no class of its own for what the processor's memory lacks
        if isinstance(error, RuntimeError) and not _OUT_OF_MEMORY.search(str(error)):
            raise
        raise InvalidInputError(
            f"too little memory to train on batches of {schedule.batch_size} rows; the weights are those from before "
            "the training. Lower `batch_size` in the workload's schedule, or take a smaller network"
        ) from error


@contextmanager
def _undone_on_failure(model: nn.Module) -> Iterator[None]:
    before = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    try:
        yield
    except BaseException:  # an interrupt too: half-trained weights are nobody's
        model.load_state_dict(before)
        raise
    finally:
        model.zero_grad()  # gradients would be copied along with the network
        model.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # missing in torch's stubs


def _laid_out(model: nn.Module, x: torch.Tensor, *, rough: bool) -> torch.memory_format:
    """Put `model` into the layout that is fast, and name it."""
    layout = torch.channels_last if rough and x.dim() == 4 else torch.contiguous_format
    model.to(memory_format=layout)  # type: ignore[call-overload]
    return layout


def _require_finite(loss: torch.Tensor, model: nn.Module, *, place: str) -> None:
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    if torch.isfinite(loss) and torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
        return
    found = f"loss is {loss.item()}" if not torch.isfinite(loss) else "gradient is not finite"
    raise InvalidInputError(
        f"the {found} in {place}; the weights are those from before the training. Lower the learning rate of the "
        "workload's schedule, or look for extreme values in its data"
    )


def _loss(
    model: nn.Module, x: torch.Tensor, y: torch.Tensor, teacher: nn.Module | None, schedule: Schedule
) -> torch.Tensor:
    answers = model(x).float()
    truth = losses.loss(answers, y, label_smoothing=schedule.label_smoothing)
    if teacher is None:
        return truth
    with torch.no_grad():
        taught = teacher(x).float()
    imitated = losses.imitation(answers, taught, y, temperature=schedule.temperature)
    return schedule.distillation * imitated + (1 - schedule.distillation) * truth
