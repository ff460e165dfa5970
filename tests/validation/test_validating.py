"""From files to a verdict: what is judged, what is not and why, and what cannot be judged at all."""

from dataclasses import replace

import numpy as np
import pytest

from pruneguard.errors import InvalidInputError
from pruneguard.policy import Policy, Rule
from pruneguard.validation.validating import Request, validate
from pruneguard.verdict import Outcome
from tests.evaluation.small import linear_onnx, with_outside_weights

DENSE = [[4, 0, 0], [0, 4, 0], [0, 0, 4]]
"""Answers the largest of three features."""


def rule(measurement, gate="at_most", name=None, **parameters):
    return Rule(name or measurement, gate, measurement, {k: float(v) for k, v in parameters.items()}, "So.", "Mend it.")


RULES = (
    rule("quality.paired", "non_inferior", margin=0.05, alpha=0.05),
    rule("quality.accuracy", "at_least", limit=0.5),
    rule("efficiency.parameter_ratio", limit=1),
    rule("efficiency.parameters", limit=9),
)


@pytest.fixture
def asked(tmp_path) -> Request:
    """A model that is its twin in other words: scaled, and another file."""
    x = np.random.default_rng(0).random((200, 3))
    np.savez(tmp_path / "rows.npz", x=x, y=x.argmax(axis=1), half=np.where(x[:, 0] < 0.5, "low", "high"))
    (tmp_path / "dense.onnx").write_bytes(linear_onnx(DENSE))
    (tmp_path / "model.onnx").write_bytes(linear_onnx(np.multiply(DENSE, 2)))
    policy = Policy("mine", 1, "To be as good.", RULES)
    return Request(
        model=tmp_path / "model.onnx",
        twin=tmp_path / "dense.onnx",
        data=str(tmp_path / "rows.npz"),
        policy=policy,
        policy_file=tmp_path / "policy.yaml",
        data_dir=tmp_path,
    )


def outcomes(request):
    return {finding.rule: finding.outcome for finding in validate(request).verdict.findings}


def judged_by(request, *rules):
    return replace(request, policy=replace(request.policy, rules=rules))


def refusal(request):
    with pytest.raises(InvalidInputError) as refused:
        validate(request)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_model_as_good_as_its_twin_passes_and_every_file_is_named_by_its_digest(asked):
    found = validate(asked)
    assert found.passed
    assert {source.role for source in found.sources} == {"model", "twin", "data", "policy"}
    (evidence,) = found.evidence
    assert (evidence.subject, evidence.twin, evidence.data) == tuple(source.digest for source in found.sources[:3])
    assert found.measured["quality.paired.slice.half=low"].n + found.measured["quality.paired.slice.half=high"].n == 200


def test_the_same_files_give_the_same_verdict(asked):
    assert validate(asked).verdict == validate(asked).verdict


def test_a_rule_that_takes_gradients_has_no_evidence_and_says_why(asked):
    found = validate(judged_by(asked, *RULES, rule("robustness.pgd.paired", "non_inferior", margin=0.1, alpha=0.05)))
    assert not found.passed
    assert found.findings[0].outcome is Outcome.NO_EVIDENCE
    assert "takes the network, and there is only the candidate's file" in found.findings[0].observed


def test_a_rule_about_training_data_has_no_evidence_in_one_file_of_rows(asked):
    found = validate(judged_by(asked, *RULES, rule("data.leakage", limit=0)))
    assert "give a workload, --data file.py:Class" in found.findings[0].observed


def test_a_rule_can_be_left_out_by_its_name_or_by_the_beginning_of_it_and_is_told(asked):
    found = validate(replace(asked, left_out=("efficiency.parameter_ratio",)))
    assert [each.name for each in found.left_out] == ["efficiency.parameter_ratio"]
    assert len(found.verdict.findings) == 3
    assert found.verdict.policy != asked.policy.digest  # another policy, and its digest says so
    assert found.sources[-1].digest == asked.policy.digest
    found = validate(replace(asked, left_out=("efficiency",)))
    assert [each.name for each in found.left_out] == ["efficiency.parameter_ratio", "efficiency.parameters"]


def test_leaving_out_what_is_not_there_or_everything_is_refused(asked):
    assert "did you mean 'quality.paired'?" in refusal(replace(asked, left_out=("quality.pared",)))
    assert "no such rule" in refusal(replace(asked, left_out=("efficiency.param",)))  # a beginning ends at a dot
    assert "nothing judged is never a pass" in refusal(replace(asked, left_out=("quality", "efficiency")))


def test_without_a_twin_nothing_that_compares_passes(asked):
    assert outcomes(replace(asked, twin=None)) == {
        "quality.paired": Outcome.NO_EVIDENCE,
        "quality.accuracy": Outcome.PASSED,
        "efficiency.parameter_ratio": Outcome.NO_EVIDENCE,
        "efficiency.parameters": Outcome.PASSED,
    }
    found = validate(replace(asked, twin=None))
    assert all("give one, --twin dense.onnx" in finding.observed for finding in found.findings[:2])


def test_what_is_judged_without_a_twin_does_not_depend_on_one(asked, tmp_path):
    x = np.random.default_rng(0).random((200, 3))
    np.savez(tmp_path / "rows.npz", x=x, y=np.arange(200) % 3, outliers=x + 1)
    everything = judged_by(asked, *(rule(name, limit=1) for name in ("calibration.ece", "ood.auroc")))
    beside_itself = validate(replace(everything, twin=None)).measured
    beside_another = validate(everything).measured
    assert beside_itself.keys() < beside_another.keys()
    families = {name.partition(".")[0] for name in beside_itself}
    assert families == {"quality", "calibration", "ood", "efficiency"}
    for name, measured in beside_itself.items():
        assert measured.value == beside_another[name].value, name


def test_a_dense_model_is_its_own_twin(asked):
    assert all(outcome is Outcome.PASSED for outcome in outcomes(replace(asked, model=asked.twin)).values())


def test_a_model_that_is_worse_is_refused(asked):
    asked.model.write_bytes(linear_onnx([[1, 0, 0], [0, 1, 0], [0, 0, 0]]))
    assert outcomes(asked)["quality.paired"] is Outcome.FAILED


def test_too_few_rows_are_told_with_the_number_that_would_do(asked, tmp_path):
    x = np.random.default_rng(0).random((20, 3))
    np.savez(tmp_path / "rows.npz", x=x, y=x.argmax(axis=1))
    finding = validate(asked).findings[0]
    assert (finding.rule, finding.outcome) == ("quality.paired", Outcome.UNDERPOWERED)
    assert finding.flip.startswith("need n >= 52 rows")


def test_a_model_that_answers_nan_does_not_pass(asked):
    asked.model.write_bytes(linear_onnx(np.full((3, 3), np.nan)))
    assert outcomes(asked)["quality.accuracy"] is Outcome.FAILED


def test_what_is_no_model_is_named(asked):
    asked.model.write_bytes(b"PK\x03\x04 as torch.save writes it")
    assert f"{asked.model}: an archive such as torch.save writes, which is never unpickled" in refusal(asked)
    asked.model.write_bytes(b"\xffjunk")
    assert f"{asked.model}: 5 bytes; expected an ONNX file" in refusal(asked)
    asked.model.write_bytes(b"")
    assert f"{asked.model}: these 0 bytes are not a model" in refusal(asked)
    asked.model.unlink()
    assert f"{asked.model}: cannot be read: No such file" in refusal(asked)


def test_weights_outside_the_file_are_refused_wherever_they_lie(asked, tmp_path):
    (tmp_path / "model.onnx.data").write_bytes(b"\x00" * 36)
    asked.model.write_bytes(with_outside_weights(linear_onnx(DENSE), "model.onnx.data"))
    assert f"{asked.model}: 1 weights lie in files beside it, 'weight' first" in refusal(asked)


def test_a_twin_of_another_kind_is_refused(asked):
    asked.twin.write_bytes(linear_onnx(np.eye(3, 2)))
    assert f"{asked.twin} gives 2 logits and {asked.model} 3" in refusal(asked)
    asked.twin.write_bytes(linear_onnx(np.eye(4, 3)))
    assert f"{asked.twin}: the rows have the shape [1, 3]; the model expects ['batch', 4]" in refusal(asked)


def test_labels_outside_the_models_classes_are_refused(asked, tmp_path):
    np.savez(tmp_path / "rows.npz", x=np.eye(3), y=np.array([0, 1, 3]))
    assert "the first is 3 in row 2; expected classes from 0 to 2" in refusal(asked)


def test_a_file_of_rows_has_no_splits(asked):
    assert "has no splits; all its rows are judged" in refusal(replace(asked, split="release"))


WORKLOAD = """
import numpy as np
from pruneguard.workload import Snapshot, Split

class Mine:
    def build(self):
        raise AssertionError("a file is judged; no network is built")
    def data(self, directory):
        x = np.random.default_rng(0).random((600, 3), dtype=np.float32)
        y = x.argmax(axis=1)
        parts = [Split(x[a:a + 200], y[a:a + 200]) for a in (0, 200, 400)]
        return Snapshot(*parts, classes=CLASSES)
"""


def test_a_workload_is_judged_on_the_split_that_is_named(asked, tmp_path):
    file = tmp_path / "workload.py"
    file.write_text(WORKLOAD.replace("CLASSES", "3"))
    request = replace(asked, data=f"{file}:Mine")
    assert validate(request).context["split"] == "gate"
    assert validate(replace(request, split="release")).context["split"] == "release"
    assert "class 'Other'" in refusal(replace(request, data=f"{file}:Other"))
    assert "no file nowhere.py" in refusal(replace(request, data="nowhere.py:Mine"))


def test_a_workload_with_other_classes_is_not_this_models(asked, tmp_path):
    file = tmp_path / "workload.py"
    file.write_text(
        WORKLOAD.replace("CLASSES", "3").replace("y = x.argmax(axis=1)", "y = np.arange(600) % 4").replace("=3)", "=4)")
    )
    assert "gives 3 logits, the data of" in refusal(replace(asked, data=f"{file}:Mine"))
