import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import selecting
from pruneguard.pruning.training import Schedule
from pruneguard.workload import Snapshot, Split


class Digits:
    """Real digits, of which every twelfth bears the label of the next digit."""

    schedule = Schedule(rate=2e-2, batch_size=64)
    wrong = np.arange(0, 900, 12)

    def build(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Dropout(0.1), nn.Linear(48, 10))

    def data(self, directory=None):
        x, y = load_digits(return_X_y=True)
        x, y = (x[:900] / 16).astype(np.float32), y[:900].astype(np.int64)
        y[self.wrong] = (y[self.wrong] + 1) % 10
        split = Split(x, y)
        return Snapshot(train=split, gate=split, release=split, classes=10)


@pytest.fixture(scope="module")
def digits():
    return Digits(), Digits().data()


def test_planted_wrong_labels_leave_and_few_others(digits):
    rows = selecting.select(*digits, by="noise", keep=0.7, seed=0)
    gone = np.setdiff1d(np.arange(900), rows)
    found = np.isin(gone, Digits.wrong)
    assert found.sum() >= 0.8 * len(Digits.wrong)
    assert found.mean() >= 0.75


@pytest.mark.parametrize("by", ["el2n", "forgetting"])
def test_wrong_labels_are_the_hardest_rows_and_go_where_easy_ones_are_preferred(digits, by):
    scores = selecting.scores(*digits, by=by, seed=0)
    others = np.setdiff1d(np.arange(900), Digits.wrong)
    assert scores[Digits.wrong].mean() > 2 * scores[others].mean()
    easy = selecting.chosen(scores, digits[1].train.y, keep=0.5, prefer="easy")
    assert np.isin(Digits.wrong, easy).mean() < 0.1


def test_the_same_seed_chooses_the_same_rows_and_leaves_torchs_generator_alone(digits):
    before = torch.get_rng_state()
    first = selecting.select(*digits, by="el2n", keep=0.3, seed=4)
    assert np.array_equal(first, selecting.select(*digits, by="el2n", keep=0.3, seed=4))
    assert not np.array_equal(first, selecting.select(*digits, by="el2n", keep=0.3, seed=9))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.dtype == np.int64
    assert (np.diff(first) > 0).all()


def test_the_distance_is_from_the_label_as_one_and_the_rest_as_zero():
    found = selecting.distance(np.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]]), np.array([1, 0]))
    assert found == pytest.approx([np.sqrt(0.04 + 0.25 + 0.09), np.sqrt(2)])


def test_forgetting_counts_falls_only_and_puts_what_was_never_learnt_on_top():
    history = np.array([[1, 0, 0, 1], [0, 0, 1, 1], [1, 0, 1, 1], [0, 0, 1, 1]], dtype=bool)
    assert selecting.forgotten(history).tolist() == [2, 4, 0, 0]


def two_classes(likely):
    """Probabilities of the classes 0 and 1, given those of 0."""
    return np.stack([np.array(likely), 1 - np.array(likely)], axis=1)


def test_a_row_that_is_as_likely_of_another_class_as_that_class_is_of_itself_is_doubted():
    # Mean own probability: class 0 (0.9 + 0.8 + 0.1) / 3 = 0.6, class 1 (0.7 + 0.5) / 2 = 0.6. Row 2 is surely of 1.
    found = selecting.mislabelled(two_classes([0.9, 0.8, 0.1, 0.3, 0.5]), np.array([0, 0, 0, 1, 1]))
    assert found == pytest.approx([0, 0, 0.8, 0, 0])


def test_rows_that_are_surely_of_no_class_are_taken_to_be_as_wrong_as_the_others():
    # Means 0.4625 and 0.75: of the rows labelled 0, one is surely right, one surely wrong, two are neither. So two of
    # the four are wrong: the surely wrong one, and the next likeliest.
    found = selecting.mislabelled(two_classes([0.9, 0.1, 0.4, 0.45, 0.2, 0.3]), np.array([0, 0, 0, 0, 1, 1]))
    assert found == pytest.approx([0, 0.8, 0.2, 0, 0, 0])


def test_a_row_that_is_likely_of_no_class_is_not_doubted():
    probabilities = np.array([[0.9, 0.1], [0.55, 0.45], [0.1, 0.9]])
    assert selecting.mislabelled(probabilities, np.array([0, 1, 1])).tolist() == [0, 0, 0]


def test_nobody_is_held_to_be_of_a_class_without_rows():
    probabilities = np.array([[0.1, 0.2, 0.7], [0.2, 0.7, 0.1]])
    assert selecting.mislabelled(probabilities, np.array([0, 1])).tolist() == [0, 0]


SCORES = np.array([0.1, 0.9, 0.5, 0.5, 0.2, 0.8, 0.3])
LABELS = np.array([0, 0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize(
    ("keep", "prefer", "rows"),
    [
        (0.5, "hard", [1, 2, 5, 6]),  # of 2 and 3, equally hard, the first
        (0.5, "easy", [0, 2, 4, 6]),
        (0.01, "hard", [1, 5]),
        (1.0, "easy", [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_every_class_keeps_its_share_and_at_least_a_row(keep, prefer, rows):
    assert selecting.chosen(SCORES, LABELS, keep=keep, prefer=prefer).tolist() == rows


def test_doubtful_rows_leave_and_never_more_of_a_class_than_the_share_allows():
    doubt = np.array([0.0, 0.9, 0.7, 0.8, 0.0, 0.4, 0.0])
    assert selecting.clean(doubt, LABELS, keep=0.1).tolist() == [0, 4, 6]
    assert selecting.clean(doubt, LABELS, keep=0.5).tolist() == [0, 2, 4, 6]
    assert selecting.clean(doubt, LABELS, keep=1.0).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert selecting.clean(0 * doubt, LABELS, keep=0.1).tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_every_class_is_in_every_fold():
    y = np.repeat(np.arange(3), (4, 9, 5))
    fold = selecting.folds(y, seed=1)
    counts = np.array([[((fold == f) & (y == c)).sum() for c in range(3)] for f in range(selecting.FOLDS)])
    assert counts.min() >= 1
    assert counts.sum(axis=1).max() - counts.sum(axis=1).min() <= 1
    assert not np.array_equal(fold, selecting.folds(y, seed=2))


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"by": "magic"}, "el2n, forgetting, noise; found 'magic'"),
        ({"keep": 0.0}, "keep=0.0"),
        ({"keep": 1.1}, "keep=1.1"),
        ({"keep": float("nan")}, "keep=nan"),
        ({"prefer": "nice"}, "hard or easy"),
    ],
)
def test_what_cannot_be_chosen_by_is_refused(digits, wish, told):
    with pytest.raises(InvalidInputError, match=told):
        selecting.select(*digits, **{"by": "el2n", "keep": 0.5, "seed": 0} | wish)


class Broken(Digits):
    schedule = Schedule(rate=float("inf"))


def test_a_network_whose_loss_is_no_number_is_told():
    with pytest.raises(InvalidInputError, match="epoch"):
        selecting.select(Broken(), Broken().data(), by="el2n", keep=0.5, seed=0)
