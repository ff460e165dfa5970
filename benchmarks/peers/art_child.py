"""Runs in ART's environment: its FGSM and its PGD, with one random start as ours. Argument: the folder of the task."""

import sys

from torch import nn

from benchmarks.peers.besieging import Floats, Task, work

STEP = 2.5
"""Size of a step in radii over their number, as ours (Madry et al. 2018)."""


def attack(task: Task) -> dict[str, Floats]:
    from art.attacks import evasion  # type: ignore[import-not-found]  # here, as it is in no other environment
    from art.estimators.classification import PyTorchClassifier  # type: ignore[import-not-found]

    network = PyTorchClassifier(
        task.model,
        nn.CrossEntropyLoss(),
        task.x.shape[1:],
        task.classes,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    once = evasion.FastGradientMethod(network, eps=task.epsilon, batch_size=256)
    often = evasion.ProjectedGradientDescentPyTorch(
        network,
        eps=task.epsilon,
        eps_step=STEP * task.epsilon / task.steps,
        max_iter=task.steps,
        num_random_init=1,
        batch_size=256,
        verbose=False,
    )
    return {"fgsm": once.generate(task.x, task.y), "pgd": often.generate(task.x, task.y)}


if __name__ == "__main__":
    work(sys.argv[1], attack)
