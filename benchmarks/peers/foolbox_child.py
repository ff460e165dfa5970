"""Runs in foolbox's environment: its FGSM and its PGD. Argument: the folder of the task."""

import sys

import torch

from benchmarks.peers.besieging import Floats, Task, work

STEP = 2.5
"""Size of a step in radii over their number, as ours (Madry et al. 2018)."""


def attack(task: Task) -> dict[str, Floats]:
    import foolbox  # type: ignore[import-not-found]  # here, as it is in no other environment

    network = foolbox.PyTorchModel(task.model, bounds=(0, 1), device="cpu")
    x, y = torch.from_numpy(task.x), torch.from_numpy(task.y)
    attacks = {
        "fgsm": foolbox.attacks.FGSM(),
        "pgd": foolbox.attacks.LinfPGD(rel_stepsize=STEP / task.steps, steps=task.steps, random_start=True),
    }
    return {name: each(network, x, y, epsilons=task.epsilon)[1].numpy() for name, each in attacks.items()}


if __name__ == "__main__":
    work(sys.argv[1], attack)
