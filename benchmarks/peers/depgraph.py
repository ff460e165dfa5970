"""torch-pruning 1.6: DepGraph (Fang et al., CVPR 2023, arXiv 2301.12900) with the settings of its README."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch_pruning as tp
from torch import nn

from benchmarks.contest.dense import Dense
from benchmarks.peers.peer import Unable

STEPS = 2
"""Its README prunes in steps with fine-tuning between them; two leave each step some epochs of the budget."""

ROUND_TO = 8
"""Its README: "It's recommended to round dims/channels to 4x or 8x for acceleration"."""


class TorchPruning:
    name = "torch-pruning"
    ratios = (0.3, 0.5, 0.75)

    def prune(self, dense: Dense, *, ratio: float) -> nn.Module:
        model = copy.deepcopy(dense.model)
        before = _parameters(model)
        steps = min(STEPS, dense.epochs)
        pruner = _asked(lambda: _pruner(model, dense, ratio=ratio, steps=steps))
        for step in range(steps):
            _asked(lambda: _step(pruner, model, dense))
            dense.finetune(model, epochs=(step + 1) * dense.epochs // steps - step * dense.epochs // steps)
        if _parameters(model) == before:
            raise Unable("it removed nothing, and said nothing")
        return model


def _asked(call: Callable[[], Any]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of parameters that it decides about alone
            return call()
    except Exception as error:  # it raises whatever its walk through the network trips over
        raise Unable(f"{type(error).__name__}: {error}") from error


def _pruner(model: nn.Module, dense: Dense, *, ratio: float, steps: int) -> Any:
    # It writes into its default arguments, so that one pruner would change the next: all three are given.
    return tp.pruner.BasePruner(
        model,
        torch.from_numpy(dense.snapshot.train.x[:2]),
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        iterative_steps=steps,
        round_to=ROUND_TO,
        ignored_layers=[_last(model)],
        in_channel_groups={},
        out_channel_groups={},
        num_heads=_heads(model),
    )


def _step(pruner: Any, model: nn.Module, dense: Dense) -> None:
    """Takes channels away, and sees whether the network still runs."""
    pruner.step()
    with torch.no_grad():
        model.eval()(torch.from_numpy(dense.snapshot.train.x[:2]))


def _last(model: nn.Module) -> nn.Module:
    """The classifier, which its README leaves whole."""
    return [each for each in model.modules() if isinstance(each, nn.Linear)][-1]


def _heads(model: nn.Module) -> dict[nn.Module, int]:
    return {each: each.num_heads for each in model.modules() if isinstance(each, nn.MultiheadAttention)}


def _parameters(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())
