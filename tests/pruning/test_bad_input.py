"""What cannot be pruned as asked: one error that says what was found and what to do, and the twin as it was."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from pruneguard import pruning
from pruneguard.errors import InvalidInputError
from pruneguard.pruning import recipe, weights
from pruneguard.pruning.training import Schedule
from pruneguard.workload import Snapshot, Workload
from tests.pruning import networks

ROWS = networks.separable(24)
SNAPSHOT = Snapshot(train=ROWS, gate=ROWS, release=ROWS, classes=networks.CLASSES)


class FixedSizes(nn.Module):
    """Its forward() knows by heart how many channels there are."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.last = nn.Linear(16 * 64, networks.CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x)).view(-1, 16 * 64))


class NotANumber(FixedSizes):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x)).flatten(1)) * float("nan")


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, networks.CLASSES)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.second(torch.relu(self.first(x.flatten(1)))))


def hooked() -> nn.Module:
    network = networks.plain()
    network[0].register_forward_hook(lambda *_: None)
    return network


def one_layer() -> nn.Module:
    return networks.seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, networks.CLASSES)))


class Bench:
    schedule = Schedule(rate=1e-3, batch_size=12)

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        self.build = build

    def data(self, directory: Path) -> Snapshot:
        return SNAPSHOT


class Explosive(Bench):
    schedule = Schedule(rate=1e30, batch_size=12)


def candidate(workload: Workload, twin: nn.Module, *steps: dict[str, object], ratio: float = 0.5) -> pruning.Candidate:
    asked = recipe.recipe("asked", [recipe.step(step) for step in steps])
    return pruning.candidate(workload, twin, SNAPSHOT, asked, ratio=ratio, epochs=2, seed=1, round_to=4)


CHANNELS, REWIND = {"prune": "channels"}, {"prune": "weights", "schedule": "rewind"}

REFUSED = {
    "a part that is not there": (Bench(networks.plain), {"prune": "heads"}, "Sequential has no heads that can leave"),
    "sizes in forward()": (Bench(lambda: networks.seeded(FixedSizes)), CHANNELS, "first"),
    "one layer": (Bench(one_layer), CHANNELS, "no channels that can leave"),
    "answers that are no numbers": (Bench(lambda: networks.seeded(NotANumber)), {"prune": "weights"}, "loss is nan"),
    "a shared weight": (Bench(lambda: networks.seeded(Tied)), CHANNELS, "share one weight"),
    "a hook": (Bench(hooked), CHANNELS, "has hooks"),
    "no early weights": (Bench(networks.plain), REWIND, "early in training were not kept"),
    "a loss that explodes": (Explosive(networks.plain), CHANNELS, "is not finite|loss is"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_pruned_so_is_one_error_and_the_twin_stays_as_it_was(case: str) -> None:
    workload, step, told = REFUSED[case]
    twin = workload.build().eval()
    before, hooks = weights.digest(twin), len(list(twin.modules())[1]._forward_hooks)
    with pytest.raises(InvalidInputError, match=told):
        candidate(workload, twin, step)
    assert weights.digest(twin) == before
    assert len(list(twin.modules())[1]._forward_hooks) == hooks
    assert not twin.training
    assert all(p.grad is None and p.requires_grad for p in twin.parameters())


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.5, float("nan")])
@pytest.mark.parametrize("step", [CHANNELS, {"prune": "weights"}, {"factor": "layers"}], ids=str)
def test_a_ratio_that_is_no_share_is_refused(step: dict[str, object], ratio: float) -> None:
    workload = Bench(networks.plain)
    with pytest.raises(InvalidInputError, match="ratio"):
        candidate(workload, workload.build().eval(), step, ratio=ratio)


def test_a_network_of_one_layer_still_loses_weights() -> None:
    workload = Bench(one_layer)
    made = candidate(workload, workload.build().eval(), {"prune": "weights"})
    assert made.lineage.masks.keys() == {"1.weight"}
    assert int((made.model[1].weight == 0).sum()) == 64 * networks.CLASSES // 2


def test_a_network_that_looks_at_its_rows_is_cut_right_or_refused() -> None:
    """What forward() does depends on values here: what one example shows must hold for every other."""

    class Branching(FixedSizes):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found = torch.relu(self.first(x))
            return self.last((found if bool(x.sum() > 0) else -found).flatten(1))

    workload = Bench(lambda: networks.seeded(Branching))
    twin = workload.build().eval()
    made = candidate(workload, twin, CHANNELS)
    assert made.model.first.out_channels == 8
    for x in (torch.from_numpy(ROWS.x[:4]), -torch.from_numpy(ROWS.x[:4])):
        assert torch.isfinite(made.model(x)).all()
