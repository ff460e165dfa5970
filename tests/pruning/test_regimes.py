import pytest
import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import masks, training, weights
from pruneguard.pruning.regimes import SETTLED, Gradual, Held, Movement, Splicing, cubic
from tests.pruning import networks

SCHEDULE = training.Schedule(rate=1e-2, batch_size=16, weight_decay=0.1)

GROWING = {
    "gradual": lambda: Gradual(0.8, every=3),
    "splicing": lambda: Splicing(0.8, seed=3),
    "movement": lambda: Movement(0.8, every=3),
}


def line(*weights: float) -> nn.Module:
    """One linear layer of one output with these weights, no bias."""
    model = nn.Sequential(nn.Linear(len(weights), 1, bias=False))
    put(model, *weights)
    return model


def put(model: nn.Module, *weights: float) -> None:
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([weights]))


def shown(model: nn.Module) -> list[float]:
    return [round(value, 4) for value in model[0].weight[0].tolist()]


def alive(model: nn.Module, stays: masks.Masks) -> int:
    return sum(int(model.get_parameter(name)[~mask].count_nonzero()) for name, mask in stays.items())


@pytest.mark.parametrize("build", [networks.plain, networks.residual])
def test_held_weights_stay_zero_under_weight_decay_and_momentum_and_others_learn(build):
    model = build()
    stays = masks.make(model, ratio=0.7)
    masks.apply(model, stays)
    before = weights.digest(model)
    training.fit(model, networks.separable(), epochs=2, seed=3, schedule=SCHEDULE, regime=Held(stays))
    assert weights.digest(model) != before
    assert alive(model, stays) == 0
    assert not any(torch.signbit(model.get_parameter(name)[~mask]).any() for name, mask in stays.items())


@pytest.mark.parametrize("kind", GROWING)
def test_a_growing_regime_ends_at_its_ratio_with_a_network_that_learnt(kind):
    model, split, regime = networks.plain(), networks.separable(), GROWING[kind]()
    training.fit(model, split, epochs=8, seed=0, schedule=SCHEDULE, regime=regime)
    assert masks.sparsity(regime.masks) == pytest.approx(0.8, abs=0.01)
    assert alive(model, regime.masks) == 0
    with torch.no_grad():
        assert (model(torch.from_numpy(split.x)).argmax(1).numpy() == split.y).mean() > 0.9


@pytest.mark.parametrize("kind", GROWING)
@pytest.mark.parametrize("epochs", [1, 4])
def test_masks_are_final_for_the_last_part_of_the_training_however_short(kind, epochs):
    seen: list[bytes] = []
    regime = GROWING[kind]()

    class Watched:
        masks = property(lambda self: regime.masks)

        def before(self, model, step, steps):
            regime.before(model, step, steps)

        def after(self, model, step, steps):
            regime.after(model, step, steps)
            assert alive(model, regime.masks) == 0  # at every step: what is looked at in between is masked
            if step + 1 >= SETTLED * steps:
                seen.append(masks.pack(regime.masks))

    training.fit(networks.plain(), networks.separable(), epochs=epochs, seed=0, schedule=SCHEDULE, regime=Watched())
    assert len(seen) >= 0.3 * 6 * epochs
    assert len(set(seen)) == 1


def test_the_cubic_is_steep_first_and_flat_at_the_end():
    # 70 of 100 steps ramp: t = 35/70 after step 34, so 0.9 - 0.7 * 0.5^3.
    assert cubic(34, 100, 0.2, 0.9) == pytest.approx(0.9 - 0.7 * 0.125)
    assert cubic(69, 100, 0.2, 0.9) == cubic(99, 100, 0.2, 0.9) == 0.9
    assert cubic(0, 1, 0.2, 0.9) == 0.9


def test_what_gradual_pruning_masked_does_not_regrow():
    model, regime = line(1.0, 2.0, 3.0, 4.0), Gradual(0.5, every=1)
    # Of 10 steps 7 ramp; 0.5 * (1 - (1 - 1/7)^3) = 0.19 of 4 weights is none, after step 1 it is 0.32 and one.
    regime.after(model, 0, 10)
    assert shown(model) == [1, 2, 3, 4]
    regime.after(model, 1, 10)
    assert shown(model) == [0, 2, 3, 4]
    put(model, 9.0, 2.0, 3.0, 4.0)  # as an optimiser could
    regime.after(model, 2, 10)
    assert shown(model) == [0, 2, 3, 4]
    regime.after(model, 6, 10)
    assert shown(model) == [0, 0, 3, 4]


def test_a_spliced_weight_comes_back_with_the_value_that_it_grew_in_hiding():
    model, regime = line(1.0, 2.0, 3.0, 4.0), Splicing(0.5, decay=0.0)
    regime.after(model, 0, 100)
    assert shown(model) == [0, 0, 3, 4]
    regime.before(model, 1, 100)
    assert shown(model) == [1, 2, 3, 4]  # gradients go to all of them
    put(model, 1.0, 3.2, 3.0, 4.0)  # larger than what stays, within the band: 3.2 / 1.1 < 3.0 / 0.9
    regime.after(model, 1, 100)
    assert shown(model) == [0, 0, 3, 4]
    regime.before(model, 2, 100)
    assert shown(model) == [1, 3.2, 3, 4]
    put(model, 1.0, 3.8, 3.0, 4.0)  # 3.8 / 1.1 > 3.0 / 0.9
    regime.after(model, 2, 100)
    assert shown(model) == [0, 3.8, 0, 4]
    assert regime.masks["0.weight"].tolist() == [[False, True, False, True]]


def test_splicing_changes_masks_less_and_less_often():
    model, regime = networks.table(), Splicing(0.5, decay=0.1)
    changed = []
    for step in range(200):
        regime.before(model, step, 400)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_()
        earlier = regime.masks
        regime.after(model, step, 400)
        changed.append(regime.masks is not earlier)
    assert changed[0]
    assert sum(changed[:50]) > 2 * sum(changed[150:])


def test_a_pattern_can_be_spliced_and_cannot_grow():
    model, regime = line(1.0, 2.0, 3.0, 4.0), Splicing(None, budget="2:4")
    regime.after(model, 0, 10)
    assert shown(model) == [0, 0, 3, 4]
    for kind in (Gradual, Movement):
        with pytest.raises(InvalidInputError, match="which cannot grow"):
            kind(0.5, budget="2:4")


def test_movement_lets_go_of_what_the_loss_pushes_to_zero_however_large():
    model, regime = line(4.0, 1.0, 3.0, 2.0), Movement(0.5, every=1)
    # -w * g: 4 and 3 are pushed towards zero, 1 and 2 away from it.
    model[0].weight.grad = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    regime.before(model, 6, 10)
    regime.after(model, 6, 10)
    assert shown(model) == [0, 1, 0, 2]


def test_movement_scores_masked_weights_too_and_one_may_return_unchanged():
    model, regime = line(4.0, 1.0, 3.0, 2.0), Movement(0.5, every=1)
    model[0].weight.grad = torch.tensor([[1.0, -1.0, 1.0, -1.0]])  # scores -4, 1, -3, 2
    regime.before(model, 3, 10)
    regime.after(model, 3, 10)  # 0.5 * (1 - (3/7)^3) = 0.46 of four: one
    assert shown(model) == [0, 1, 3, 2]
    model[0].weight.grad = torch.tensor([[-3.0, 0.0, 0.0, 0.0]])  # scores 8, 1, -3, 2
    regime.before(model, 4, 10)
    assert shown(model) == [4, 1, 3, 2]
    assert model[0].weight.grad.tolist() == [[0, 0, 0, 0]]  # the weight itself learns only where it is seen
    regime.after(model, 4, 10)
    assert shown(model) == [4, 1, 0, 2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gradual(1.0), "ratio=1.0"),
        (lambda: Gradual(0.5, start=0.6), "start=0.6"),
        (lambda: Gradual(0.5, every=0), "every=0"),
        (lambda: Movement(0.5, budget="wish"), "wish"),
        (lambda: Splicing(0.0), "ratio=0.0"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_training(make, message):
    with pytest.raises(InvalidInputError, match=message):
        make()
