import pytest
import torch

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


def test_a_loss_that_is_no_number_names_its_epoch():
    split = networks.separable()
    split.x[0, 0, 0, 0] = float("nan")
    with pytest.raises(InvalidInputError, match="the loss is nan in epoch 1 of 3"):
        training.fit(networks.plain(), split, epochs=3, seed=0, schedule=SCHEDULE)


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
