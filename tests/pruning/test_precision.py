import pytest
import torch
from torch import nn

from pruneguard.pruning import precision, training
from pruneguard.reporting import Quiet, listener
from pruneguard.workload import Split
from tests.pruning import networks

FAST = {"avx512_bf16": True}


def wide() -> nn.Module:
    """75 million multiplications a row."""
    return networks.seeded(
        lambda: nn.Sequential(nn.Conv2d(1, 128, 3, padding=1), nn.Conv2d(128, 1024, 3, padding=1), nn.Flatten(1))
    )


@pytest.fixture
def fast(monkeypatch):
    """A processor that multiplies bfloat16, whatever this one does."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: FAST)


def test_large_batches_of_large_networks_pay_and_small_ones_do_not(fast):
    split = networks.separable()
    # 9 * 128 + 9 * 128 * 1024 multiplications at each of 64 pixels are 7.6e7 a row.
    assert precision.pays(wide(), split, batch_size=2)
    assert not precision.pays(wide(), split, batch_size=1)
    assert not precision.pays(networks.plain(), split, batch_size=64)


def test_no_more_rows_are_counted_than_there_are(fast):
    split = networks.separable(rows=3)
    assert not precision.pays(wide(), Split(split.x[:1], split.y[:1]), batch_size=64)


@pytest.mark.parametrize("capabilities", [{}, {"avx512_bf16": False}, {"bf16": True}])
def test_a_processor_without_bfloat16_never_gains(monkeypatch, capabilities):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert not precision.pays(wide(), networks.separable(), batch_size=64)


def test_asking_leaves_mode_and_statistics_as_they_were(fast):
    model, split = networks.plain(), networks.separable()
    model[1].eval()
    before = model[4].running_mean.clone()
    precision.pays(model, split, batch_size=8)
    precision.agrees(model, split)
    assert [module.training for module in model] == [True, False, True, True, True, True, True, True]
    assert torch.equal(model[4].running_mean, before)


class Steep(nn.Module):
    """Differences far below what bfloat16 can tell decide here."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, networks.CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.last(x.flatten(1))
        return (y + 1000 - 1000.0).float() if y.dtype == torch.float32 else (y + 1000 - 1000.5).float() ** 2


def test_losses_agree_where_precision_decides_nothing_and_not_where_it_does():
    split = networks.separable()
    assert precision.agrees(networks.plain(), split)
    assert not precision.agrees(networks.seeded(Steep), split)


def test_a_loss_that_is_no_number_never_agrees():
    split = networks.separable()
    assert not precision.agrees(networks.plain(), Split(split.x * float("nan"), split.y))


def test_training_goes_back_to_float32_when_the_losses_part_and_says_so(monkeypatch):
    monkeypatch.setattr(precision, "pays", lambda model, split, batch_size: True)
    said: list[str] = []
    seen: list[torch.dtype] = []

    class Listening(Quiet):
        def say(self, text: str) -> None:
            said.append(text)

    model = networks.seeded(Steep)
    model.last.register_forward_hook(lambda module, x, y: seen.append(y.dtype) if model.training else None)
    token = listener.set(Listening())
    try:
        training.fit(model, networks.separable(), epochs=3, seed=0, schedule=training.Schedule(batch_size=90))
    finally:
        listener.reset(token)
    assert seen == [torch.bfloat16, torch.float32, torch.float32]
    assert said == ["bfloat16 changes the loss after epoch 1; the rest is trained in float32"]


@pytest.mark.parametrize("asked", [True, False])
def test_who_says_it_gets_it(asked):
    seen: set[torch.dtype] = set()
    model = networks.seeded(Steep)
    model.last.register_forward_hook(lambda module, x, y: seen.add(y.dtype))
    training.fit(model, networks.separable(), epochs=3, seed=0, schedule=training.Schedule(bf16=asked))
    assert seen == {torch.bfloat16 if asked else torch.float32}
