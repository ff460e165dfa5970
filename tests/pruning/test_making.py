import torch

from pruneguard import pruning
from pruneguard.pruning import weights
from pruneguard.pruning.recomputing import recompute
from pruneguard.pruning.training import Schedule
from pruneguard.workload import Snapshot
from tests.pruning import networks

SPLIT = networks.separable()
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
        workload, twin, SNAPSHOT, ratio=0.5, epochs=3, seed=7, progress=lambda *step: seen.append(step)
    )
    assert candidate.parameters == 64 * 16 + 16 + 16 * 3 + 3
    assert accuracy(candidate.model) > 0.95
    assert weights.dump(twin) == before
    assert recompute(before, candidate.lineage)
    assert weights.digest(candidate.model) != candidate.lineage.weights
    assert seen[-1] == (18, 18)
