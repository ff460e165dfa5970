"""What is measured of a network that answers with numbers, against values computed by hand."""

import numpy as np
import pytest

from pruneguard.evaluation.correctness import regression
from pruneguard.evaluation.correctness.quality import slices
from pruneguard.evidence import Evidence, PairedTable
from pruneguard.gates import judge
from pruneguard.gates.measurements import MEASUREMENTS
from pruneguard.policy import Policy, Rule
from pruneguard.workload import Split

Y = np.array([0, 1, 2, 3, 4], np.float32)


def column(values):
    return np.asarray(values, np.float32)[:, None]


def measured(candidate, twin, y=Y, *, tolerance=0.5, seed=0):
    y = np.asarray(y, np.float32)
    split = Split(np.zeros((len(y), 2), np.float32), y)
    return regression.measure(column(candidate), column(twin), split, tolerance=tolerance, seed=seed)


@pytest.fixture(scope="module")
def by_hand():
    """Errors of the candidate 0, 0, 1, 2, -1 and of the twin 0, 0, 0, 0, 1, each forty times."""
    return measured([0, 1, 3, 5, 3] * 40, [0, 1, 2, 3, 5] * 40, np.tile(Y, 40))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quality.rmse", np.sqrt(6 / 5)),
        ("quality.twin_rmse", np.sqrt(1 / 5)),
        ("quality.rmse_increase", np.sqrt(6 / 5) - np.sqrt(1 / 5)),
        ("quality.rmse_ratio", np.sqrt(6)),
        ("quality.mae", 4 / 5),
        ("quality.mae_increase", 3 / 5),
        ("quality.median_error", 1),
        ("quality.twin_median_error", 0),
        ("quality.p90_error", 2),
        ("quality.bias", 2 / 5),
        ("quality.twin_bias", 1 / 5),
        ("quality.bias_increase", 1 / 5),
        ("quality.r2", 1 - 6 / 10),
        ("quality.twin_r2", 1 - 1 / 10),
        ("quality.r2_drop", 1 / 2),
        ("quality.accuracy", 2 / 5),
        ("quality.twin_accuracy", 4 / 5),
        ("quality.flips", 3 / 5),
        ("quality.flips_to_wrong", 2 / 5),
        ("quality.flips_to_right", 0),
        ("quality.tolerance", 0.5),
        ("quality.divergence", (1 / 1.5 + 2 / 2.5 + 2 / 2.5) / 5),
    ],
)
def test_each_number_is_what_a_hand_computes(by_hand, name, value):
    found = by_hand[name]
    assert found.value == pytest.approx(value)
    if found.low is not None:
        assert found.low <= found.value <= found.high


def test_right_within_the_tolerance_is_the_paired_table_that_gates_judge(by_hand):
    assert by_hand["quality.paired"] == PairedTable(both_right=80, candidate_only=0, twin_only=80, both_wrong=40)


def test_every_measurement_is_declared_and_lies_in_its_range(by_hand):
    for name, found in by_hand.items():
        scale = MEASUREMENTS[name.partition(".slice.")[0]]
        assert isinstance(found, scale.kind)
        if not isinstance(found, PairedTable) and np.isfinite(found.value):
            assert scale.low <= found.value <= scale.high


def test_a_model_beside_itself_has_lost_nothing_for_sure():
    y = np.random.default_rng(0).normal(size=200)
    answers = y + np.random.default_rng(1).normal(size=200)
    found = measured(answers, answers, y)
    for name in ("rmse_increase", "mae_increase", "p90_error_increase", "r2_drop", "bias_increase"):
        assert (found[f"quality.{name}"].low, found[f"quality.{name}"].high) == (0, 0)
    assert (found["quality.rmse_ratio"].low, found["quality.rmse_ratio"].high) == (1, 1)


def test_an_interval_of_a_paired_difference_holds_the_truth_about_as_often_as_it_says():
    truth, held, rounds = 0.2, 0, 60
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        y, noise = rng.normal(size=300), rng.normal(size=300)
        # The candidate's errors are the twin's, a fifth larger.
        found = measured(y + 1.2 * noise, y + noise, y, seed=seed)["quality.rmse_increase"]
        held += found.low <= truth <= found.high
    assert held >= 0.85 * rounds


def test_an_answer_that_is_no_number_is_wrong_and_leaves_every_error_unknown():
    found = measured([0, 1, np.nan, 3, 4], Y)
    assert found["quality.paired"] == PairedTable(4, 0, 1, 0)
    for name in ("rmse", "rmse_ratio", "mae", "median_error", "p90_error", "bias_increase", "r2_drop", "divergence"):
        assert np.isnan(found[f"quality.{name}"].value)
        assert found[f"quality.{name}"].high is None


def test_what_is_unknown_passes_no_gate():
    found = measured([0, 1, np.inf, 3, 4], Y)
    rule = Rule("rmse", "at_most_surely", "quality.rmse_ratio", {"limit": 9.0}, "So.", "Mend it.")
    evidence = Evidence("a", "b", "d", found)
    assert not judge(Policy("p", 1, "To try.", (rule,)), [evidence], candidate="a", twin="b", data="d").passed


def test_a_twin_without_any_error_gives_no_ratio():
    assert np.isnan(measured([0, 1, 2, 3, 5], Y)["quality.rmse_ratio"].value)


def test_the_same_seed_gives_the_same_numbers():
    assert measured([0, 1, 3, 5, 3], Y) == measured([0, 1, 3, 5, 3], Y)


def test_no_rows_are_no_evidence():
    found = measured([], [], [])
    assert found["quality.paired"].n == 0
    assert "quality.rmse" not in found


def test_a_percentile_counts_a_row_as_often_as_it_was_drawn():
    statistic = regression.percentile(np.array([3.0, 1.0, 2.0]), 0.5)
    weights = np.array([[1, 0, 3], [1, 0, 0], [1, 3, 0]], dtype=float)
    assert statistic(weights).tolist() == [2, 2, 3]


def test_the_share_of_variance_is_that_of_the_rows_drawn():
    errors, y = np.array([1.0, 0.0, -1.0]), np.array([10.0, 12.0, 14.0])
    weights = np.array([[1, 2], [1, 0], [1, 1]], dtype=float)
    # Drawn as they are: 2/3 against 8/3. The first twice and the last once: 1 against 32/9.
    np.testing.assert_allclose(regression.explained(errors, y)(weights), [1 - 2 / 8, 1 - 9 / 32])


def test_the_label_is_looked_at_by_fifths():
    y = np.arange(100, dtype=np.float32)[::-1].copy()
    masks = dict(slices(Split(np.zeros((100, 1), np.float32), y)))
    assert list(masks) == [f"target=fifth {number}" for number in range(1, 6)]
    assert all(mask.sum() == 20 for mask in masks.values())
    assert y[masks["target=fifth 1"]].max() == 19


def test_a_candidate_that_loses_one_end_of_the_scale_is_found_there():
    y = np.linspace(0, 10, 500)
    twin, candidate = y + 0.1, np.minimum(y, 8)
    found = measured(candidate, twin, y)
    assert found["quality.paired.slice.target=fifth 5"].difference < -0.7
    assert found["quality.paired.slice.target=fifth 1"].difference == 0
    assert found["quality.flips_concentration.slice.target=fifth 5"].value == pytest.approx(5)
