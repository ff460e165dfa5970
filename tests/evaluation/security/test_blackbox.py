import numpy as np
import pytest

from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.security.attacks import UNIT, fgsm, square
from pruneguard.evaluation.sessions import Session, predictions
from pruneguard.workload import Split
from tests.evaluation.small import linear, table


def test_square_on_a_linear_model_finds_the_corner_that_the_gradient_points_at():
    contender = linear([[1.0, -1.0], [-2.0, 2.0]])
    domain = Domain(low=0.0, high=1.0, kind="table", mean=np.zeros(2, "f4"), spread=np.ones(2, "f4"))
    x, y = np.full((20, 2), 0.5, np.float32), np.arange(20) % 2
    found = square(Session(contender.onnx).logits, x, y, domain, epsilon=0.1)
    # Right means logit 0 > 0 at (0.5, 0.5) is false: both logits are -+0.5, so class 1 is right and class 0 wrong.
    fallen = y == 0
    assert found[~fallen] == pytest.approx(fgsm(contender.model, x, y, domain, epsilon=0.1)[~fallen])


@pytest.mark.parametrize("epsilon", [0.03, 0.1])
def test_square_leaves_neither_the_ball_nor_the_bounds(digits, twin, epsilon):
    x, y = digits.gate.x[:60], digits.gate.y[:60]
    found = square(Session(twin.onnx).logits, x, y, Domain.of(digits), epsilon=epsilon, steps=30)
    assert np.abs(found - x).max() <= epsilon + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.dtype == np.float32


def test_more_queries_hurt_more_and_a_fallen_row_is_not_asked_again(digits, twin):
    session, asked = Session(twin.onnx), []
    x, y = digits.gate.x, digits.gate.y

    def answers(rows):
        asked.append(len(rows))
        return session.logits(rows)

    right = [int((predictions(session.logits(x)) == y).sum())]
    for steps in (2, 20, 200):
        asked.clear()
        found = square(answers, x, y, Domain.of(digits), steps=steps)
        assert len(asked) <= steps
        assert asked == sorted(asked, reverse=True)
        right.append(int((predictions(session.logits(found)) == y).sum()))
    assert right[0] > right[1] >= right[2] > right[3]
    assert asked[-1] < asked[0]


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(digits, twin):
    answers, rows = Session(twin.onnx).logits, (digits.gate.x[:20], digits.gate.y[:20])
    first = square(answers, *rows, UNIT, steps=20, seed=3)
    assert (first == square(answers, *rows, UNIT, steps=20, seed=3)).all()
    assert (first != square(answers, *rows, UNIT, steps=20, seed=4)).any()


def test_each_feature_of_a_table_moves_in_its_own_unit():
    plain = table(rows=400).train
    x = plain.x * np.array([1, 10, 1000], np.float32)
    snapshot = table(train=Split(x, plain.y), bounds=(-1e6, 1e6))
    answers = Session(linear(np.ones((3, 2)) * [1e-3, -1e-3]).onnx).logits
    found = square(answers, x, snapshot.train.y, Domain.of(snapshot), epsilon=0.05, steps=5)
    assert np.abs(found - x).max(axis=0) == pytest.approx(4 * 0.05 * x.std(axis=0), rel=1e-3)


def test_a_model_without_answers_has_fallen_and_no_rows_are_no_error():
    asked = []

    def silent(rows):
        asked.append(len(rows))
        return np.full((len(rows), 2), np.nan, np.float32)

    rows = np.full((4, 3), 0.5, np.float32)
    assert np.isfinite(square(silent, rows, np.zeros(4, np.int64))).all()
    assert asked == [4]
    assert square(silent, rows[:0], np.zeros(0, np.int64)).shape == (0, 3)


def test_an_image_smaller_than_a_patch_and_a_sequence_are_attacked_too():
    rng = np.random.default_rng(0)
    for shape in ((5, 3, 1, 2), (5, 4, 6)):
        x, weight = rng.random(shape, np.float32), rng.standard_normal((int(np.prod(shape[1:])), 2), np.float32)
        found = square(lambda rows, w=weight: rows.reshape(len(rows), -1) @ w, x, np.arange(5) % 2, steps=50)
        assert found.shape == shape
        assert np.abs(found - x).max() <= 0.05 + 1e-6
