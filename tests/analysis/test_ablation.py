from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pruneguard.analysis import ablation
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.contender import Contender
from pruneguard.evaluation.correctness.quality import paired
from pruneguard.lifecycle import Twin
from pruneguard.pruning.recipe import recipe, step
from pruneguard.pruning.shop import right
from pruneguard.workload import Snapshot, Split
from tests.pruning import networks


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(5, 8), nn.Linear(8, 5)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(x)))

    def adds_nothing(self):
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)


class Twice(nn.Module):
    """Two residual blocks."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.last = nn.Linear(5, networks.CLASSES)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.last(x)


class Both(nn.Module):
    """A GRU in both directions."""

    def __init__(self):
        super().__init__()
        self.recurrent = nn.GRU(1, 4, batch_first=True, bidirectional=True)
        self.last = nn.Linear(8, networks.CLASSES)

    def forward(self, x):
        return self.last(self.recurrent(x.unsqueeze(2))[0].mean(1))


def of(tiny, model, rows):
    """The tiny subject with another network and other rows."""
    split = Split(rows, np.arange(len(rows), dtype=np.int64) % networks.CLASSES)
    twin = Twin(Contender("sha256:0", b"", model.eval()), None)
    return replace(tiny, snapshot=Snapshot(split, split, split, classes=networks.CLASSES), twin=twin)


def test_a_group_is_silenced_as_a_whole(tiny):
    found = ablation.measure(tiny, recipe=recipe("narrow", [step({"prune": "channels"})]))
    (component,) = found.components
    silent = np.full(len(tiny.rows), int(tiny.twin.model[4].bias.argmax()))  # only the last bias still answers
    assert component.table == paired(silent == tiny.rows.y, tiny.right)
    assert component.share == pytest.approx((144 + 16 + 2560) / 2730)


def test_heads_leave_one_at_a_time(tiny):
    subject = of(tiny, networks.transformer(), networks.TABLE)
    found = ablation.measure(subject, recipe=recipe("heads", [step({"prune": "heads"})]))
    assert [each.kind for each in found.components] == ["heads", "heads"]
    assert len({each.name for each in found.components}) == 2
    assert all(each.table is not None and 0 < each.share < 0.5 for each in found.components)


def test_a_block_that_adds_nothing_is_not_missed(tiny):
    model, none = networks.seeded(Twice), networks.seeded(Twice)
    for block in (model.blocks[1], *none.blocks):
        block.adds_nothing()
    subject = of(tiny, model, networks.TABLE)
    first, second = ablation.measure(subject, recipe=recipe("flat", [step({"prune": "blocks"})])).components
    assert second.table.discordance == 0
    assert first.table == paired(right(none.eval(), subject.rows), subject.right)


def test_both_directions_of_a_recurrent_layer_are_silenced_one_by_one(tiny):
    model = networks.seeded(Both)
    found = ablation.measure(of(tiny, model, networks.TABLE), recipe=recipe("units", [step({"prune": "units"})]))
    assert [each.name for each in found.components] == ["recurrent 0 to 3", "recurrent 4 to 7"]
    forward = networks.seeded(Both)
    for name, parameter in forward.recurrent.named_parameters():
        if not name.endswith("_reverse"):
            nn.init.zeros_(parameter)
    subject = of(tiny, model, networks.TABLE)
    assert found.components[0].table == paired(right(forward.eval(), subject.rows), subject.right)


def test_a_kind_that_the_network_has_not_is_refused(tiny):
    with pytest.raises(InvalidInputError, match="nothing that could leave"):
        ablation.measure(tiny, recipe=recipe("heads", [step({"prune": "heads"})]))


def test_the_twin_stays_as_it_was(tiny):
    before = {name: tensor.clone() for name, tensor in tiny.twin.model.state_dict().items()}
    ablation.measure(tiny)
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny.twin.model.state_dict().items())
