from pathlib import Path

import numpy as np
import pytest
import torch

from pruneguard import pruning, workload
from pruneguard.pruning.matching import require_matching

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def digits():
    return workload.load(EXAMPLES / "digits" / "workload.py", "Digits")


@pytest.fixture(scope="module")
def snapshot(digits):
    return digits.data(Path("nowhere"))


def test_digits_is_a_workload_that_fits_its_data(digits, snapshot):
    require_matching(digits, snapshot)


def test_no_digit_stands_in_two_splits(snapshot):
    rows = np.concatenate([split.x.reshape(len(split), -1) for split in snapshot.splits.values()])
    assert len(np.unique(rows, axis=0)) == len(rows) == 1797


def test_the_same_rows_come_at_every_call(digits, snapshot):
    again = digits.data(Path("elsewhere"))
    assert again.digest == snapshot.digest
    assert np.array_equal(again.outliers, snapshot.outliers)


def test_every_split_holds_every_class_and_every_slice(snapshot):
    for split in snapshot.splits.values():
        assert np.bincount(split.y, minlength=10).min() >= 0.08 * len(split)
        assert set(split.slices["ink"]) == {"light", "medium", "heavy"}
    assert min(len(snapshot.gate), len(snapshot.release)) >= 440


def test_pixels_and_outliers_stay_inside_the_bounds(snapshot):
    low, high = snapshot.bounds
    for x in (*(split.x for split in snapshot.splits.values()), snapshot.outliers):
        assert low <= x.min() < x.max() <= high


def test_augmented_digits_keep_their_shape_and_follow_the_generator(digits, snapshot):
    x = torch.from_numpy(snapshot.train.x[:8])
    first, again, other = (digits.augment(x, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == x.shape


@pytest.mark.slow
def test_the_twin_reaches_98_percent_on_gate_and_release(digits, snapshot):
    twin = pruning.twin(digits, snapshot, epochs=20, seed=0)
    for split in (snapshot.gate, snapshot.release):
        with torch.no_grad():
            right = twin(torch.from_numpy(split.x)).argmax(1).numpy() == split.y
        assert right.mean() >= 0.98
