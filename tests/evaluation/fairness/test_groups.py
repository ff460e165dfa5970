import math
from dataclasses import replace

import numpy as np
import pytest

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.fairness import groups as fairness
from pruneguard.evidence import Evidence, PairedTable
from pruneguard.gates.paired import slices_non_inferior
from pruneguard.verdict import Outcome
from pruneguard.workload import Split
from tests.evaluation.correctness.test_quality import says
from tests.evaluation.small import table

# Group a: 8 rows, 4 of class 1; 5 are selected, 3 of them rightly. Group b: 4 rows, 2 of class 1; 1 selected, rightly.
Y = np.array([1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0], np.int64)
SAID = np.array([1, 1, 1, 0, 1, 1, 0, 0, 1, 0, 0, 0], np.int64)
GROUPS = np.array(["a"] * 8 + ["b"] * 4)


def said(right, y, *, of=2):
    """Logits of a model that is right on the rows marked, and else says the next class."""
    return says(*np.where(right, y, (y + 1) % of), of=of)


def people(rows=4000, *, seed=0, **slices):
    rng = np.random.default_rng(seed)
    columns = slices or {"sex": np.where(np.arange(rows) % 4 < 2, "f", "m")}
    return Split(np.zeros((rows, 1), np.float32), np.arange(rows, dtype=np.int64) % 2, columns), rng


def test_every_rate_and_gap_of_two_groups_by_hand():
    found = fairness.rates(Y, SAID, GROUPS, seed=0, rows_min=1)
    expected = {"selection_rate": (5 / 8, 1 / 4), "tpr": (3 / 4, 1 / 2), "fpr": (2 / 4, 0), "precision": (3 / 5, 1)}
    for rate, values in (expected | {"accuracy": (5 / 8, 3 / 4)}).items():
        assert tuple(found[f"{rate}.slice.{group}"].value for group in "ab") == values, rate
    assert found["selection_gap"].value == 3 / 8
    assert found["odds_gap"].value == 1 / 2
    assert found["precision_gap"].value == pytest.approx(0.4)
    assert [found[f"tpr.slice.{group}"].n for group in "ab"] == [4, 2]


def test_the_intervals_are_those_of_drawing_rows_with_replacement():
    rng = np.random.default_rng(0)
    groups = rng.choice(["a", "b", "c"], size=600, p=[0.5, 0.3, 0.2])
    y = rng.integers(2, size=600)
    answers = np.where(rng.random(600) < 0.8, y, 1 - y)
    drawn = rng.integers(600, size=(4000, 600))
    hits = {group: (groups == group)[drawn] & (y == 1)[drawn] for group in "abc"}
    rates = {group: ((answers == 1)[drawn] & hit).sum(axis=1) / hit.sum(axis=1) for group, hit in hits.items()}
    found = fairness.rates(y, answers, groups, seed=1, resamples=4000, rows_min=1)
    for group, values in rates.items():
        estimate = found[f"tpr.slice.{group}"]
        low, high = np.quantile(values, [0.025, 0.975])
        assert (estimate.low, estimate.high) == pytest.approx(
            (low, high), abs=0.2 * values.std()
        )  # two quantiles' error


def test_the_classes_of_more_than_two_are_held_against_the_rest_and_the_worst_is_told():
    y = np.tile([0, 1, 2], 8)
    groups = np.repeat(["a", "b"], 12)
    answers = np.where((groups == "b") & (y == 2), 0, y)  # b loses class 2 to class 0
    found = fairness.rates(y, answers, groups, seed=0, classes=3, rows_min=1)
    assert found["odds_gap"].value == 1
    assert found["tpr.slice.b"].value == 0
    assert found["fpr.slice.b"].value == 0.5
    assert found["tpr.slice.a"].value == 1


def test_a_model_compared_with_itself_adds_nothing():
    split, rng = people()
    logits = said(rng.random(4000) < 0.9, split.y)
    found = fairness.measure(logits, logits, split, protected=("sex",), seed=0)
    for gap in fairness.GAPS:
        increase = found[f"fairness.{gap}_increase"]
        assert (increase.value, increase.low, increase.high, increase.n) == pytest.approx((0, 0, 0, 4000), abs=1e-12)
    assert found["fairness.tpr_change.slice.sex=f"].value == 0


def test_what_pruning_took_from_one_group_is_found_and_its_interval_excludes_none():
    split, rng = people()
    right = rng.random(4000) < 0.9
    lost = right & (split.slices["sex"] == "f") & (rng.random(4000) < 0.1)
    found = fairness.measure(said(right & ~lost, split.y), said(right, split.y), split, protected=("sex",), seed=0)
    increase = found["fairness.odds_gap_increase"]
    assert 0.05 < increase.low < 0.1 < increase.high < 0.15
    assert found["fairness.accuracy_gap_increase.slice.sex"].low > 0.05
    assert found["fairness.accuracy_change.slice.sex=f"].high < -0.05
    assert found["fairness.accuracy_change.slice.sex=m"].value == 0
    tables = {name: each for name, each in found.items() if isinstance(each, PairedTable)}
    answer = slices_non_inferior("fairness.paired", {"margin": 0.02, "alpha": 0.05, "rows_min": 30}, tables)
    assert answer.outcome is Outcome.FAILED
    assert "sex=f,class=1" in answer.observed


def test_a_loss_on_the_limit_passes_at_most_as_often_as_stated():
    """Equal groups are the hard case: the twin's gap is nothing but chance, and chance would hide what was added."""
    passed = 0
    for seed in range(200):
        split, rng = people(1200, seed=seed)
        right = rng.random(1200) < 0.85
        lost = right & (split.slices["sex"] == "f") & (rng.random(1200) < 0.05 / 0.85)
        answers = [np.where(each, split.y, 1 - split.y) for each in (right & ~lost, right)]
        numbers = (split.slices["sex"] == "f").astype(np.int64)
        found = fairness.counted(split.y, answers, numbers, classes=2, resamples=200, seed=seed, rows_min=1)
        passed += np.quantile(found["accuracy"].gap[2, 1:], 0.975) <= 0.05
    assert passed <= 0.05 * 200 + 2 * math.sqrt(200 * 0.05 * 0.95)


def test_two_columns_together_show_what_each_alone_hides():
    rows = np.arange(4000)
    sex, race = np.where(rows % 4 < 2, "f", "m"), np.where(rows % 8 < 4, "x", "y")
    split, rng = people(sex=sex, race=race)
    right = rng.random(4000) < 0.95
    wrong = ((sex == "f") == (race == "x")) & (rng.random(4000) < 0.2)
    found = fairness.measure(
        said(right & ~wrong, split.y), said(right, split.y), split, protected=("sex", "race"), seed=0
    )
    alone = [found[f"fairness.accuracy_gap_increase.slice.{column}"].high for column in ("sex", "race")]
    assert max(alone) < 0.1 < found["fairness.accuracy_gap_increase.slice.sex,race"].low
    assert found["fairness.accuracy_gap_increase"].high == found["fairness.accuracy_gap_increase.slice.sex,race"].high
    assert found["fairness.paired.slice.sex=f,race=x,class=0"].n == 500


def test_a_group_that_is_too_small_is_listed_without_a_value_and_makes_no_gap():
    sex = np.array(["f"] * 200 + ["m"] * 200 + ["x"] * 8)
    split = Split(np.zeros((408, 1), np.float32), np.arange(408, dtype=np.int64) % 2, {"sex": sex})
    right = sex != "x"
    found = fairness.measure(said(right, split.y), said(right, split.y), split, protected=("sex",), seed=0)
    small = found["fairness.accuracy.slice.sex=x"]
    assert math.isnan(small.value)
    assert (small.low, small.high, small.n) == (None, None, 8)
    assert found["fairness.accuracy_gap"].value == 0
    assert found["fairness.paired.slice.sex=x,class=1"] == PairedTable(0, 0, 0, 4)
    assert Evidence.decode(Evidence("s", "t", "d", found).encode()).get("fairness.accuracy.slice.sex=x").n == 8


def test_one_group_that_can_be_tested_is_no_gap_of_zero():
    sex = np.array(["f"] * 200 + ["x"] * 8)
    split = Split(np.zeros((208, 1), np.float32), np.arange(208, dtype=np.int64) % 2, {"sex": sex})
    logits = says(*split.y, of=2)
    found = fairness.measure(logits, logits, split, protected=("sex",), seed=0)
    for gap in fairness.GAPS:
        assert math.isnan(found[f"fairness.{gap}"].value), gap
        assert found[f"fairness.{gap}"].high is None


def test_calibration_is_the_stated_probability_minus_the_share_of_the_label():
    split, _ = people(400)  # half of each group has label 1
    sure = np.where(split.slices["sex"] == "f", 0.8, 0.4)
    logits = np.log(np.stack([1 - sure, sure], axis=1)).astype(np.float32)
    fair = np.zeros((400, 2), np.float32)
    found = fairness.measure(logits, fair, split, protected=("sex",), seed=0)
    assert found["fairness.calibration.slice.sex=f"].value == pytest.approx(0.3, abs=1e-6)
    assert found["fairness.calibration.slice.sex=m"].value == pytest.approx(-0.1, abs=1e-6)
    assert found["fairness.calibration_gap"].value == pytest.approx(0.4, abs=1e-6)
    assert found["fairness.twin_calibration_gap"].value == pytest.approx(0)
    reach = 1.96 * 0.5 / math.sqrt(200)  # half of the rows lie 0.5 above the mean, half below
    estimate = found["fairness.calibration.slice.sex=f"]
    assert estimate.high - estimate.value == pytest.approx(reach, rel=0.15)


def test_a_candidate_that_answers_nothing_is_right_nowhere_and_states_nothing():
    split, rng = people(400)
    silent = np.full((400, 2), np.nan, np.float32)
    found = fairness.measure(silent, said(rng.random(400) < 0.9, split.y), split, protected=("sex",), seed=0)
    assert found["fairness.accuracy.slice.sex=f"].value == found["fairness.selection_rate.slice.sex=f"].value == 0
    assert math.isnan(found["fairness.precision.slice.sex=f"].value)
    assert math.isnan(found["fairness.calibration_gap_increase"].value)


def test_the_same_seed_gives_the_same_numbers():
    split, rng = people(400)
    logits = said(rng.random(400) < 0.9, split.y), said(rng.random(400) < 0.9, split.y)
    one, again, other = (fairness.measure(*logits, split, protected=("sex",), seed=seed) for seed in (3, 3, 4))
    assert Evidence("s", "t", "d", one).encode() == Evidence("s", "t", "d", again).encode()
    assert Evidence("s", "t", "d", one).encode() != Evidence("s", "t", "d", other).encode()


def test_a_protected_column_that_is_not_there_is_refused_by_name():
    split, _ = people(40)
    with pytest.raises(InvalidInputError, match=r"\['race'\] are no slice columns; the split has \['sex'\]"):
        fairness.measure(says(*split.y), says(*split.y), split, protected=("sex", "race"), seed=0)


def test_what_is_protected_is_part_of_a_snapshots_digest_where_it_is_said():
    plain = table()
    assert replace(plain, protected=()).digest == plain.digest
    assert replace(plain, protected=("sex",)).digest != plain.digest
