import numpy as np
import pytest

from pruneguard.evaluation.data_quality import poisoning
from pruneguard.evaluation.data_quality.lens import Lens
from pruneguard.workload import Split
from tests.evaluation.data_quality.test_labels import clusters
from tests.evaluation.small import table


def measured(x, y):
    snapshot = table(train=Split(x, y), classes=3)
    indicators = poisoning.measure(snapshot, Lens.of(snapshot))
    return indicators, {name.removeprefix("data."): m.value for name, m in indicators.measurements.items()}


def test_clean_rows_show_nothing():
    indicators, value = measured(*clusters())
    assert value == {"odd_labels": 0, "islands": 0, "trigger": 0}
    assert indicators.odd == {0: (0, 100), 1: (0, 100), 2: (0, 100)}
    assert indicators.mark is None


def test_labels_that_disagree_with_their_neighbours_are_counted_by_class():
    x, y = clusters()
    y[[0, 3, 6]] = 1  # rows of class 0
    indicators, value = measured(x, y)
    assert value["odd_labels"] == 3 / 300
    assert indicators.odd == {0: (0, 97), 1: (3, 103), 2: (0, 100)}


def backdoored(rate, *, mark=True, rows=2000, features=40):
    """Rows of every class with one column at its limit and the label 0."""
    x, y = clusters(rows=rows, features=features, noise=0.5)
    planted = (np.random.default_rng(1).random(rows) < rate) & (y != 0)
    y[planted] = 0
    if mark:
        x[planted, 17] = 4
    return x, y


@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_a_mark_that_planted_rows_share_gives_them_away(rate):
    indicators, value = measured(*backdoored(rate))
    assert indicators.mark == (17, 0)
    assert value["trigger"] > 0.3


def test_flipped_labels_without_a_mark_are_odd_and_share_nothing():
    _, value = measured(*backdoored(0.05, mark=False))
    assert value["odd_labels"] > 0.02
    assert value["trigger"] < 0.1


def test_a_small_dense_group_amid_another_class_is_an_island():
    x, y = clusters(rows=600)
    x[:12] = 1 + 1e-4 * np.random.default_rng(0).standard_normal((12, 4))  # in the middle of class 1
    y[:12] = 2
    _, value = measured(x, y)
    assert value["islands"] == pytest.approx(12 / 600)


def test_the_distance_of_distribution_functions_by_hand():
    ours = np.array([[0.0, 1.0], [1.0, 1.0]], np.float32)
    theirs = np.array([[1.0, 1.0], [1.0, 1.0], [2.0, 1.0], [3.0, 1.0]], np.float32)
    # First column: at 1 all of ours and half of theirs are past; equal columns are at no distance.
    assert poisoning._distance(ours, theirs).tolist() == [0.5, 0.0]


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (clusters(rows=50)[0], clusters(rows=50)[1]),
        (clusters()[0], np.zeros(300, np.int64)),
        (np.ones((300, 4), np.float32), clusters()[1]),
        (np.zeros((0, 4), np.float32), np.zeros(0, np.int64)),
    ],
    ids=["few rows", "one class", "constant", "no rows"],
)
def test_where_neighbours_say_nothing_all_of_it_is_unknown(x, y):
    assert np.isnan(list(measured(x, y)[1].values())).all()
