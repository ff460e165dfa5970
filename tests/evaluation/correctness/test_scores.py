import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, top_k_accuracy_score

from pruneguard.evaluation.correctness import scores
from pruneguard.evaluation.sessions import NO_ANSWER

LOGITS = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])).astype(np.float32)


def macro_f1(predicted, y, classes, weights=None):
    weights = np.ones(len(y)) if weights is None else np.asarray(weights, float)
    statistic = scores.macro_f1(np.asarray(predicted), np.asarray(y), classes=classes)
    return float(statistic(weights[:, None])[0])


def test_surprise_is_minus_the_logarithm_of_what_was_said():
    assert scores.surprise(LOGITS, np.array([1, 2])) == pytest.approx([math.log(4), -math.log(0.7)])


def test_surprise_about_a_class_that_was_ruled_out_is_large_and_finite():
    assert scores.surprise(np.array([[1000.0, 0.0]], np.float32), np.array([1])) == pytest.approx([1000])


def test_relative_entropy_by_hand():
    other = np.log(np.array([[0.25, 0.5, 0.25], [0.1, 0.2, 0.7]])).astype(np.float32)
    expected = 0.5 * math.log(0.5 / 0.25) + 0.25 * math.log(0.25 / 0.5)
    assert scores.relative_entropy(other, LOGITS) == pytest.approx([expected, 0], abs=1e-7)


def test_what_is_not_finite_has_no_score():
    broken = np.array([[np.inf, 0.0, 0.0], [np.nan, 0.0, 0.0]], np.float32)
    y = np.array([0, 0])
    assert np.isnan(scores.surprise(broken, y)).all()
    assert np.isnan(scores.relative_entropy(broken, LOGITS)).all()
    assert not scores.right_within(broken, y, k=3).any()


@given(st.integers(0, 10**6), st.integers(1, 6))
def test_the_label_is_among_the_first_k_as_scikit_learn_counts(seed, k):
    rng = np.random.default_rng(seed)
    logits, y = rng.normal(size=(40, 7)).astype(np.float32), rng.integers(7, size=40)
    expected = top_k_accuracy_score(y, logits, k=k, labels=range(7))
    assert scores.right_within(logits, y, k=k).mean() == pytest.approx(expected)


def test_on_a_tie_the_lower_class_is_first():
    level = np.zeros((3, 3), np.float32)
    assert list(scores.right_within(level, np.array([0, 1, 2]), k=2)) == [True, True, False]


@given(st.integers(0, 10**6), st.integers(1, 60))
def test_macro_f1_is_that_of_scikit_learn_over_the_classes_with_rows(seed, n):
    rng = np.random.default_rng(seed)
    y, predicted = rng.integers(5, size=n), rng.integers(5, size=n)
    expected = f1_score(y, predicted, labels=np.unique(y), average="macro", zero_division=0)
    assert macro_f1(predicted, y, 5) == pytest.approx(expected)


def test_a_row_that_was_drawn_twice_counts_twice():
    predicted, y = np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1])
    assert macro_f1(predicted, y, 2, [2, 0, 1, 1]) == macro_f1(predicted[[0, 0, 2, 3]], y[[0, 0, 2, 3]], 2)


def test_no_answer_costs_recall_and_no_other_class():
    # Class 0: two of three found, nothing else said. Class 1: found and said alike.
    assert macro_f1([0, 0, NO_ANSWER, 1], [0, 0, 0, 1], 2) == pytest.approx((2 * 2 / (2 + 3) + 1) / 2)
