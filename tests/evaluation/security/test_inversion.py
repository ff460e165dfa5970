import math
from dataclasses import replace

import numpy as np
import pytest

from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.security import inversion
from pruneguard.workload import Split
from tests.evaluation.small import linear

FLAT = Domain(low=0.0, high=1.0, kind="table", mean=np.full(2, 0.5, "f4"), spread=np.ones(2, "f4"))
LABELS = np.arange(2)


def test_a_linear_network_shows_its_weights_by_hand():
    # Ascent by signs walks each feature as far as the steps reach: 0.02 * (1 + ... + 1/60), 0.61 in all, to the bound.
    shown = inversion.inverted(linear([[1.0, -1.0], [-1.0, 1.0]]), LABELS, FLAT)
    assert shown == pytest.approx(np.array([[1.0, 0.0], [0.0, 1.0]]))


def test_what_is_drawn_is_held_against_what_makes_a_class_differ():
    means = np.array([[0.7, 0.3], [0.3, 0.7]])
    faithful, reversed_ = linear([[1.0, -1.0], [-1.0, 1.0]]), linear([[-1.0, 1.0], [1.0, -1.0]])
    assert inversion.similarities(faithful, LABELS, means, FLAT) == pytest.approx([1.0, 1.0])
    assert inversion.similarities(reversed_, LABELS, means, FLAT) == pytest.approx([-1.0, -1.0])
    assert inversion.similarities(linear(np.zeros((2, 2))), LABELS, means, FLAT) == pytest.approx([0.0, 0.0])


def test_both_are_measured_and_their_difference_is_paired_by_class(pair, digits):
    found = inversion.measure(pair, digits.train, Domain.of(digits), classes=10, seed=0)
    ours, theirs, increase = (found[f"inversion.{n}"] for n in ("similarity", "twin_similarity", "similarity_increase"))
    assert ours.value > 0.1  # of a network that was not trained, about 0
    assert increase.value == pytest.approx(ours.value - theirs.value)
    for each in found.values():
        assert each.low <= each.value <= each.high
        assert each.n == 10
    assert found == inversion.measure(pair, digits.train, Domain.of(digits), classes=10, seed=0)


def test_a_twin_against_itself_differs_by_nothing(twin, digits):
    pair = Pair.load(twin, twin, classes=10)
    increase = inversion.measure(pair, digits.train, Domain.of(digits), classes=10, seed=0)[
        "inversion.similarity_increase"
    ]
    assert (increase.low, increase.value, increase.high) == (0, 0, 0)


def test_nothing_leaves_the_bounds_and_the_network_stays_as_it_was(twin, digits):
    before = [parameter.grad for parameter in twin.model.parameters()]
    twin.model.train()
    shown = inversion.inverted(twin, np.arange(10), Domain.of(digits))
    assert twin.model.training
    twin.model.eval()
    assert shown.min() >= 0
    assert shown.max() <= 1
    assert all(parameter.grad is was for parameter, was in zip(twin.model.parameters(), before, strict=True))


def test_one_class_or_none_tells_nothing(pair, digits):
    for rows in (digits.train.y == 3, digits.train.y == 99):
        found = inversion.measure(pair, digits.train.taken(rows), Domain.of(digits), classes=10, seed=0)
        assert all(math.isnan(each.value) for each in found.values())


def test_answers_that_are_no_numbers_tell_nothing():
    broken, whole = linear([[math.nan, 0.0], [0.0, 0.0]]), linear([[1.0, -1.0], [-1.0, 1.0]])
    train = Split(np.array([[0.7, 0.3], [0.3, 0.7]], np.float32), LABELS)
    pair = Pair.load(replace(broken, digest="sha256:broken"), whole, classes=2)
    found = inversion.measure(pair, train, FLAT, classes=2, seed=0)
    assert math.isnan(found["inversion.similarity"].value)
    assert math.isnan(found["inversion.similarity_increase"].value)
    assert found["inversion.twin_similarity"].value == pytest.approx(1)
