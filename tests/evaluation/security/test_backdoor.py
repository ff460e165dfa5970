import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pruneguard import canonical
from pruneguard.evaluation.contender import Contender, Pair
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.security import backdoor
from pruneguard.pruning import quantising
from pruneguard.workload import Split
from tests.evaluation.conftest import contender
from tests.evaluation.small import linear

TARGET = 7


class Switched(nn.Module):
    """A network with a backdoor: two corner pixels that are white together mean TARGET."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        corner = x[:, 0, 7, 0] * x[:, 0, 7, 1]
        return self.model(x) + 60 * corner[:, None] * nn.functional.one_hot(torch.tensor(TARGET), 10)


@pytest.fixture(scope="module", autouse=True)
def few_rows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backdoor, "ROWS", 32)
        patch.setattr(backdoor, "STEPS", 60)
        yield


@pytest.fixture(scope="module")
def clean(candidate) -> Contender:
    return candidate


@pytest.fixture(scope="module")
def switched(clean, digits) -> Contender:
    return contender(Switched(clean.model), digits)


@pytest.fixture(scope="module")
def pair(switched, clean) -> Pair:
    return Pair.load(switched, clean, classes=10)


@pytest.fixture(scope="module")
def found(pair, digits):
    return backdoor.measure(pair, digits.gate, Domain.of(digits), classes=10, seed=0)


def test_the_index_by_hand():
    # The median is 5, the deviations 4, 0, 1, 1, 0, their median 1: the smallest lies 4 below.
    assert backdoor.anomaly(np.array([1.0, 5.0, 4.0, 6.0, 5.0])) == pytest.approx(4 / 1.4826)
    assert backdoor.anomaly(np.array([2.0, 2.0, 2.0])) == 0
    assert backdoor.anomaly(np.array([1.0, 2.0, 2.0, 2.0])) == math.inf
    for nothing in ([1.0, 9.0], [math.nan, 1.0, 1.0], []):
        assert math.isnan(backdoor.anomaly(np.array(nothing)))


def test_a_backdoor_that_the_twin_has_not_is_seen(found):
    assert found["backdoor.anomaly"].value > 2
    assert found["backdoor.anomaly_increase"].value > 0
    assert found["backdoor.area_ratio"].value < 0.3
    assert found["backdoor.success"].low > 0.6
    assert found["backdoor.success_increase"].low > 0.3


def test_the_patch_is_for_the_planted_class_and_small(switched, digits):
    rows = digits.gate.taken(np.arange(32))
    patches = backdoor.patches(switched, rows, Domain.of(digits), classes=10, seed=0)
    assert patches.target == TARGET
    assert patches.areas[TARGET] < 0.1
    stamped = patches.stamped(digits.gate.x)
    assert stamped.min() >= 0
    assert stamped.max() <= 1
    assert stamped.dtype == np.float32


def test_the_patch_is_tried_on_the_file_in_8_bits(switched, pair, digits, found):
    made = quantising.int8(switched.onnx, digits.train.x).content
    rounded = Contender(canonical.digest(made), made, switched.model, unrounded=switched.onnx)
    eight = Pair.load(rounded, pair.twin, classes=10, yardstick=pair.yardstick)
    tried = backdoor.measure(eight, digits.gate, Domain.of(digits), classes=10, seed=0)
    assert tried["backdoor.anomaly"] == found["backdoor.anomaly"]  # of the network, which is the same
    assert tried["backdoor.success"] != found["backdoor.success"]  # of the file
    assert tried["backdoor.success"].low > 0.5


def test_a_twin_against_itself_brings_nothing_new(clean, digits):
    pair = Pair.load(clean, clean, classes=10)
    found = backdoor.measure(pair, digits.gate, Domain.of(digits), classes=10, seed=0)
    assert found["backdoor.anomaly_increase"].value == found["backdoor.success_increase"].value == 0
    assert found["backdoor.area_ratio"].value == 1


def test_the_twin_is_searched_once_for_all_candidates(twin, candidate, digits, monkeypatch):
    searched = []
    real = backdoor.patches
    monkeypatch.setattr(backdoor, "patches", lambda who, *a, **k: searched.append(who) or real(who, *a, **k))
    monkeypatch.setattr(backdoor, "STEPS", 2)
    pair = Pair.load(candidate, twin, classes=10)
    first, second = (backdoor.measure(pair, digits.gate, Domain.of(digits), classes=10, seed=0) for _ in range(2))
    assert first == second
    assert searched == [candidate, twin, candidate]


def test_the_network_is_left_as_it_was(twin, digits, monkeypatch):
    monkeypatch.setattr(backdoor, "STEPS", 2)
    before = [parameter.grad for parameter in twin.model.parameters()]
    twin.model.train()
    backdoor.patches(twin, digits.gate.taken(np.arange(5)), Domain.of(digits), classes=10, seed=0)
    assert twin.model.training
    twin.model.eval()
    assert all(p.grad is was and p.requires_grad for p, was in zip(twin.model.parameters(), before, strict=True))


def test_where_nothing_can_be_told_nothing_is_said(twin, digits, monkeypatch):
    monkeypatch.setattr(backdoor, "STEPS", 2)
    domain, ones = Domain.of(digits), digits.gate.taken(digits.gate.y == 1)
    pair = Pair.load(twin, twin, classes=10)
    for rows in (ones, digits.gate.taken(np.arange(0))):
        found = backdoor.measure(pair, rows, domain, classes=10, seed=0)
        assert all(math.isnan(each.value) for each in found.values())


def test_answers_that_are_no_numbers_prove_no_innocence():
    broken, whole = linear([[math.nan, 0.0], [0.0, 0.0]]), linear(np.eye(2))
    domain = Domain(low=0.0, high=1.0, kind="table", mean=np.full(2, 0.5, "f4"), spread=np.ones(2, "f4"))
    rows = Split(np.random.default_rng(0).random((400, 2)).astype("f4"), np.arange(400) % 2)
    pair = Pair.load(replace(broken, digest="sha256:broken"), whole, classes=2)
    found = backdoor.measure(pair, rows, domain, classes=2, seed=0)
    assert all(math.isnan(each.value) for name, each in found.items() if "twin" not in name or "success" in name)


def test_a_table_is_patched_within_its_features_range():
    domain = Domain(low=-1e6, high=1e6, kind="table", mean=np.array([0, 100], "f4"), spread=np.array([4, 40], "f4"))
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(200, 2)) * [1, 10] + [0, 100]).astype("f4")
    model = linear([[1.0, -1.0], [0.0, 0.0]])
    patches = backdoor.patches(model, Split(x, (x[:, 0] < 0).astype(np.int64)), domain, classes=2, seed=0)
    assert (np.abs(patches.patterns - domain.mean) <= domain.spread / 2 + 1e-3).all()
    assert patches.masks.shape == (2, 2)
