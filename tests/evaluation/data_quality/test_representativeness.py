import numpy as np
import pytest

from pruneguard.evaluation.data_quality.representativeness import measure
from pruneguard.workload import Split
from tests.evaluation.small import table


def rows(n, *, seed, features=6, shift=0.0, ones=0.5):
    rng = np.random.default_rng(seed)
    return Split((rng.random((n, features)) + shift).astype(np.float32), (rng.random(n) < ones).astype(np.int64))


def shift(gate, train=None):
    train = train or rows(400, seed=1)
    return measure(table(train=train, gate=gate, release=rows(200, seed=2)))["data.shift.gate"]


def test_rows_of_the_same_world_cannot_be_told_apart():
    estimate = shift(rows(400, seed=3))
    assert estimate.low < 0.5 < estimate.high
    assert estimate.n == 400  # half of each


def test_few_rows_of_many_columns_cannot_be_told_apart_either():
    wide = [rows(n, seed=seed, features=600) for n, seed in ((100, 1), (100, 3), (100, 2))]
    estimate = measure(table(train=wide[0], gate=wide[1], release=wide[2]))["data.shift.gate"]
    assert estimate.low < 0.5 < estimate.high


def test_a_split_of_other_values_is_told_apart_for_certain():
    estimate = shift(rows(400, seed=3, shift=5.0))
    assert estimate.value == 1
    assert estimate.low > 0.9


def test_the_mix_of_the_classes_counts_as_well():
    estimate = shift(rows(400, seed=3, ones=0.95))
    assert estimate.low > 0.55


def test_missing_values_are_a_difference():
    gate = rows(400, seed=3)
    gate.x[:, 2] = np.nan
    assert shift(gate).low > 0.9


@pytest.mark.parametrize("n", [0, 1, 39])
def test_with_too_few_rows_it_is_unknown(n):
    assert np.isnan(shift(rows(n, seed=3)).value)
