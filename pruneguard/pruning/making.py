"""From a workload to its two kinds of network: the dense twin, and candidates cut from it."""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from pruneguard.pruning import channels, training
from pruneguard.pruning.lineage import Lineage
from pruneguard.reporting import Progress
from pruneguard.workload import Snapshot, Workload, ask

EXAMPLE_ROWS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A pruned and fine-tuned network; its lineage tells the cut, which came before the fine-tuning."""

    model: nn.Module
    lineage: Lineage

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
    round_to: int = 8,
    progress: Progress | None = None,
) -> Candidate:
    """Prune a copy of `twin` by `ratio` (see `channels.prune`) and fine-tune it with `twin` as its teacher."""
    example = snapshot.train.x[:EXAMPLE_ROWS]
    model, lineage = channels.prune(twin, example, ratio=ratio, round_to=round_to, seed=seed)
    _fit(model, workload, snapshot, epochs=epochs, seed=seed, progress=progress, teacher=copy.deepcopy(twin))
    return Candidate(model, lineage)


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
