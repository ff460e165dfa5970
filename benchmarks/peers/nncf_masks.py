"""NNCF 3.4 (Intel): single weights by magnitude, all that is left of its pruning, in an environment of its own."""

import copy
import importlib.metadata
import tempfile
from pathlib import Path

import safetensors.torch
from torch import nn

from benchmarks.contest.dense import Dense
from benchmarks.peers import environments
from benchmarks.peers.peer import Unable
from pruneguard.pruning import weights

QUIET = {"NNCF_CI": "1"}
"""The only switch that turns its telemetry off without asking."""


class Nncf:
    name = "nncf"
    ratios = (0.5, 0.75, 0.9)

    def prune(self, dense: Dense, *, ratio: float) -> nn.Module:
        version = importlib.metadata.version  # torchao: nncf.strip imports it, and NNCF does not ask for it
        torch = version("torch").partition("+")[0]
        others = [f"{name}=={version(name)}" for name in ("numpy", "safetensors", "rfc8785", "cryptography")]
        interpreter = environments.python("nncf", ["nncf==3.4.*", "torchao", f"torch=={torch}", *others])
        with tempfile.TemporaryDirectory(prefix="pruneguard-nncf-") as name:
            before, after = Path(name) / "dense.safetensors", Path(name) / "pruned.safetensors"
            before.write_bytes(weights.dump(dense.model))
            task = dense.task
            arguments = [str(task.file), task.kind, str(before), str(after), str(ratio), str(dense.epochs)]
            arguments += [str(dense.seed), str(dense.directory)]
            environments.call(interpreter, "benchmarks.peers.nncf_child", arguments, environment=QUIET)
            model = copy.deepcopy(dense.model)
            model.load_state_dict(safetensors.torch.load(after.read_bytes()))
        zeros = sum(int((each == 0).sum()) for each in model.parameters())
        if zeros < ratio / 2 * sum(each.numel() for each in model.parameters()):
            share = zeros / sum(each.numel() for each in model.parameters())
            raise Unable(f"asked for {ratio:.0%} zeros, it made {share:.1%}, and said nothing")
        return model
