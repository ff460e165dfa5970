"""The fine-tuning that every side gets. Nothing but torch is imported: peers with their own environment call it too."""

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from pruneguard.pruning import training
from pruneguard.workload import Split, Workload


def finetune(
    model: nn.Module,
    dense: nn.Module,
    workload: Workload,
    split: Split,
    *,
    epochs: int,
    seed: int,
    float32: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """In place, with the dense network as teacher, on the workload's own schedule and augmentation.

    That is more than any peer's documentation does, which is cross-entropy alone, and the same for everybody.
    `float32` is for a peer that stumbles over the memory layout of fast bfloat16 training.
    """
    schedule: training.Schedule = getattr(workload, "schedule", training.Schedule())
    training.fit(
        model,
        split,
        epochs=epochs,
        seed=seed,
        teacher=dense,
        augment=getattr(workload, "augment", None),
        schedule=replace(schedule, bf16=False) if float32 else schedule,
        progress=progress,
    )
