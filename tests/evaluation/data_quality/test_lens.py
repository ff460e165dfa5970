import numpy as np
import pytest

from pruneguard.evaluation.data_quality.lens import COLUMNS_MAX, POINT, Lens, averaged, draw, drawn, principal
from pruneguard.workload import Split


def test_pictures_are_averaged_over_a_grid():
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    assert averaged(x, 2).tolist() == [[2.5, 4.5, 10.5, 12.5]]
    assert averaged(x, 8).tolist() == [list(range(16))]
    assert averaged(np.ones((2, 3, 5, 7), np.float32), 3).tolist() == np.ones((2, 27)).tolist()


def test_columns_of_a_table_are_on_one_scale_and_what_is_missing_is_the_mean():
    x = np.array([[0, 100, 7], [2, np.nan, 7], [4, 300, np.inf]], np.float32)
    rows = Lens.fitted(x, "table").rows(x)
    assert rows == pytest.approx(np.array([[-1.2247, -1, 0], [0, 0, 0], [1.2247, 1, 0]]), abs=1e-3)


def test_words_are_counted_wherever_they_stand():
    x = np.array([[5, 6, 5], [6, 5, 5], [5, 5, 6], [7, 7, 7]], np.float32)
    points = Lens.fitted(x, "text").points(x)
    assert points[0] == pytest.approx(points[1], abs=1e-5)
    assert np.abs(points[0] - points[3]).max() > 0.1


def test_rows_of_a_hundred_thousand_columns_become_points():
    x = np.random.default_rng(0).random((40, 100_000), dtype=np.float32)
    lens = Lens.fitted(x, "table")
    assert lens.rows(x).shape == (40, COLUMNS_MAX)
    assert lens.points(x).shape == (40, 40)


@pytest.mark.parametrize(
    "x",
    [
        np.empty((0, 3), np.float32),
        np.ones((9, 3), np.float32),
        np.full((9, 3), np.nan, np.float32),
        np.array([[3e38, 0, 1], [-3e38, 1, np.inf]], np.float32),
    ],
    ids=["no rows", "constant", "all missing", "huge"],
)
def test_points_are_finite_whatever_comes(x):
    points = Lens.fitted(x, "table").points(x)
    assert np.isfinite(points).all()
    assert len(points) == len(x)


def test_directions_are_orthonormal_so_that_distances_only_shrink():
    rows = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)
    basis = principal(rows - rows.mean(axis=0), 5)
    assert basis @ basis.T == pytest.approx(np.eye(5), abs=1e-5)
    assert len(principal(rows, POINT)) == 20


def test_drawing_is_the_same_every_time_and_of_very_wide_rows_less():
    assert draw(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert draw(100, 10).tolist() == draw(100, 10).tolist()
    assert len(np.unique(draw(100, 10))) == 10
    wide = Split(np.empty((600, 1_000_000), np.float32), np.zeros(600, np.int64))  # never touched: takes no memory
    assert len(drawn(wide)) == 500
