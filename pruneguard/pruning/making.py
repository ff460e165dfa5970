"""From a workload to its two kinds of network: the dense twin, and candidates cut from it."""

import copy
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from pruneguard.pruning import channels, masks, training
from pruneguard.pruning.lineage import Lineage, MaskLineage, Method
from pruneguard.reporting import Progress
from pruneguard.workload import Floats, Snapshot, Workload, ask

EXAMPLE_ROWS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A pruned and fine-tuned network; its lineage tells the cut, which came before the fine-tuning.

    `masks` is the file that a MaskLineage names; None where channels were cut.
    """

    model: nn.Module
    lineage: Lineage | MaskLineage
    masks: bytes | None = None

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())


def twin(
    workload: Workload,
    snapshot: Snapshot,
    *,
    epochs: int,
    seed: int,
    progress: Progress | None = None,
) -> nn.Module:
    """The dense network, trained by the workload's own `train` if it has one, else by `training.fit`; in eval mode.

    A workload's own training reports its progress only when it is over.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the first weights are drawn from the global generator
        model = workload.build()
        if getattr(workload, "train", None) is None:
            _fit(model, workload, snapshot, epochs=epochs, seed=seed, progress=progress)
        else:
            ask(workload, "train", model, snapshot.train, epochs=epochs, seed=seed)
            if progress is not None:
                progress(epochs, epochs)
    return model.eval()


def candidate(
    workload: Workload,
    twin: nn.Module,
    snapshot: Snapshot,
    *,
    ratio: float,
    epochs: int,
    seed: int,
    method: Method = Method.CHANNELS,
    round_to: int = 8,
    progress: Progress | None = None,
) -> Candidate:
    """Prune a copy of `twin` by `ratio` (of its channels, or of its weights) and fine-tune it with `twin` as teacher.

    What each method does: `channels.prune`, `masks.prune`. Weights that a mask made zero are zero afterwards.
    """
    teacher = copy.deepcopy(twin)
    lineage: Lineage | MaskLineage
    gone: masks.Masks | None = None
    if method is Method.CHANNELS:
        example = snapshot.train.x[:EXAMPLE_ROWS]
        model, lineage = channels.prune(twin, example, ratio=ratio, round_to=round_to, seed=seed)
    else:
        model, lineage, gone = masks.prune(twin, ratio=ratio, seed=seed)
    with nullcontext() if gone is None else masks.held(model, gone):
        _fit(model, workload, snapshot, epochs=epochs, seed=seed, progress=progress, teacher=teacher)
    return Candidate(model, lineage, None if gone is None else masks.pack(gone))


def shaped(twin: nn.Module, lineage: Lineage | MaskLineage, example: Floats) -> nn.Module:
    """A network of the candidate's shape, for its weights to be loaded into."""
    return channels.cut(twin, example, lineage.removed) if isinstance(lineage, Lineage) else copy.deepcopy(twin)


def _fit(
    model: nn.Module,
    workload: Workload,
    snapshot: Snapshot,
    *,
    epochs: int,
    seed: int,
    progress: Progress | None,
    teacher: nn.Module | None = None,
) -> None:
    training.fit(
        model,
        snapshot.train,
        epochs=epochs,
        seed=seed,
        teacher=teacher,
        augment=getattr(workload, "augment", None),
        schedule=getattr(workload, "schedule", training.Schedule()),
        progress=progress,
    )
