from dataclasses import replace

import pytest
import torch
import torch.nn.utils.prune

from pruneguard import pruning
from pruneguard.errors import InvalidInputError
from pruneguard.pruning import recipe, weights
from pruneguard.pruning.recomputing import recompute
from pruneguard.pruning.shop import Known
from pruneguard.pruning.training import Schedule
from pruneguard.workload import Snapshot
from tests.pruning import networks

SPLIT = networks.separable()
NEURONS = recipe.recipe("neurons", [recipe.step({"prune": "neurons"})])
SNAPSHOT = Snapshot(train=SPLIT, gate=SPLIT, release=SPLIT, classes=networks.CLASSES)


class Bands:
    schedule = Schedule(rate=1e-2, batch_size=16)

    def __init__(self):
        self.augmented = 0

    def build(self):
        # Not seeded by itself: `twin` has to make the first weights repeatable.
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))

    def data(self, directory):
        return SNAPSHOT

    def augment(self, x, generator):
        self.augmented += 1
        return x


class Trained(Bands):
    def train(self, model, split, *, epochs, seed):
        self.asked = (len(split), epochs, seed)


def accuracy(model):
    with torch.no_grad():
        return (model(torch.from_numpy(SPLIT.x)).argmax(1).numpy() == SPLIT.y).mean()


def test_a_twin_learns_is_repeatable_and_uses_the_workloads_augmentation():
    workload = Bands()
    twin = pruning.twin(workload, SNAPSHOT, epochs=4, seed=7)
    assert accuracy(twin) > 0.95
    assert workload.augmented == 4 * 6
    assert weights.digest(pruning.twin(Bands(), SNAPSHOT, epochs=4, seed=7)) == weights.digest(twin)
    assert weights.digest(pruning.twin(Bands(), SNAPSHOT, epochs=4, seed=8)) != weights.digest(twin)


def test_a_workloads_own_training_wins():
    workload, seen = Trained(), []
    pruning.twin(workload, SNAPSHOT, epochs=3, seed=7, progress=lambda *step: seen.append(step))
    assert workload.asked == (90, 3, 7)
    assert workload.augmented == 0
    assert seen == [(3, 3)]


def test_a_candidate_is_narrower_knows_its_lineage_and_leaves_the_twin_alone():
    workload, seen = Bands(), []
    twin = pruning.twin(workload, SNAPSHOT, epochs=4, seed=7)
    before = weights.dump(twin)
    candidate = pruning.candidate(
        workload, twin, SNAPSHOT, NEURONS, ratio=0.5, epochs=3, seed=7, progress=lambda *step: seen.append(step)
    )
    assert candidate.parameters == 64 * 16 + 16 + 16 * 3 + 3
    assert accuracy(candidate.model) > 0.95
    assert weights.dump(twin) == before
    assert recompute(before, candidate.lineage)
    assert weights.digest(candidate.model) != candidate.lineage.weights
    assert seen[-1][0] == seen[-1][1]
    assert seen == sorted(seen)


def test_the_training_budget_is_shared_by_rounds_and_phases():
    workload = Bands()
    twin = pruning.twin(workload, SNAPSHOT, epochs=4, seed=7)
    workload.augmented = 0
    both = recipe.recipe(
        "both",
        [recipe.step({"prune": "neurons", "schedule": "iterative", "rounds": 3}), recipe.step({"prune": "weights"})],
    )
    made = pruning.candidate(workload, twin, SNAPSHOT, both, ratio=0.5, epochs=6, seed=7)
    assert workload.augmented == 6 * 6
    # 32 neurons in steps of 8: the first round's share is rounded to 8 of them, the last one's to 16.
    assert [round(each.ratio, 3) for each in made.lineage.rounds] == [0.206, 0.5]


def test_a_round_that_costs_too_much_is_undone():
    workload = Bands()
    twin = pruning.twin(workload, SNAPSHOT, epochs=4, seed=7)
    steps = [recipe.step({"prune": "neurons", "schedule": "iterative", "rounds": 2})]
    wrong = replace(SNAPSHOT, train=replace(SPLIT, y=(SPLIT.y + 1) % networks.CLASSES))
    workload.schedule = replace(workload.schedule, distillation=0.0)
    with pytest.raises(InvalidInputError, match=r"cost .* points of accuracy, and drop_max is 1"):
        pruning.candidate(workload, twin, wrong, recipe.recipe("wreck", steps), ratio=0.5, epochs=6, seed=7)


def test_a_candidate_that_promises_nothing_is_not_trained():
    workload = Bands()
    twin = pruning.twin(workload, SNAPSHOT, epochs=4, seed=7)
    workload.augmented = 0
    made = pruning.candidate(
        workload, twin, SNAPSHOT, NEURONS, ratio=0.5, epochs=3, seed=7, promising=lambda model: False
    )
    assert workload.augmented == 0
    assert weights.digest(made.model) == made.lineage.weights


def test_what_is_exported_has_widths_that_onnxruntime_is_fast_on_and_answers_the_same():
    twin = pruning.twin(Bands(), SNAPSHOT, epochs=1, seed=7)
    made = pruning.candidate(Bands(), twin, SNAPSHOT, NEURONS, ratio=0.45, epochs=1, seed=7, round_to=1)
    assert made.model[1].out_features == 18
    assert made.deployed[1].out_features == 20
    x = torch.from_numpy(SPLIT.x)
    with torch.no_grad():
        assert torch.allclose(made.deployed(x), made.model(x), atol=1e-6)


def test_what_will_be_left_is_known_before_anything_is_trained():
    twin = pruning.twin(Bands(), SNAPSHOT, epochs=1, seed=7)
    asked = {"ratio": 0.5, "round_to": 8, "known": Known()}
    predicted = pruning.predicted(twin, SPLIT.x[:2], NEURONS, **asked)
    made = pruning.candidate(Bands(), twin, SNAPSHOT, NEURONS, ratio=0.5, epochs=1, seed=7)
    assert predicted == pytest.approx(made.parameters / (64 * 32 + 32 + 32 * 3 + 3))


UNPRUNABLE = {
    "share one weight": lambda model: _tie(model),
    "has hooks": lambda model: model[1].register_forward_hook(lambda *_: None),
    "computes its weights": lambda model: torch.nn.utils.parametrizations.weight_norm(model[1]),
    "computes its weights ": lambda model: torch.nn.utils.prune.l1_unstructured(model[1], "weight", 0.5),
}


@pytest.mark.parametrize("why", UNPRUNABLE)
def test_a_network_whose_copies_are_not_what_they_seem_is_refused(why):
    twin = pruning.twin(Bands(), SNAPSHOT, epochs=1, seed=7)
    UNPRUNABLE[why](twin)
    with pytest.raises(InvalidInputError, match=why.strip()):
        pruning.candidate(Bands(), twin, SNAPSHOT, NEURONS, ratio=0.5, epochs=1, seed=7)


def _tie(model):
    model.append(torch.nn.Linear(3, 3))
    model[4].weight = torch.nn.Parameter(torch.eye(3))
    model.append(torch.nn.Linear(3, 3))
    model[5].weight = model[4].weight
