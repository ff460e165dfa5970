"""Runs in NNCF's environment: prune on its exponential schedule while fine-tuning, then write the masked weights.

Arguments: the workload's file and class, the dense weights, where the pruned ones go, ratio, epochs, seed, data.
"""

import copy
import sys
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from benchmarks.contest.teaching import finetune
from pruneguard.workload import load


class Whole(nn.Module):
    """NNCF keeps its hooks in a child of the network, and an nn.Sequential would call it as its last layer."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.inner(x)
        return logits


def main(file: str, kind: str, before: str, after: str, ratio: str, epochs: str, seed: str, data: str) -> None:
    import nncf  # type: ignore[import-not-found]  # here, as it is in no other environment
    from nncf.torch.function_hook.pruning.magnitude import schedulers  # type: ignore[import-not-found]

    mode = nncf.PruneMode.UNSTRUCTURED_MAGNITUDE_GLOBAL
    workload = load(Path(file), kind)
    train = workload.data(Path(data)).train
    dense = workload.build()
    dense.load_state_dict(safetensors.torch.load_file(before))
    rows = torch.from_numpy(train.x[:2])
    model = nncf.prune(Whole(copy.deepcopy(dense)), mode, ratio=float(ratio) / 2, examples_inputs=rows)
    scheduler = schedulers.ExponentialMagnitudePruningScheduler(
        model,
        mode=mode,
        initial_ratio=float(ratio) / 2,
        target_ratio=float(ratio),
        target_epoch=max(1, int(epochs) // 2),
    )

    def each_step(done: int, steps: int) -> None:
        if (done - 1) % (steps // int(epochs)) == 0:
            scheduler.step()

    finetune(model, dense, workload, train, epochs=int(epochs), seed=int(seed), float32=True, progress=each_step)
    scheduler.step(int(epochs))  # the last word, where there were too few epochs for the ramp
    plain = nncf.strip(model, do_copy=False, strip_format=nncf.StripFormat.IN_PLACE, example_input=rows)
    kept = {name: plain.state_dict()[f"inner.{name}"].contiguous() for name in dense.state_dict()}
    safetensors.torch.save_file(kept, after)


if __name__ == "__main__":
    main(*sys.argv[1:])
