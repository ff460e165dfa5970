import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import masks, training, weights
from pruneguard.pruning.regimes import Held
from pruneguard.pruning.transfer import Source, transfer
from pruneguard.workload import Split
from tests.pruning import networks

SCHEDULE = training.Schedule(rate=1e-2, batch_size=32)


def digits(low: int, high: int) -> tuple[Split, Split]:
    """Real digits from `low` to below `high`, their classes from 0; to learn from, and to look at."""
    bunch = load_digits()
    which = np.flatnonzero((bunch.target >= low) & (bunch.target < high))
    x, y = (bunch.images[which, None] / 16).astype(np.float32), bunch.target[which].astype(np.int64) - low
    return Split(x[::2], y[::2]), Split(x[1::2], y[1::2])


def network(classes: int) -> nn.Module:
    def build() -> nn.Module:
        body = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten())
        return nn.ModuleDict({"body": body, "head": nn.Linear(16 * 4 * 4, classes)})

    class Read(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = build()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layers["head"](self.layers["body"](x))

    return networks.seeded(Read)


def accuracy(model: nn.Module, split: Split) -> float:
    with torch.no_grad():
        return float((model(torch.from_numpy(split.x)).argmax(1).numpy() == split.y).mean())


@pytest.fixture(scope="module")
def pruned():
    """A network that knows 0 to 5, with a fifth of its weights left."""
    model = network(6)
    training.fit(model, digits(0, 6)[0], epochs=8, seed=0, schedule=SCHEDULE)
    stays = masks.make(model, ratio=0.8, budget="layer")
    masks.apply(model, stays)
    training.fit(model, digits(0, 6)[0], epochs=3, seed=0, schedule=SCHEDULE, regime=Held(stays))
    return model, stays


def test_what_it_learnt_of_some_digits_helps_with_others_and_what_was_pruned_stays_so(pruned):
    model, stays = pruned
    learn, look = digits(6, 10)
    few = Split(learn.x[:40], learn.y[:40])
    started, scratch = network(4), network(4)
    moved = transfer(Source(model.state_dict(), stays), started)
    masks.apply(scratch, moved.masks)
    for each in (started, scratch):
        training.fit(each, few, epochs=5, seed=1, schedule=SCHEDULE, regime=Held(moved.masks))
    assert accuracy(started, look) > accuracy(scratch, look) + 0.2
    assert all(started.get_parameter(name)[~mask].count_nonzero() == 0 for name, mask in moved.masks.items())


def test_what_came_and_what_did_not_is_told_by_name(pruned):
    model, stays = pruned
    moved = transfer(Source(model.state_dict(), stays), network(4))
    assert moved.taken == tuple(f"layers.body.{number}.{kind}" for number in (0, 2) for kind in ("weight", "bias"))
    assert moved.fresh == {
        "layers.head.weight": "(6, 256) in the source, (4, 256) here",
        "layers.head.bias": "(6,) in the source, (4,) here",
    }
    assert set(moved.masks) == {"layers.body.0.weight", "layers.body.2.weight"}


def test_a_last_layer_that_fits_starts_anew_when_asked(pruned):
    model, stays = pruned
    target = network(6)
    before = target.layers["head"].weight.clone()
    moved = transfer(Source(model.state_dict(), stays), target, anew=["layers.head"])
    assert set(moved.fresh.values()) == {"asked to start anew"}
    assert torch.equal(target.layers["head"].weight, before)
    assert "layers.head.weight" not in moved.masks


def test_networks_with_nothing_in_common_are_refused_and_the_new_one_is_as_it_was(pruned):
    model, stays = pruned
    target = networks.table()
    before = weights.digest(target)
    with pytest.raises(InvalidInputError, match="no weight of the source fits Sequential"):
        transfer(Source(model.state_dict(), stays), target)
    assert weights.digest(target) == before
