import math
from dataclasses import replace

import numpy as np
import pytest

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation import latency
from pruneguard.evaluation.evaluate import Contender, evaluate
from pruneguard.evidence import Estimate, Evidence, PairedTable
from tests.evaluation.small import linear, table

NAMES = {
    "quality": "accuracy twin_accuracy paired flips flips_to_wrong flips_to_right divergence",
    "calibration": "ece twin_ece ece_increase brier brier_increase",
    "robustness": "noise.paired blur.paired contrast.paired fgsm.paired pgd.paired",
    "ood": "auroc twin_auroc auroc_drop energy_auroc twin_energy_auroc energy_auroc_drop",
    "efficiency": "latency_ratio latency_ratio_b64 size_bytes size_ratio parameters parameter_ratio",
    "artifact": "deviation",
}


@pytest.fixture(scope="module")
def evidence(candidate, twin, digits) -> Evidence:
    return evaluate(candidate, twin, digits, split="gate", seed=0)


@pytest.fixture(scope="module")
def self_evidence(twin, digits) -> Evidence:
    return evaluate(twin, twin, digits, split="gate", seed=0)


def unsliced(evidence):
    return {name: m for name, m in evidence.measurements.items() if ".slice." not in name}


def test_everything_a_policy_can_name_is_measured(evidence):
    expected = {f"{group}.{name}" for group, names in NAMES.items() for name in names.split()}
    assert set(unsliced(evidence)) == expected
    slices = {name for name in evidence.measurements if ".slice." in name}
    assert slices == {
        f"quality.paired.slice.{value}" for value in [*(f"class={c}" for c in range(10)), "parity=even", "parity=odd"]
    }


def test_every_number_has_rows_and_an_interval_around_it(evidence):
    for name, measurement in evidence.measurements.items():
        assert measurement.n > 0, name
        if isinstance(measurement, Estimate):
            assert measurement.low <= measurement.value <= measurement.high, name


def test_evidence_names_what_it_is_about_and_survives_its_encoding(evidence, candidate, twin, digits):
    assert (evidence.subject, evidence.twin, evidence.data) == (candidate.digest, twin.digest, digits.digest)
    assert {"split", "seed", "attack", "onnxruntime", "torch", "numpy"} <= set(evidence.context)
    assert Evidence.decode(evidence.encode()) == evidence


def test_the_artefact_is_the_network_and_smaller_than_its_twin(evidence):
    assert evidence.get("artifact.deviation").value < 1e-4
    assert evidence.get("efficiency.parameter_ratio").value == pytest.approx((4 * 10 + 650) / (16 * 10 + 2570))
    assert evidence.get("efficiency.size_ratio").value < 0.7


def test_the_twin_against_itself_is_a_draw(self_evidence, twin):
    for measurement in self_evidence.measurements.values():
        if isinstance(measurement, PairedTable):
            assert measurement.discordance == 0
    for name in ("latency_ratio", "latency_ratio_b64", "size_ratio", "parameter_ratio"):
        assert self_evidence.get(f"efficiency.{name}").value == 1
    for name in ("quality.flips", "quality.divergence", "calibration.ece_increase", "ood.auroc_drop"):
        assert self_evidence.get(name).value == 0
    assert self_evidence.twin == self_evidence.subject == twin.digest


def test_the_same_seed_gives_the_same_evidence(self_evidence, twin, digits):
    assert evaluate(twin, twin, digits, split="gate", seed=0) == self_evidence
    assert evaluate(twin, twin, digits, split="gate", seed=1) != self_evidence


def test_the_split_is_the_one_that_was_asked_for(twin, digits):
    shorter = replace(
        digits, release=replace(digits.release, x=digits.release.x[:90], y=digits.release.y[:90], slices={})
    )
    found = evaluate(twin, twin, shorter, split="release", seed=0)
    assert found.get("quality.paired").n == 90
    assert found.context["split"] == "release"
    with pytest.raises(InvalidInputError, match="no split 'test'; expected one of"):
        evaluate(twin, twin, digits, split="test", seed=0)


def test_progress_is_told_to_the_end(twin, digits):
    told = []
    evaluate(twin, twin, digits, split="gate", seed=0, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, told[-1][1]) for done in range(1, told[-1][1] + 1)]


SEPARATING = [[-4.0, 4.0], [0.0, 0.0], [4.0, -4.0]]
BROKEN = [[np.nan, 4.0], [0.0, 0.0], [4.0, -4.0]]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(latency, "SECONDS_MAX", 0.01)


def test_a_candidate_that_answers_nan_is_right_nowhere_and_proves_nothing(quick):
    found = evaluate(linear(BROKEN), linear(SEPARATING), table(), split="gate", seed=0)
    assert found.get("quality.accuracy").value == 0
    for name in ("noise", "scaling", "missing", "fgsm", "pgd"):
        paired = found.get(f"robustness.{name}.paired")
        assert paired.both_right == paired.candidate_only == 0
    for name in ("quality.divergence", "calibration.ece_increase", "calibration.brier", "artifact.deviation"):
        assert math.isnan(found.get(name).value), name
    assert Evidence.decode(found.encode()).get("quality.divergence").high is None


def test_a_twin_that_answers_nan_is_no_yardstick(quick):
    broken = linear(BROKEN)
    with pytest.raises(InvalidInputError, match="not finite on 30 of 30 rows; nothing can be compared"):
        evaluate(linear(SEPARATING), broken, table(), split="gate", seed=0)
    assert evaluate(broken, broken, table(), split="gate", seed=0).get("quality.accuracy").value == 0


def test_a_table_without_outliers_has_no_image_damage_and_no_ood(quick):
    found = evaluate(linear(SEPARATING), linear(SEPARATING), table(), split="gate", seed=0)
    groups = {name.rsplit(".", 1)[0] for name in unsliced(found)}
    assert {"robustness.scaling", "robustness.missing", "robustness.noise"} <= groups
    assert not {"robustness.blur", "robustness.contrast", "ood"} & groups


def test_a_model_for_other_classes_is_refused(digits):
    with pytest.raises(InvalidInputError, match="gives 2 logits, the data have 3 classes"):
        evaluate(linear(SEPARATING), linear(SEPARATING), table(classes=3), split="gate", seed=0)


def test_a_model_for_other_rows_is_refused(twin):
    with pytest.raises(InvalidInputError, match="the model expects"):
        evaluate(twin, twin, table(classes=10), split="gate", seed=0)


def test_bytes_that_are_no_model_are_refused(twin, digits):
    with pytest.raises(InvalidInputError, match="not a model"):
        evaluate(Contender("sha256:0", b"junk", twin.model), twin, digits, split="gate", seed=0)
