"""A regression through everything that is measured: what counts, what is left out, and in which words."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.corruptions import tables
from pruneguard.evaluation.data_quality import admit
from pruneguard.evaluation.evaluate import evaluate
from pruneguard.evaluation.sessions import Session
from pruneguard.evaluation.usability import require_usable
from pruneguard.evidence import PairedTable
from pruneguard.workload import Split
from tests.evaluation.small import linear, numbers, table

SUM, NEARLY, LAZY = linear([[1], [1], [1]]), linear([[1], [1], [0.9]]), linear([[1], [1], [0]])
DATA = numbers(300)
ATTACKS = ("robustness.fgsm", "robustness.pgd", "robustness.square", "robustness.masking", "robustness.transfer")


@pytest.fixture(scope="module")
def evidence():
    return evaluate(NEARLY, SUM, DATA, split="gate", seed=0)


def left_out(evidence):
    return dict(text.split(": ", 1) for text in evidence.context["left out"].split("; "))


def test_right_answers_are_those_within_the_tolerance_everywhere(evidence):
    gate = DATA.gate
    right = 0.1 * gate.x[:, 2] <= 0.1 + 1e-6
    assert evidence.get("quality.paired") == PairedTable(int(right.sum()), 0, int((~right).sum()), 0)
    assert evidence.get("quality.rmse").value == pytest.approx(np.sqrt(np.mean((0.1 * gate.x[:, 2]) ** 2)), rel=1e-4)
    assert {name.split("=")[0] for name in evidence.measurements if name.startswith("quality.paired.slice.")} == {
        "quality.paired.slice.target",
        "quality.paired.slice.half",
    }


def test_every_damage_of_tables_is_counted_by_the_same_tolerance(evidence):
    for family in tables.FAMILIES:
        assert evidence.get(f"robustness.{family}.paired").n == len(DATA.gate)
    assert evidence.get("robustness.corruption.relative_error") is not None


def test_what_takes_classes_is_left_out_and_says_so(evidence):
    why = left_out(evidence)
    for family in ("calibration", "fairness", "ood", "backdoor", "inversion", "attribution", *ATTACKS):
        assert why[family] in ("takes classes, and the answers are numbers", "not asked")
    named = ("calibration.ece_increase", "ood.auroc_drop", *(f"{attack}.paired" for attack in ATTACKS))
    asked = evaluate(NEARLY, SUM, DATA, split="gate", seed=0, wanted=named, all_else=False)
    assert {left_out(asked)[name] for name in ("calibration", "ood", *ATTACKS)} == {
        "takes classes, and the answers are numbers"
    }


def test_gap_and_membership_need_no_classes(evidence):
    assert evidence.get("generalisation.gap_increase").n > 0
    assert -1 <= evidence.get("membership.advantage").value <= 1


def test_the_file_is_held_against_its_network_by_the_tolerance(evidence):
    assert evidence.get("artifact.deviation").value < 1e-4
    swapped = replace(LAZY, network=SUM.network)
    other = evaluate(swapped, SUM, DATA, split="gate", seed=0, wanted=("artifact",), all_else=False)
    assert other.get("artifact.deviation").value > 0.5


def test_slices_that_nobody_named_are_told_by_the_answer_and_not_by_a_confidence():
    data = numbers(2000)
    found = evaluate(LAZY, SUM, data, split="gate", seed=0, wanted=("quality.found",), all_else=False)
    names = " ".join(name for name in found.measurements if name.startswith("quality.found.paired.slice."))
    assert "feature 2" in names
    assert "confidence" not in names


def test_a_classifier_is_refused_for_numbers_and_the_other_way_round():
    with pytest.raises(InvalidInputError, match="gives 2 logits, the data have no classes"):
        evaluate(linear(np.ones((3, 2))), linear(np.ones((3, 2))), DATA, split="gate", seed=0)
    with pytest.raises(InvalidInputError, match="gives one number, the data have 2 classes"):
        evaluate(SUM, SUM, table(), split="gate", seed=0)


def test_a_twin_without_an_answer_is_no_yardstick():
    broken = linear([[np.nan], [1], [1]])
    with pytest.raises(InvalidInputError, match="not finite on 150 of 150 rows"):
        evaluate(SUM, broken, DATA, split="gate", seed=0)


def test_an_answer_may_come_without_columns():
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "weight"], ["number"])],
        "flat",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("number", TensorProto.FLOAT, ["batch"])],
        [numpy_helper.from_array(np.ones(3, np.float32), "weight")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(made)
    session = Session(made.SerializeToString())
    assert (session.width, session.classes) == (1, None)
    np.testing.assert_allclose(session.logits(DATA.gate.x, batch=7), DATA.gate.y[:, None], rtol=1e-5)


# -- the data


def changed(**changes):
    gate = DATA.gate
    return replace(DATA, gate=Split(gate.x, changes.get("y", gate.y), changes.get("slices", gate.slices)))


def with_value(value, row):
    y = DATA.gate.y.copy()
    y[row] = value
    return y


@pytest.mark.parametrize(
    ("snapshot", "said"),
    [
        (changed(y=with_value(np.nan, 4)), "split gate: 1 targets are NaN or infinite, the first is nan in row 4"),
        (changed(y=with_value(-np.inf, 9)), "split gate: 1 targets are NaN or infinite, the first is -inf in row 9"),
        (changed(y=np.full(150, 2, np.float32)), "split gate: all its targets are 2"),
        (changed(y=DATA.gate.y.astype(np.int64)), r"split gate: y is int64 \[150\]; expected an array of float32"),
        (changed(slices={"target": np.array(["a"] * 150)}), "called 'target'"),
        (replace(DATA, tolerance=None), "tolerance None; a regression says how near"),
        (replace(DATA, tolerance=0.0), r"tolerance 0\.0; a regression says how near"),
        (replace(DATA, tolerance=float("nan")), "tolerance nan; a regression says how near"),
        (table(tolerance=0.5), r"tolerance is 0\.5 beside 2 classes"),
    ],
)
def test_each_problem_of_numbers_is_told_with_its_place(snapshot, said):
    with pytest.raises(InvalidInputError, match=said):
        require_usable(snapshot)


def test_the_tolerance_is_part_of_what_the_data_are():
    require_usable(DATA)
    assert replace(DATA, tolerance=0.2).digest != DATA.digest


def test_numbers_are_admitted_without_what_takes_classes():
    admission = admit(DATA)
    assert admission.failed == ()
    assert "300, gate 150, release 150; numbers, right within 0.1" in admission.summary
    assert admission.evidence.context["tolerance"] == "0.1"
    for name in ("imbalance", "conflicts", "label_noise", "odd_labels", "islands", "trigger"):
        assert admission.evidence.get(f"data.{name}") is None
        assert f"data.{name}: takes classes" in admission.evidence.context["left out"]
    assert admission.evidence.get("data.shift.release").n > 0


def test_labels_that_are_no_numbers_fail_an_expectation_of_their_own():
    failed = " ".join(admit(changed(y=with_value(np.nan, 4))).failed)
    assert "expect_column_values_to_not_be_null(column=label) found 1 unexpected values" in failed
