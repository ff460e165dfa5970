"""What the attacking peers are given, and how they give it back; with torch alone, as it runs in their environments."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch import nn

from pruneguard.drill.networks import network

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A trained network in eval mode, and the rows it is to be attacked on, in [0, 1]."""

    model: nn.Module
    x: Floats
    y: npt.NDArray[np.int64]
    classes: int
    epsilon: float
    steps: int


def work(folder: str, attack: Callable[[Task], dict[str, Floats]]) -> None:
    """Read the task of a folder, attack, and leave the attacked rows in it."""
    asked = json.loads((Path(folder) / "asked.json").read_text())
    state = safetensors.torch.load_file(Path(folder) / "network.safetensors")
    widths = [len(state[f"{name}.weight"]) for name in ("first", "second")]
    model = network(widths[0], widths[1], classes=asked["classes"])
    model.load_state_dict(state)
    torch.manual_seed(asked["seed"])
    np.random.seed(asked["seed"])  # the one that they draw from
    rows = np.load(Path(folder) / "rows.npz")
    task = Task(model.eval(), rows["x"], rows["y"], asked["classes"], asked["epsilon"], asked["steps"])
    attacked: dict[str, Any] = attack(task)  # savez has arguments of its own
    np.savez(Path(folder) / "attacked.npz", **attacked)
