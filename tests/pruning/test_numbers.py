"""Networks that answer with numbers: trained, taught, cut, exported and rounded."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruneguard import pruning
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.marking import Marking
from pruneguard.evaluation.sessions import Session
from pruneguard.pruning import (
    deploying,
    export,
    losses,
    parts,
    precision,
    quantising,
    recipe,
    selecting,
    shop,
    training,
)
from pruneguard.pruning.criteria import CRITERIA, scores
from pruneguard.pruning.group import Part
from pruneguard.pruning.matching import require_matching
from pruneguard.workload import Snapshot, Split
from tests.pruning import networks

RNG = np.random.default_rng(3)


def split(rows: int) -> Split:
    """Five features, of which two say the number."""
    x = RNG.random((rows, 5), dtype=np.float32)
    return Split(x, 2 * x[:, 0] - 3 * x[:, 1] ** 2)


DATA = Snapshot(split(400), split(100), split(100), classes=None, tolerance=0.2)


def network(width: int = 1) -> nn.Module:
    return networks.seeded(lambda: nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, width)))


class Flat(nn.Module):
    """Answers without columns."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x).squeeze(1)


class Numbers:
    schedule = training.Schedule(rate=2e-2, batch_size=32)

    def __init__(self, model=network) -> None:
        self.model = model

    def build(self):
        return self.model()

    def data(self, directory):
        return DATA


@pytest.fixture(scope="module", params=[network, Flat], ids=["one column", "no column"])
def workload(request):
    return Numbers(request.param)


@pytest.fixture(scope="module")
def twin(workload):
    return pruning.twin(workload, DATA, epochs=12, seed=0)


# -- what is made small


@pytest.mark.parametrize("shape", [(3, 1), (3,)])
def test_the_loss_of_numbers_is_the_mean_squared_error(shape):
    answers, y = torch.tensor([1.0, 2, 3]).reshape(shape), torch.tensor([1.0, 4, 2])
    assert losses.loss(answers, y).item() == pytest.approx(5 / 3)


def test_the_loss_of_classes_is_the_cross_entropy():
    logits, y = torch.tensor([[1.0, 2, 3], [3, 1, 0]]), torch.tensor([2, 1])
    assert torch.equal(losses.loss(logits, y, label_smoothing=0.1), F.cross_entropy(logits, y, label_smoothing=0.1))


def test_a_teacher_of_numbers_is_imitated_in_the_same_unit_whatever_the_temperature():
    answers, taught, y = torch.tensor([[1.0], [2]]), torch.tensor([[3.0], [2]]), torch.zeros(2)
    for temperature in (1.0, 9.0):
        assert losses.imitation(answers, taught, y, temperature=temperature).item() == pytest.approx(2)


def test_training_learns_numbers(workload, twin):
    assert shop.explained(workload.build().eval(), DATA.gate) < 0.5
    assert shop.explained(twin, DATA.gate) > 0.9
    assert shop.right(twin, DATA.gate, Marking(0.4)).mean() > 0.8


def test_a_pupil_learns_its_teachers_numbers_where_those_are_all_it_is_given():
    teacher = pruning.twin(Numbers(), DATA, epochs=12, seed=0)
    pupil = networks.seeded(lambda: nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1)))
    shuffled = Split(DATA.train.x, RNG.permutation(DATA.train.y))
    schedule = replace(Numbers.schedule, distillation=1.0)
    training.fit(pupil, shuffled, epochs=20, seed=0, teacher=teacher, schedule=schedule)
    assert shop.explained(pupil, DATA.gate) > 0.9


def test_a_number_that_is_not_finite_stops_the_training():
    broken = Split(DATA.train.x, np.where(np.arange(400) == 7, np.inf, DATA.train.y).astype(np.float32))
    with pytest.raises(InvalidInputError, match="the loss is inf in epoch 1"):
        training.fit(network(), broken, epochs=1, seed=0, schedule=Numbers.schedule)


def test_precision_is_compared_by_the_loss_of_numbers(twin):
    assert precision.agrees(twin, DATA.train)


# -- what is cut


@pytest.mark.parametrize("criterion", sorted(name for name, each in CRITERIA.items() if Part.NEURONS in each.parts))
def test_every_criterion_for_neurons_weighs_them_by_numbers_too(workload, twin, criterion):
    groups = parts.find(Part.NEURONS, twin, DATA.train.x[:2]).groups
    (worth,) = scores(twin, groups, criterion=criterion, rows=DATA.train, seed=0)
    assert worth.shape == (32,)
    assert torch.isfinite(worth).all()


def test_a_candidate_is_cut_taught_and_exported(workload, twin):
    require_matching(workload, DATA)
    asked = recipe.recipe("neurons", [recipe.step({"prune": "neurons", "criterion": "taylor"})])
    made = pruning.candidate(workload, twin, DATA, asked, ratio=0.5, epochs=4, seed=0, round_to=4)
    assert made.parameters < 0.6 * sum(parameter.numel() for parameter in twin.parameters())
    assert shop.explained(made.model, DATA.gate) > 0.9
    file = deploying.artefact(made.deployed, asked, DATA, seed=0)
    said = Session(file.onnx).logits(DATA.gate.x)
    with torch.no_grad():
        expected = made.deployed(torch.from_numpy(DATA.gate.x)).numpy().reshape(-1, 1)
    np.testing.assert_allclose(said, expected, atol=1e-5)


def test_what_a_cut_costs_is_told_in_explained_variance(twin):
    at = shop.Shop(Numbers(), DATA.train, DATA.gate, twin, None, 0.5, 0, 1, None, shop.Known(), lambda epochs: None)
    assert at.drop(twin) == 0
    assert at.drop(network().eval()) > 0.5


def test_rows_are_not_chosen_by_classes_that_there_are_not():
    with pytest.raises(InvalidInputError, match="by el2n where labels are classes; these are numbers"):
        selecting.select(Numbers(), DATA, by="el2n", keep=0.5, seed=0)


# -- what is deployed


def test_a_file_of_numbers_may_be_off_by_rounding_in_their_own_unit():
    class Dollars(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 250_000 + 100_000 * self.inner(x)

    content = export.to_onnx(Dollars().eval(), DATA.gate.x, classes=None)
    assert Session(content).classes is None


def test_a_network_of_several_numbers_is_no_regression():
    with pytest.raises(InvalidInputError, match=r"answers 2 rows with \(2, 2\); expected .* one number for each row"):
        require_matching(Numbers(lambda: network(2)), DATA)
    with pytest.raises(InvalidInputError, match=r"shape \(100, 2\); expected \(100, 1\), one number"):
        export.to_onnx(network(2), DATA.gate.x, classes=None)


def test_labels_of_another_type_are_refused_before_training():
    whole = replace(DATA, gate=Split(DATA.gate.x, DATA.gate.y.astype(np.int64)))
    with pytest.raises(InvalidInputError, match=r"data\(\)\.gate\.y is int64 \(100,\); expected float32"):
        require_matching(Numbers(), whole)


def test_eight_bits_tell_how_much_of_the_answers_they_leave(twin):
    content = export.to_onnx(twin, DATA.gate.x, classes=None)
    assert 0.95 < quantising.int8(content, DATA.train.x).agreement <= 1
