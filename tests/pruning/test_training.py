from dataclasses import replace

import pytest
import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import training, weights
from pruneguard.pruning.training import Schedule
from pruneguard.workload import Split
from tests.pruning import networks

SCHEDULE = Schedule(rate=1e-2, batch_size=16)


def accuracy(model, split):
    with torch.no_grad():
        return (model(torch.from_numpy(split.x)).argmax(1).numpy() == split.y).mean()


def test_fitting_learns():
    model, split = networks.plain(), networks.separable()
    before = accuracy(model.eval(), split)
    training.fit(model, split, epochs=4, seed=0, schedule=SCHEDULE)
    assert before < 0.7
    assert accuracy(model, split) > 0.95
    assert not model.training


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    def fitted(seed):
        model = networks.plain()
        training.fit(model, networks.separable(), epochs=1, seed=seed, schedule=SCHEDULE, augment=jitter)
        return weights.digest(model)

    assert fitted(1) == fitted(1)
    assert fitted(1) != fitted(2)


def jitter(x, generator):
    return x + 0.1 * torch.rand(x.shape, generator=generator)


def test_torchs_own_generator_is_left_where_it_was():
    before = torch.get_rng_state()
    training.fit(networks.plain(), networks.separable(), epochs=1, seed=5, schedule=SCHEDULE)
    assert torch.equal(torch.get_rng_state(), before)


def test_progress_counts_every_step_to_the_end():
    seen = []
    training.fit(
        networks.plain(),
        networks.separable(rows=20),
        epochs=2,
        seed=0,
        schedule=SCHEDULE,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_last_batch_of_one_row_is_no_stop_for_batch_normalisation():
    training.fit(networks.plain(), networks.separable(rows=17), epochs=1, seed=0, schedule=SCHEDULE)


def test_a_loss_that_is_no_number_names_its_place_and_the_weights_are_put_back():
    split = networks.separable(rows=48)
    split.x[0, 0, 0, 0] = float("nan")
    model = networks.plain()
    before = weights.digest(model)
    with pytest.raises(
        InvalidInputError, match=r"the loss is nan in epoch 1 of 3, step \d of 3; the weights are those"
    ):
        training.fit(model, split, epochs=3, seed=0, schedule=SCHEDULE)
    assert weights.digest(model) == before


class Cliff(nn.Module):
    """The loss stays a number; its gradient becomes infinite once the weights have moved."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, networks.CLASSES)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        y = self.last(x.flatten(1))
        return y + torch.sqrt((y - y.detach()).abs()) if self.calls > 3 else y


def test_a_gradient_that_is_not_finite_is_told_and_buffers_are_put_back_too():
    model = networks.seeded(Cliff)
    before = weights.digest(model)
    with pytest.raises(InvalidInputError, match="the gradient is not finite in epoch 2 of 2, step 1 of 3"):
        training.fit(model, networks.separable(rows=48), epochs=2, seed=0, schedule=replace(SCHEDULE, bf16=False))
    assert weights.digest(model) == before
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


class Greedy(nn.Module):
    """Asks for four exabytes once it has learnt a little."""

    def __init__(self, want) -> None:
        super().__init__()
        self.last = nn.Linear(64, networks.CLASSES)
        self.want, self.calls = want, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls > 2:
            self.want()
        return self.last(x.flatten(1))


@pytest.mark.parametrize("want", [lambda: torch.empty(1 << 60), lambda: bytearray(1 << 62)])
def test_too_little_memory_says_what_to_lower_and_the_weights_are_put_back(want):
    model = networks.seeded(lambda: Greedy(want))
    before = weights.digest(model)
    with pytest.raises(InvalidInputError, match=r"batches of 16 rows; the weights are those .* Lower `batch_size`"):
        training.fit(model, networks.separable(), epochs=1, seed=0, schedule=SCHEDULE)
    assert weights.digest(model) == before


def test_other_errors_and_interrupts_pass_as_they_are_and_the_weights_are_put_back():
    def stumble():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    def interrupt():
        raise KeyboardInterrupt

    for want, expected in ((stumble, RuntimeError), (interrupt, KeyboardInterrupt)):
        model = networks.seeded(lambda want=want: Greedy(want))
        before = weights.digest(model)
        with pytest.raises(expected):
            training.fit(model, networks.separable(), epochs=1, seed=0, schedule=SCHEDULE)
        assert weights.digest(model) == before


def test_the_network_is_shown_once_at_the_end_of_the_epoch_asked_for():
    kept: list[bytes] = []
    model, split = networks.plain(), networks.separable()
    training.fit(
        model,
        split,
        epochs=3,
        seed=0,
        schedule=SCHEDULE,
        checkpoint=(3, lambda network: kept.append(weights.dump(network))),
    )
    assert kept == [weights.dump(model)]


def test_a_pupil_follows_its_teacher_and_the_teacher_stays_as_it_is():
    split = networks.separable()
    teacher = networks.plain()
    training.fit(teacher, split, epochs=4, seed=0, schedule=SCHEDULE)
    before = weights.digest(teacher)
    # The labels say nothing here: what the pupil knows in the end, it has from the teacher.
    unlabelled = Split(split.x, split.y * 0)
    pupil = networks.plain()
    schedule = Schedule(rate=1e-2, batch_size=16, distillation=1.0)
    training.fit(pupil, unlabelled, epochs=6, seed=0, teacher=teacher, schedule=schedule)
    assert accuracy(pupil, split) > 0.95
    assert weights.digest(teacher) == before


def test_bfloat16_learns_too_and_leaves_float32_weights_in_the_usual_layout():
    model, split = networks.plain(), networks.separable()
    training.fit(model, split, epochs=4, seed=0, schedule=Schedule(rate=1e-2, batch_size=16, bf16=True))
    assert accuracy(model, split) > 0.9
    assert all(p.dtype == torch.float32 and p.is_contiguous() for p in model.parameters())
