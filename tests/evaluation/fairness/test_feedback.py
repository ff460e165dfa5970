import math

import numpy as np
import pytest

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.fairness.feedback import copied


def rows(n, *, seed, precision=(0.9, 0.7), share=0.5):
    """Answers of 0 and 1, and labels that agree with them as often as the precision of the answer says."""
    rng = np.random.default_rng(seed)
    answers = (rng.random(n) < share).astype(np.int64)
    right = rng.random(n) < np.array(precision)[answers]
    return np.where(right, answers, 1 - answers), answers, rng


TRUSTED = dict(zip(("trusted_labels", "trusted_answers"), rows(4000, seed=1)[:2], strict=True))


def test_the_share_by_hand():
    answers = np.zeros(10, np.int64)
    trusted = np.array([0] * 8 + [1] * 2)  # right in 80 %
    labels = np.array([0] * 9 + [1])  # agrees in 90 %: half of the 20 % that it could not know
    found = copied(labels, answers, trusted_labels=trusted, trusted_answers=answers, seed=0)
    assert found.value == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    assert found.n == 10


def test_labels_that_somebody_found_out_are_no_copies():
    labels, answers, _ = rows(4000, seed=2)
    found = copied(labels, answers, **TRUSTED, seed=0)
    assert found.low < 0 < found.high


def test_another_mix_of_answers_is_no_copying():
    labels, answers, _ = rows(4000, seed=3, share=0.05)  # agrees more often overall, as its answers are easier
    found = copied(labels, answers, **TRUSTED, seed=0)
    assert (labels == answers).mean() > np.mean(TRUSTED["trusted_labels"] == TRUSTED["trusted_answers"]) + 0.05
    assert found.low < 0 < found.high


def test_a_share_that_was_copied_is_found():
    labels, answers, rng = rows(4000, seed=4)
    labels = np.where(rng.random(4000) < 0.3, answers, labels)
    found = copied(labels, answers, **TRUSTED, seed=0)
    assert 0.15 < found.low < 0.3 < found.high < 0.45


def test_labels_that_are_all_answers_are_all_copies():
    _, answers, _ = rows(500, seed=5)
    found = copied(answers, answers, **TRUSTED, seed=0)
    assert found.value == 1
    assert found.low > 0.9


def test_where_it_cannot_be_told_it_is_unknown():
    labels, answers, _ = rows(100, seed=6)
    none = np.zeros(0, np.int64)
    assert math.isnan(copied(none, none, **TRUSTED, seed=0).value)
    assert math.isnan(copied(labels, answers, trusted_labels=none, trusted_answers=none, seed=0).value)
    never_said = copied(labels, answers, trusted_labels=np.zeros(50, int), trusted_answers=np.zeros(50, int), seed=0)
    assert math.isnan(never_said.value)  # nobody knows how often an answer of 1 is right
    always_right = copied(labels, answers, trusted_labels=answers, trusted_answers=answers, seed=0)
    assert math.isnan(always_right.value)


def test_labels_without_their_answers_are_refused():
    with pytest.raises(InvalidInputError, match="expected an answer for every label"):
        copied(np.zeros(3, np.int64), np.zeros(2, np.int64), **TRUSTED, seed=0)
