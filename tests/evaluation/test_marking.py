"""When an answer is right, and when two differ: of classes and of numbers."""

import numpy as np
import pytest

from pruneguard.evaluation.marking import BY_CLASS, Marking, numbers

NAN, INF = np.nan, np.inf


def column(*values):
    return np.array(values, np.float32)[:, None]


def test_a_number_is_right_up_to_the_tolerance_and_not_beyond():
    near = Marking(0.5)
    y = np.array([1, 1, 1, 1, -1], np.float32)
    assert near.right(column(1.5, 0.5, 1.51, 0.4, -1), y).tolist() == [True, True, False, False, True]


@pytest.mark.parametrize("marking", [BY_CLASS, Marking(0.5)])
def test_an_answer_that_is_not_finite_is_never_right_and_agrees_with_nothing(marking):
    answers = np.full((3, 1 if marking.tolerance else 2), [[NAN], [INF], [-INF]], np.float32)
    assert not marking.right(answers, np.zeros(3)).any()
    assert marking.changed(answers, answers).all()
    assert np.isnan(marking.distance(answers, answers)).all()


def test_numbers_differ_when_they_lie_further_apart_than_the_tolerance():
    ours, theirs = column(1, 1, 1), column(1.25, 1.5, 2)
    assert Marking(0.25).changed(ours, theirs).tolist() == [False, True, True]


def test_the_distance_of_numbers_is_a_half_at_the_tolerance():
    found = Marking(2.0).distance(column(0, 0, 0, 0), column(0, 2, 6, 1e6))
    np.testing.assert_allclose(found, [0, 0.5, 0.75, 1], atol=1e-5)


def test_the_distance_of_classes_is_the_largest_difference_of_a_probability():
    even, sure = np.zeros((1, 2), np.float32), np.array([[0, np.log(3)]], np.float32)
    assert BY_CLASS.distance(even, sure)[0] == pytest.approx(0.25)


def test_classes_are_right_by_name_whatever_their_logits():
    logits = np.array([[3, 1], [0, 2], [1, 1]], np.float32)
    assert BY_CLASS.right(logits, np.array([0, 0, 0])).tolist() == [True, False, True]
    assert BY_CLASS.changed(logits, np.roll(logits, 1, axis=0)).tolist() == [False, True, True]


def test_what_is_no_number_stays_none():
    assert np.isnan(numbers(column(NAN, INF))).all()
    assert numbers(column(0.1)).dtype == np.float64
