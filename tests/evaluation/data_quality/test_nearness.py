import time
from dataclasses import replace

import numpy as np
import pytest

from pruneguard.evaluation.data_quality import nearness
from pruneguard.evaluation.data_quality.lens import Lens
from pruneguard.evaluation.fingerprints import fingerprints
from pruneguard.workload import Snapshot, Split
from tests.evaluation.small import table


def measured(snapshot):
    names = {name: fingerprints(split.x) for name, split in snapshot.splits.items()}
    near = nearness.measure(snapshot, Lens.of(snapshot), names)
    return near, {name.removeprefix("data."): m.value for name, m in near.measurements.items()}


def wide(rows=100, **changes):
    return table(rows=rows, features=20, **changes)


def pictures(n, seed, *, side=24):
    """Blobs at random places."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(4, side - 4, size=(n, 3, 2, 1, 1))
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"))
    blobs = np.exp(-((grid - place) ** 2).sum(axis=2) / rng.uniform(4, 30, size=(n, 3, 1, 1)))
    return (0.6 * blobs.max(axis=1, keepdims=False)[:, None]).astype(np.float32)


def images():
    return Snapshot(*(Split(pictures(n, seed), np.arange(n) % 2) for n, seed in ((100, 1), (50, 2), (50, 3))), 2)


def test_rows_that_are_not_alike_are_not_near():
    assert set(measured(wide())[1].values()) == {0}
    assert set(measured(images())[1].values()) == {0}


def test_a_rounded_copy_in_another_split_is_found_with_its_original():
    base = wide()
    base.gate.x[3] = np.round(base.train.x[17], 2)
    base.release.x[4] = base.train.x[18]
    base.release.x[5] = base.gate.x[7] + 0.001
    near, value = measured(base)
    assert value == {"near_duplicates": 0, "near_leakage": 2 / 100, "contamination": 1 / 50}
    assert near.pairs == {"gate": ((3, 17),), "release": ((4, 18),)}


def test_the_largest_difference_of_a_column_decides():
    base = wide()
    spread = base.train.x.std(axis=0)
    for row, distance in ((1, 0.9), (2, 1.1)):
        base.gate.x[row] = base.train.x[row]
        base.gate.x[row, 5] += distance * nearness.TABLE_NEAR * spread[5]
    assert measured(base)[0].pairs["gate"] == ((1, 1),)


def test_near_duplicates_are_counted_among_distinct_rows():
    base = wide()
    base.train.x[1] = base.train.x[0]  # an exact copy: `data.duplicates` counts it
    base.train.x[3] = base.train.x[2] + 0.0005
    assert measured(base)[1]["near_duplicates"] == pytest.approx(2 / 99)


@pytest.mark.parametrize(
    "again",
    [
        lambda x: np.clip(0.8 * x + 0.1, 0, 1),
        lambda x: np.round(x * 31) / 31,
        lambda x: x + 0.02 * np.random.default_rng(0).standard_normal(x.shape),
    ],
    ids=["brighter", "fewer colours", "noise"],
)
def test_a_picture_that_was_saved_again_is_near(again):
    base = images()
    base.gate.x[:10] = again(base.train.x[20:30])
    near, value = measured(base)
    assert value["near_leakage"] == 10 / 100
    assert near.pairs["gate"] == tuple((row, row + 20) for row in range(10))


def test_the_same_words_in_another_order_are_near():
    rng = np.random.default_rng(0)
    splits = [Split(rng.integers(1, 500, (n, 8)).astype(np.float32), np.arange(n) % 2) for n in (60, 30, 30)]
    splits[1].x[4] = splits[0].x[9, ::-1]
    splits[2].x[:] = splits[2].x
    near, value = measured(Snapshot(*splits, 2, bounds=(0, 500), kind="text"))
    assert near.pairs == {"gate": ((4, 9),), "release": ()}
    assert value["near_leakage"] == 1 / 60


def test_without_rows_it_is_unknown():
    base = table()
    empty = Split(base.gate.x[:0], base.gate.y[:0])
    assert np.isnan(measured(replace(base, train=empty, gate=empty, release=empty))[1]["near_leakage"])
    assert np.isnan(measured(replace(base, train=empty))[1]["near_duplicates"])
    assert measured(replace(base, gate=empty))[1]["contamination"] == 0


def test_of_many_rows_some_are_looked_up_and_the_interval_says_so(monkeypatch):
    monkeypatch.setattr(nearness, "QUERIES_MAX", 30)
    base = wide()
    estimate = measured(base)[0].measurements["data.near_duplicates"]
    assert (estimate.n, estimate.low) == (30, 0)
    assert estimate.high > 0


def test_rows_that_take_few_values_do_not_make_it_slow():
    rng = np.random.default_rng(0)
    splits = [Split(rng.integers(0, 2, (n, 6)).astype(np.float32), np.arange(n) % 2) for n in (20_000, 5_000, 5_000)]
    began = time.process_time()
    assert measured(Snapshot(*splits, 2))[1]["near_leakage"] == 1
    assert time.process_time() - began < 20  # comparing all pairs takes minutes
