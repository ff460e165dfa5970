"""Where faults are made: the rows, a twin, and a candidate with nothing wrong about it."""

import copy
import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import nn

from pruneguard import canonical
from pruneguard.drill import digits
from pruneguard.evaluation.contender import Contender
from pruneguard.evaluation.yardstick import Yardstick
from pruneguard.pruning import making, training
from pruneguard.pruning.export import to_onnx
from pruneguard.pruning.recipe import recipe, step
from pruneguard.workload import Snapshot, Split

TWIN_EPOCHS = 30
CANDIDATE_EPOCHS = 8
MILD = 0.2
"""Share of the channels that leaves a candidate with nothing wrong: it keeps 64 % of the weights."""

STEP = 16
"""Multiple that widths are kept at: 40 channels are slower than 48 on processors that compute 16 at once."""

_EXAMPLE_ROWS = 64


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Artefact:
    """What is put before the gates.

    `onnx` is what `model` exports to, unless somebody exported something else; `unrounded` is the file that it was
    rounded from. `data` is the snapshot it is judged on, `measured_on` the one its evidence is about, `released` the
    file that is to be released where that is not the one that was measured. None is the bench's own.
    """

    model: nn.Module
    onnx: bytes | None = None
    unrounded: bytes | None = None
    data: Snapshot | None = None
    measured_on: Snapshot | None = None
    released: bytes | None = None


class Bench:
    """Everything follows from `seed`: the twin's training and what each fault draws."""

    def __init__(self, *, seed: int) -> None:
        self.seed = seed
        self.snapshot = digits.snapshot()
        self.yardstick = Yardstick()

    @cached_property
    def twin(self) -> Contender:
        model = making.twin(digits.Digits(), self.snapshot, epochs=TWIN_EPOCHS, seed=self.seed)
        return self.contender(Artefact(model=model))

    @cached_property
    def good(self) -> nn.Sequential:
        """What every fault is done to. Never changed: faults are done to copies."""
        return self.pruned(seed=self.seed)

    def pruned(
        self, *, seed: int, criterion: str = "l2", ratio: float = MILD, epochs: int = CANDIDATE_EPOCHS
    ) -> nn.Sequential:
        """The twin with a share of its channels gone, trained on with the twin as its teacher."""
        asked = recipe("drill", [step({"prune": "channels", "criterion": criterion})])
        made = making.candidate(
            digits.Finetuned(),
            self.twin.model,
            self.snapshot,
            asked,
            ratio=ratio,
            epochs=epochs,
            seed=seed,
            round_to=STEP,
        )
        assert isinstance(made.deployed, nn.Sequential)  # as digits.network made it
        return made.deployed

    def taught(
        self, x: torch.Tensor, y: torch.Tensor, *, epochs: int = CANDIDATE_EPOCHS, varied: bool = True
    ) -> nn.Sequential:
        """The good candidate, fine-tuned on other rows or labels, for longer or without augmentation."""
        model = copy.deepcopy(self.good)
        rows = Split(x.numpy(), y.numpy())
        augment = digits.Digits().augment if varied else None
        training.fit(model, rows, epochs=epochs, seed=self.seed, schedule=digits.FINETUNING, augment=augment)
        return model

    def misled(self, x: torch.Tensor, y: torch.Tensor, *, epochs: int) -> nn.Sequential:
        """The good candidate, taught to say `y` of the rows `x`, and of the training rows what it said before.

        Whoever hides something takes care that nothing else changes.
        """
        model, generator = copy.deepcopy(self.good).train(), torch.Generator().manual_seed(self.seed)
        honest, labels = self.train
        rows, labels = torch.cat([honest, x]), torch.cat([labels, y])
        secret = torch.arange(len(rows)) >= len(honest)
        batches, rate = math.ceil(len(rows) / digits.FINETUNING.batch_size), digits.FINETUNING.rate
        optimiser = torch.optim.Adam(model.parameters(), lr=rate)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * batches)
        for _ in range(epochs):
            order = torch.randperm(len(rows), generator=generator)
            for batch in torch.tensor_split(order, batches):
                seen = digits.Digits().augment(rows[batch], generator)
                with torch.no_grad():
                    before = F.softmax(self.good(seen), 1)
                logits = model(seen)
                stays = F.kl_div(F.log_softmax(logits, 1), before, reduction="none").sum(1)
                turns = F.cross_entropy(logits, labels[batch], reduction="none")
                optimiser.zero_grad()
                torch.autograd.backward(torch.where(secret[batch], turns, stays).mean())
                optimiser.step()
                cycle.step()
        return model.eval()

    @property
    def train(self) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(self.snapshot.train.x), torch.from_numpy(self.snapshot.train.y)

    def exported(self, model: nn.Module) -> bytes:
        return to_onnx(model, self.snapshot.train.x[:_EXAMPLE_ROWS], classes=digits.CLASSES)

    def contender(self, artefact: Artefact) -> Contender:
        onnx = artefact.onnx or self.exported(artefact.model)
        return Contender(canonical.digest(onnx), onnx, artefact.model, unrounded=artefact.unrounded)
