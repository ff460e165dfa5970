import numpy as np
import pytest
import torch
from torch import nn

from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.security import attacks
from pruneguard.evaluation.sessions import Session, predictions
from pruneguard.workload import Split
from tests.evaluation.small import linear, table


def accuracy(contender, x, y):
    return (predictions(Session(contender.onnx).logits(x)) == y).mean()


def test_fgsm_on_a_linear_model_by_hand():
    # Logits (a, -a) of the first feature a: raising the loss of class 0 lowers it, and of class 1 raises it.
    model = linear([[1.0, -1.0], [0.0, 0.0]]).model
    domain = Domain(low=0.0, high=1.0, kind="table", mean=np.zeros(2, "f4"), spread=np.array([1.0, 1.0], "f4"))
    x = np.array([[0.5, 0.5], [0.5, 0.5], [0.05, 0.5]], np.float32)
    found = attacks.fgsm(model, x, np.array([0, 1, 0]), domain, epsilon=0.1)
    assert found == pytest.approx(np.array([[0.4, 0.5], [0.6, 0.5], [0.0, 0.5]]))


@pytest.mark.parametrize("epsilon", [0.03, 0.1])
def test_no_attack_leaves_the_ball_or_the_bounds(digits, twin, epsilon):
    domain = Domain.of(digits)
    x, y = digits.gate.x, digits.gate.y
    for found in (
        attacks.fgsm(twin.model, x, y, domain, epsilon=epsilon),
        attacks.pgd(twin.model, x, y, domain, epsilon=epsilon, seed=0),
    ):
        assert np.abs(found - x).max() <= epsilon + 1e-6
        assert found.min() >= 0
        assert found.max() <= 1
        assert (found != x).any()


def test_pgd_is_at_least_as_strong_as_fgsm_and_both_hurt(digits, twin):
    domain = Domain.of(digits)
    x, y = digits.gate.x, digits.gate.y
    clean = accuracy(twin, x, y)
    one_step = accuracy(twin, attacks.fgsm(twin.model, x, y, domain), y)
    many_steps = accuracy(twin, attacks.pgd(twin.model, x, y, domain, seed=0), y)
    assert many_steps <= one_step < clean - 0.05


def test_the_ball_of_a_table_is_in_each_features_own_unit():
    plain = table(rows=400).train
    x = plain.x * np.array([1, 10, 1000], np.float32)
    snapshot = table(train=Split(x, plain.y), bounds=(-1e6, 1e6))
    model = linear(np.ones((3, 2)) * [1e-3, -1e-3]).model
    found = attacks.fgsm(model, x, snapshot.train.y, Domain.of(snapshot), epsilon=0.05)
    assert np.abs(found - x).max(axis=0) == pytest.approx(4 * 0.05 * x.std(axis=0), rel=1e-3)


def test_the_same_seed_gives_the_same_attack(digits, twin):
    domain = Domain.of(digits)
    rows = (digits.gate.x[:20], digits.gate.y[:20])
    torch.manual_seed(1)
    first = attacks.pgd(twin.model, *rows, domain, seed=3)
    torch.manual_seed(2)
    assert (first == attacks.pgd(twin.model, *rows, domain, seed=3)).all()


def test_the_network_is_left_as_it_was(digits, twin):
    model = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 10)).train()
    model[0].eval()
    attacks.pgd(model, digits.gate.x[:5], digits.gate.y[:5], Domain.of(digits), seed=0)
    assert [module.training for module in model] == [False, True, True]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_network_that_answers_with_nan_does_not_stop_the_attack(digits):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.constant_(model[1].weight, torch.nan)
    found = attacks.pgd(model, digits.gate.x[:5], digits.gate.y[:5], Domain.of(digits), seed=0)
    assert np.isfinite(found).all()


class Tokens(nn.Module):
    """A network whose rows are token ids."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(8, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.embedding(x.long()).mean(1))


class Wrapped(nn.Module):
    """Something done to the rows before a network sees them, and a factor that its logits are given."""

    def __init__(self, model, done, after=1.0):
        super().__init__()
        self.model, self.done, self.after = model, done, after

    def forward(self, x):
        return self.after * self.model(self.done(x))


def test_rows_that_no_gradient_reaches_are_an_obstacle(digits, twin):
    ids, labels = np.zeros((2, 5), np.float32), np.zeros(2, np.int64)
    few = digits.gate.taken(np.arange(9))
    for network in (Tokens(), Tokens().requires_grad_(False), Wrapped(nn.Linear(5, 2), torch.Tensor.detach)):
        assert attacks.obstacle(network, ids, labels) == "no gradient reaches the rows"
    assert attacks.obstacle(twin.model, few.x, few.y) is None
    assert attacks.obstacle(nn.Linear(5, 2).requires_grad_(False), ids, labels) is None


def test_a_gradient_that_is_no_number_on_one_answered_row_is_an_obstacle(digits, twin):
    few = digits.gate.taken(np.arange(9))
    few.x[4] = 0
    # The root's slope at 0 is infinite, and times nothing it is no number; the answers are as they were.
    rooted = Wrapped(twin.model, lambda x: x + 0 * x.sum(dim=(1, 2, 3), keepdim=True).sqrt())
    assert attacks.obstacle(rooted, few.x, few.y) == "the gradient is not a number on 1 of 9 rows"


def test_a_gradient_that_is_zero_everywhere_is_an_obstacle_and_on_some_rows_is_not(digits, twin):
    few = digits.gate.taken(np.arange(9))
    assert attacks.obstacle(Wrapped(twin.model, torch.round), few.x, few.y) == "the gradient is zero on all 9 rows"
    few.x[:8] = 0
    assert (
        attacks.obstacle(Wrapped(twin.model, lambda x: x * (x.amax((1, 2, 3)) > 0)[:, None, None, None]), few.x, few.y)
        is None
    )


def test_a_network_without_a_derivative_is_an_obstacle_that_says_so(digits, twin):
    class Opaque(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

    few = digits.gate.taken(np.arange(9))
    assert "the network's gradient fails (You must implement" in attacks.obstacle(
        Wrapped(twin.model, Opaque.apply), few.x, few.y
    )
