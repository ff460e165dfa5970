import numpy as np
import pytest
import torch
from torch import nn

from pruneguard.evaluation import attacks
from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.sessions import Session, predictions
from pruneguard.evidence import PairedTable
from pruneguard.workload import Split
from tests.evaluation.small import linear, table


def accuracy(contender, x, y):
    return (predictions(Session(contender.onnx).logits(x)) == y).mean()


def test_fgsm_on_a_linear_model_by_hand():
    # Logits (a, -a) of the first feature a: raising the loss of class 0 lowers it, and of class 1 raises it.
    model = linear([[1.0, -1.0], [0.0, 0.0]]).model
    domain = Domain(low=0.0, high=1.0, images=False, mean=np.zeros(2, "f4"), spread=np.array([1.0, 1.0], "f4"))
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


def test_each_model_is_attacked_through_its_own_gradients():
    # Each looks at a feature of its own, near its boundary at 0: an attack through the other's would not move it.
    sign = np.where(np.arange(40) % 2, 1, -1)
    x = (0.02 * sign[:, None] * np.ones(2)).astype(np.float32)
    y = (sign < 0).astype(np.int64)
    first, second = linear([[40.0, -40.0], [0.0, 0.0]]), linear([[0.0, 0.0], [40.0, -40.0]])
    assert accuracy(first, x, y) == accuracy(second, x, y) == 1
    domain = Domain(low=-1.0, high=1.0, images=False, mean=np.zeros(2, "f4"), spread=np.ones(2, "f4"))
    for attack in ("fgsm", "pgd"):
        found = attacks.measure(Pair.load(first, second, classes=2), Split(x, y), domain, attack=attack, seed=0)
        assert found == {f"robustness.{attack}.paired": PairedTable(0, 0, 0, 40)}


def test_many_rows_are_sampled(pair, digits, monkeypatch):
    monkeypatch.setattr(attacks, "ROWS_MAX", 50)
    (found,) = attacks.measure(pair, digits.gate, Domain.of(digits), attack="fgsm", seed=0).values()
    assert found.n == 50


class Tokens(nn.Module):
    """A network whose rows are token ids."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(8, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.embedding(x.long()).mean(1))


def test_rows_that_no_gradient_reaches_are_not_attackable(digits, twin):
    ids = np.zeros((2, 5), np.float32)
    assert not attacks.attackable(Tokens(), ids)
    assert not attacks.attackable(Tokens().requires_grad_(False), ids)
    assert attacks.attackable(twin.model, digits.gate.x[:2])
    assert attacks.attackable(nn.Linear(5, 2).requires_grad_(False), ids)
