"""Files that answer with numbers, judged outside any run."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pruneguard.errors import InvalidInputError
from pruneguard.policy import Policy, Rule
from pruneguard.validation import rows
from pruneguard.validation.validating import Request, validate
from pruneguard.verdict import Outcome
from tests.evaluation.small import linear_onnx

SUM = [[1], [1], [1]]


def rule(measurement, gate="at_most", name=None, **parameters):
    return Rule(name or measurement, gate, measurement, {k: float(v) for k, v in parameters.items()}, "So.", "Mend it.")


RULES = (
    rule("quality.paired", "non_inferior", margin=0.05, alpha=0.05),
    rule("quality.paired", "slices_non_inferior", name="quality.slices", margin=0.05, alpha=0.05, rows_min=30),
    rule("quality.rmse_ratio", "at_most_surely", limit=1.1),
    rule("quality.rmse", limit=0.5),
    rule("robustness.noise.paired", "non_inferior", margin=0.05, alpha=0.05),
)


@pytest.fixture
def asked(tmp_path) -> Request:
    """Rows whose number is their sum, give or take; a model that adds them up, and its twin."""
    rng = np.random.default_rng(0)
    x = rng.random((400, 3))
    np.savez(tmp_path / "rows.npz", x=x, y=x.sum(axis=1) + 0.05 * rng.normal(size=400))
    (tmp_path / "dense.onnx").write_bytes(linear_onnx(SUM))
    (tmp_path / "model.onnx").write_bytes(linear_onnx(np.multiply(SUM, 1.0001)))
    return Request(
        model=tmp_path / "model.onnx",
        twin=tmp_path / "dense.onnx",
        data=str(tmp_path / "rows.npz"),
        policy=Policy("mine", 1, "To be as near.", RULES),
        policy_file=tmp_path / "policy.yaml",
        data_dir=tmp_path,
        tolerance=0.1,
    )


def outcomes(request):
    return {finding.rule: finding.outcome for finding in validate(request).verdict.findings}


def test_a_model_as_near_as_its_twin_passes(asked):
    assert set(outcomes(asked).values()) == {Outcome.PASSED}


def test_a_model_that_is_off_fails_where_it_is_off(asked, tmp_path):
    (tmp_path / "model.onnx").write_bytes(linear_onnx([[1], [1], [0.5]]))
    found = outcomes(asked)
    assert {found[name] for name in ("quality.paired", "quality.slices", "quality.rmse_ratio")} == {Outcome.FAILED}


def test_without_a_twin_the_errors_are_judged_alone(asked):
    found = outcomes(replace(asked, twin=None))
    assert found["quality.rmse"] is Outcome.PASSED
    assert found["quality.rmse_ratio"] is found["quality.paired"] is Outcome.NO_EVIDENCE


def test_what_takes_classes_is_no_evidence_and_says_why(asked):
    policy = Policy("mine", 1, "To ask.", (rule("calibration.ece_increase", limit=0.1),))
    found = validate(replace(asked, policy=policy))
    assert found.verdict.findings[0].outcome is Outcome.NO_EVIDENCE
    assert found.absent == {"calibration.ece_increase": "takes classes, and the answers are numbers"}


@pytest.mark.parametrize("tolerance", [None, 0.0, -1.0, float("nan"), float("inf")])
def test_nobody_guesses_how_near_is_right(asked, tolerance):
    with pytest.raises(InvalidInputError, match=r"answers with one number a row.*--tolerance NUMBER"):
        validate(replace(asked, tolerance=tolerance))


def test_a_tolerance_for_classes_is_refused(asked, tmp_path):
    (tmp_path / "model.onnx").write_bytes(linear_onnx(np.eye(3)))
    (tmp_path / "dense.onnx").write_bytes(linear_onnx(np.eye(3)))
    with pytest.raises(InvalidInputError, match="the model gives 3 logits; --tolerance is for"):
        validate(asked)


def test_a_twin_that_answers_another_question_is_refused(asked, tmp_path):
    (tmp_path / "dense.onnx").write_bytes(linear_onnx(np.eye(3)))
    with pytest.raises(InvalidInputError, match=r"dense.onnx gives 3 logits and .*model.onnx one number"):
        validate(asked)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        ([0.5, np.nan, 1], "1 are NaN or infinite, the first is nan in row 1"),
        ([0.5, 1, 1e300], "1 are NaN or infinite, the first is 1e.300 in row 2"),
        ([2, 2, 2], "all are 2; expected numbers that differ"),
        (["a", "b", "c"], "they are <U1; expected numbers"),
        ([0.5, 1], r"\[2\] for 3 rows"),
    ],
)
def test_labels_that_are_no_numbers_are_refused_with_their_row(tmp_path, y, said):
    path = tmp_path / "rows.npz"
    np.savez(path, x=np.eye(3), y=np.array(y))
    with pytest.raises(InvalidInputError, match=f"labels: {said}"):
        rows.snapshot(path, classes=None, tolerance=0.1)


def test_a_table_has_its_numbers_in_the_named_column(tmp_path):
    path = tmp_path / "rows.csv"
    pd.DataFrame({"a": [0.1, 0.2, 0.3], "price": [1, 2, 3]}).to_csv(path, index=False)
    found = rows.snapshot(path, classes=None, tolerance=0.5, label="price")
    assert (found.gate.y.dtype, found.gate.y.tolist(), found.tolerance) == (np.float32, [1, 2, 3], 0.5)
