import numpy as np
import pytest

from pruneguard.evaluation.data_quality.labels import conflicts, counted, doubts
from pruneguard.evaluation.data_quality.lens import Lens
from pruneguard.evaluation.fingerprints import fingerprints
from pruneguard.workload import Split
from tests.evaluation.small import table


def clusters(rows=300, classes=3, features=4, seed=0, noise=0.05):
    """Classes that a child could tell apart."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows, dtype=np.int64) % classes
    x = rng.normal(scale=noise, size=(rows, features)) + y[:, None]
    return x.astype(np.float32), y


def found(x, y):
    snapshot = table(train=Split(x, y), classes=3)
    return doubts(snapshot, Lens.of(snapshot))


def test_labels_that_were_changed_are_found_by_their_row_numbers():
    x, y = clusters()
    planted = [7, 50, 123, 200, 299]
    y[planted] = (y[planted] + 1) % 3
    doubted = found(x, y)
    noise = doubted.measurements["data.label_noise"]
    assert sorted(doubted.rows) == planted
    assert (noise.value, noise.n) == (5 / 300, 300)
    assert noise.low < 5 / 300 < noise.high
    assert doubted.accuracy == 295 / 300


def test_right_labels_raise_no_doubt():
    assert found(*clusters()).measurements["data.label_noise"].value == 0


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros((0, 4), np.float32), np.zeros(0, np.int64)),
        (clusters()[0], np.zeros(300, np.int64)),
        (clusters()[0], np.arange(300)),
        (np.ones((300, 4), np.float32), clusters()[1]),
        (np.full((300, 4), np.nan, np.float32), clusters()[1]),
        (clusters(rows=40)[0], clusters(rows=40)[1]),
    ],
    ids=["no rows", "one class", "a class for each row", "constant", "all missing", "few rows"],
)
def test_where_nothing_can_be_fitted_the_noise_is_unknown(x, y):
    assert np.isnan(found(x, y).measurements["data.label_noise"].value)


def test_labels_outside_the_classes_do_not_stop_it():
    x, y = clusters()
    y[:2] = [-1, 99]  # too few rows for a fold: left out
    assert found(x, y).measurements["data.label_noise"].n == 298


def test_equal_rows_with_different_labels_are_conflicts():
    x = np.array([[1], [1], [2], [2], [3]], np.float32)
    assert conflicts(fingerprints(x), np.array([0, 1, 1, 1, 0])).value == 2 / 5


def test_a_share_of_nothing_is_unknown():
    assert np.isnan(counted(0, of=0).value)
    assert counted(1, of=4).value == counted(1, of=4).low == 0.25
