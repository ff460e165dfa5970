import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneguard.evaluation.correctness import quality
from pruneguard.evidence import PairedTable
from pruneguard.statistics import clopper_pearson_upper
from pruneguard.workload import Split


def says(*classes, of=3):
    """Logits of a model that is sure of these classes."""
    return (20 * np.eye(of)[list(classes)]).astype(np.float32)


LABELS = np.array([0, 1, 2, 0, 1], np.int64)
SPLIT = Split(np.zeros((5, 1), np.float32), LABELS, {"site": np.array(["é", "b", "b", "e\u0301", "b"])})
CANDIDATE = says(0, 2, 2, 1, 0)  # right, wrong, right, wrong, wrong
TWIN = says(0, 1, 0, 0, 2)  # right, right, wrong, right, wrong: not the candidate's mistake


def measured(candidate=CANDIDATE, twin=TWIN):
    return quality.measure(candidate, twin, SPLIT, seed=0)


def test_the_paired_table_by_hand():
    found = measured()
    assert found["quality.paired"] == PairedTable(both_right=1, candidate_only=1, twin_only=2, both_wrong=1)
    assert (found["quality.accuracy"].value, found["quality.twin_accuracy"].value) == (0.4, 0.6)


def test_flips_count_both_directions_and_changes_between_two_mistakes():
    found = measured()
    names = ("quality.flips", "quality.flips_to_wrong", "quality.flips_to_right")
    assert [found[name].value for name in names] == [0.8, 0.4, 0.2]
    assert found["quality.flips"].high == clopper_pearson_upper(4, 5, alpha=0.001)


def test_every_label_and_every_value_of_a_column_is_a_slice():
    found = {name: m for name, m in measured().items() if name.startswith("quality.paired.slice.")}
    expected = ("class=0", "class=1", "class=2", "site=b", "site=é")  # one é, however it was typed
    assert set(found) == {f"quality.paired.slice.{name}" for name in expected}
    assert found["quality.paired.slice.class=0"] == PairedTable(1, 0, 1, 0)
    assert found["quality.paired.slice.site=b"] == PairedTable(0, 1, 1, 1)


def test_the_first_five_count_only_where_there_are_more_classes():
    assert not [name for name in measured() if "top5" in name]
    six = np.array([[6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6]], np.float32)
    split = Split(np.zeros((2, 1), np.float32), np.array([5, 5], np.int64))
    found = quality.measure(six, six[::-1], split, seed=0)
    assert found["quality.top5.paired"] == PairedTable(0, 1, 1, 0)
    assert found["quality.top5"].value == found["quality.twin_top5"].value == 0.5


def test_scores_of_both_and_their_difference_on_the_same_rows():
    found = measured()
    # For each class 2 * hits / (rows said to be it + rows that are it).
    assert found["quality.macro_f1"].value == pytest.approx((2 / (2 + 2) + 0 + 2 / (2 + 1)) / 3)
    assert found["quality.twin_macro_f1"].value == pytest.approx((4 / (3 + 2) + 2 / (1 + 2) + 0) / 3)
    drop = found["quality.twin_macro_f1"].value - found["quality.macro_f1"].value
    assert found["quality.macro_f1_drop"].value == pytest.approx(drop)
    assert found["quality.nll"].value == pytest.approx(20 * 3 / 5, abs=1e-6)  # three wrong answers, 20 nats each
    assert found["quality.nll_increase"].value == pytest.approx(20 * 1 / 5, abs=1e-6)
    assert found["quality.kl"].value == pytest.approx(20 * 4 / 5, abs=1e-6)  # four other answers


def test_an_interval_is_open_where_no_mistake_was_seen():
    y = np.repeat([0, 1], 30)
    right = says(*y, of=2)
    found = quality.measure(right, right, Split(np.zeros((60, 1), np.float32), y), seed=0)
    missed = (1 - 0.025 ** (1 / 30)) / 2  # what one of two classes of 30 rows may be short of
    assert (found["quality.macro_f1"].low, found["quality.macro_f1"].high) == (pytest.approx(1 - missed), 1)
    assert found["quality.macro_f1_drop"].high == pytest.approx(missed)


def test_a_class_that_pays_for_the_others_is_named():
    y = np.repeat([0, 1, 2], 40)
    lost = np.where((y == 2) & (np.arange(120) % 2 == 0), 0, y)
    split = Split(np.zeros((120, 1), np.float32), y)
    found = quality.measure(says(*lost), says(*y), split, seed=0)
    assert found["quality.flips_concentration"].value == pytest.approx(3)
    assert found["quality.flips_concentration"].low > 2
    assert found["quality.flips_concentration.slice.class=0"].high < 1


def test_divergence_of_known_distributions():
    p = np.array([[0.5, 0.5], [1.0, 0.0], [1.0, 0.0]])
    q = np.array([[0.5, 0.5], [0.0, 1.0], [0.5, 0.5]])
    # The last: entropy of (3/4, 1/4) minus half the entropy of (1/2, 1/2).
    assert quality.divergence(p, q) == pytest.approx([0.0, 1.0, 0.8112781245 - 0.5])


@given(st.lists(st.floats(-30, 30), min_size=6, max_size=6))
def test_divergence_is_symmetric_and_bounded(logits):
    p, q = (quality.probabilities(np.array([half], np.float32)) for half in (logits[:3], logits[3:]))
    there, back = quality.divergence(p, q)[0], quality.divergence(q, p)[0]
    assert there == pytest.approx(back, abs=1e-12)
    assert 0 <= there <= 1


def test_two_equal_models_do_not_diverge_and_the_bound_is_above_the_mean():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(400, 3)).astype(np.float32)
    split = Split(np.zeros((400, 1), np.float32), rng.integers(3, size=400))
    same = quality.measure(logits, logits, split, seed=0)
    assert same["quality.flips"].value == same["quality.divergence"].value == 0
    other = quality.measure(logits + rng.normal(size=(400, 3)).astype(np.float32), logits, split, seed=0)
    estimate = other["quality.divergence"]
    assert 0 < estimate.low < estimate.value < estimate.high < 1


def test_an_answer_that_is_not_finite_is_wrong_a_flip_and_no_divergence():
    silent = np.full((5, 3), np.nan, np.float32)
    found = measured(candidate=silent)
    assert found["quality.accuracy"].value == 0
    assert found["quality.flips"].value == 1
    for name in ("quality.divergence", "quality.nll", "quality.nll_increase", "quality.kl"):
        assert math.isnan(found[name].value)
        assert found[name].high is None
    assert found["quality.macro_f1"].value == 0
    assert measured(candidate=silent, twin=silent)["quality.flips"].value == 1
