import math

import numpy as np
import pytest

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.fairness.feedback import Served, copied, measure
from pruneguard.workload import Snapshot, Split


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


def told(number, x, answers, *, right=None):
    """A release that answered these rows in traffic; asked again it answers as `right` says of a row's first number."""
    said = {row.tobytes().hex(): int(answer) for row, answer in zip(x, answers, strict=True)}
    return Served(number, said, lambda row: row.tobytes().hex(), right or (lambda rows: (rows[:, 0] > 0.5).astype(int)))


def split(n, *, seed, wrong=0.2):
    rng = np.random.default_rng(seed)
    x = rng.random((n, 2)).astype(np.float32)
    y = (x[:, 0] > 0.5).astype(np.int64)
    return Split(x, np.where(rng.random(n) < wrong, 1 - y, y))


@pytest.fixture
def snapshot():
    return Snapshot(split(400, seed=1), split(300, seed=2), split(300, seed=3), classes=2)


def test_where_no_train_row_was_ever_answered_no_label_is_a_copy(snapshot):
    elsewhere = split(50, seed=9)
    for served in ([], [told(1, elsewhere.x, elsewhere.y)]):
        found = measure(snapshot, served, seed=0)
        assert (found["data.feedback.served"].value, found["data.feedback.copied"].value) == (0, 0)
        assert found["data.feedback.copied"].high == 0


def test_rows_that_were_answered_and_then_labelled_by_people_are_no_copies(snapshot):
    x = snapshot.train.x[:200]
    found = measure(snapshot, [told(1, x, x[:, 0] > 0.5)], seed=0)
    assert found["data.feedback.served"].value == 0.5
    assert found["data.feedback.copied"].low < 0 < found["data.feedback.copied"].high


def test_a_row_that_two_versions_answered_counts_for_the_newest(snapshot):
    x, y = snapshot.train.x[:100], snapshot.train.y[:100]
    copied_of_new = measure(snapshot, [told(1, x, 1 - y), told(2, x, y)], seed=0)
    only_new = measure(snapshot, [told(2, x, y)], seed=0)
    assert copied_of_new == only_new
    assert only_new["data.feedback.copied"].value == pytest.approx(0.25)


def test_versions_add_up_each_with_its_own_rows(snapshot):
    x, y = snapshot.train.x, snapshot.train.y
    found = measure(snapshot, [told(1, x[:100], y[:100]), told(2, x[100:200], y[100:200])], seed=0)
    assert found["data.feedback.served"].value == 0.5
    assert found["data.feedback.copied"].value == pytest.approx(0.5)


def test_rows_that_traffic_has_seen_say_nothing_of_how_often_a_version_is_right(snapshot):
    x, y = snapshot.train.x[:100], snapshot.train.y[:100]
    asked = []

    def right(rows):
        asked.append(len(rows))
        return (rows[:, 0] > 0.5).astype(int)

    seen = np.concatenate([x, snapshot.gate.x[:50], snapshot.release.x[:20]])
    measure(
        snapshot,
        [told(1, seen, np.concatenate([y, snapshot.gate.y[:50], snapshot.release.y[:20]]), right=right)],
        seed=0,
    )
    assert asked == [600 - 70]


def test_where_no_rows_are_left_to_ask_about_it_is_unknown(snapshot):
    everything = np.concatenate([each.x for each in snapshot.splits.values()])
    found = measure(snapshot, [told(1, everything, np.zeros(len(everything), int))], seed=0)
    assert math.isnan(found["data.feedback.copied"].value)
