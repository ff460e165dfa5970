import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.corruptions import images, tables
from pruneguard.evaluation.efficiency import latency
from pruneguard.evaluation.evaluate import Contender, efficiency, evaluate
from pruneguard.evidence import Estimate, Evidence, PairedTable
from pruneguard.pruning import quantising
from pruneguard.workload import Snapshot, Split
from tests.evaluation.conftest import contender
from tests.evaluation.security.test_whitebox import Tokens
from tests.evaluation.small import linear, table

NAMES = {
    "quality": (
        "accuracy twin_accuracy paired top5 twin_top5 top5.paired found.paired macro_f1 twin_macro_f1 macro_f1_drop "
        "nll twin_nll nll_increase kl flips flips_to_wrong flips_to_right flips_concentration divergence"
    ),
    "calibration": " ".join(f"{s} twin_{s} {s}_increase" for s in ("ece", "ace", "brier", "temperature")),
    "generalisation": "gap twin_gap gap_increase",
    "membership": "advantage twin_advantage advantage_increase",
    "robustness": " ".join(
        [f"{family}.paired" for family in (*images.FAMILIES, "fgsm", "pgd")]
        + ["corruption.relative_error", "corruption.excess_error"]
    ),
    "ood": " ".join(
        f"{s}auroc twin_{s}auroc {s}auroc_drop {s}fpr95 twin_{s}fpr95 {s}fpr95_increase"
        for s in ("", "energy_", "mahalanobis_", "knn_")
    ),
    "efficiency": (
        "size_bytes size_ratio parameters parameter_ratio nonzero_ratio macs_ratio cost.cpu cost.energy cost.dollars "
        + " ".join(f"latency_ratio{batch} latency_ratio{batch}.p99" for batch in ("", "_b8", "_b64", "_b256"))
    ),
    "artifact": "deviation threats",
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
    slices = {name for name in evidence.measurements if name.startswith("quality.paired.slice.")}
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


def test_a_file_in_8_bits_is_held_against_the_file_that_it_was_rounded_from(candidate, twin, digits, quick):
    made = quantising.int8(candidate.onnx, digits.train.x).content
    rounded = Contender(canonical.digest(made), made, candidate.model, unrounded=candidate.onnx)
    found = evaluate(rounded, twin, digits, split="gate", seed=0, wanted={"artifact.deviation"}, all_else=False)
    assert found.get("artifact.deviation").value < 1e-4
    assert 1e-3 < found.get("artifact.rounding").value < 0.5
    wrongly = replace(rounded, unrounded=twin.onnx)
    found = evaluate(wrongly, twin, digits, split="gate", seed=0, wanted={"artifact.deviation"}, all_else=False)
    assert found.get("artifact.deviation").value > 0.1


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
    again = evaluate(twin, twin, digits, split="gate", seed=0)
    assert again.context == self_evidence.context
    for name, measured in self_evidence.measurements.items():
        assert name.startswith("efficiency.cost") or again.get(name) == measured, name
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


# -- in stages ----------------------------------------------------------------------------------------------------

STRUCTURE = ["efficiency", *latency.BATCHES, "efficiency.cost", "efficiency.memory"]
FAMILIES = [
    *STRUCTURE,
    *("quality", "artifact", "artifact.threats", "calibration", "quality.found", "fairness", "generalisation"),
    *("membership", "ood"),
    *(f"robustness.{family}" for family in tables.FAMILIES),
    *("robustness.corruption", "robustness.fgsm", "robustness.pgd", "robustness.fgsm_sweep", "robustness.pgd_sweep"),
    *("robustness.transfer", "robustness.square", "attribution", "robustness.masking", "inversion", "backdoor"),
    "quality.cross_validated",
]
ON_DEMAND = {
    *("efficiency.memory", "robustness.fgsm_sweep", "robustness.pgd_sweep", "robustness.transfer"),
    *("robustness.square", "attribution", "robustness.masking", "inversion", "backdoor", "quality.cross_validated"),
}
STANDARD = [family for family in FAMILIES if family not in ON_DEMAND]
NOT_ASKED = dict.fromkeys(ON_DEMAND, "not asked")
TIMED = ("efficiency.latency", "efficiency.cost")
UNPROTECTED = {"fairness": "the data name no protected columns"}


def left_out(evidence):
    return dict(each.split(": ") for each in evidence.context["left out"].split("; "))


def families(evidence):
    """Which families the evidence speaks of, in the order of its measurements."""
    names = (name for name in evidence.measurements if ".slice." not in name)
    return list(dict.fromkeys(max((f for f in FAMILIES if n.startswith(f)), key=len) for n in names))


@pytest.fixture
def separating():
    return linear(SEPARATING)


@pytest.fixture
def inferior():
    return linear([[-4.0, 4.0], [4.0, 0.0], [4.0, -4.0]])


def test_only_what_is_wanted_is_measured_and_weight_and_quality_always(quick, inferior, separating):
    wanted = ["calibration.ece", "robustness.fgsm.paired", "efficiency.latency_ratio_b64", "data.leakage"]
    found = evaluate(inferior, separating, table(), split="gate", seed=0, wanted=wanted, all_else=False)
    kept = {"efficiency", "efficiency.latency_ratio_b64", "quality", "calibration", "robustness.fgsm"}
    assert set(families(found)) == kept
    assert left_out(found) == dict.fromkeys([f for f in FAMILIES if f not in kept], "not asked")
    whole = evaluate(inferior, separating, table(), split="gate", seed=0)
    for name, measured in found.measurements.items():
        assert name.startswith(TIMED) or whole.get(name) == measured


def test_the_cheap_families_come_first_and_a_stop_ends_the_rest(quick, inferior, separating):
    outliers = np.ones((9, 3), np.float32)
    seen = []
    found = evaluate(
        inferior,
        separating,
        table(outliers=outliers),
        split="gate",
        seed=0,
        stop=lambda measured: seen.append(len(measured)) or "quality.paired" in measured,
    )
    first = STANDARD[: STANDARD.index("quality") + 1]
    assert families(found) == first
    assert left_out(found) == dict.fromkeys(STANDARD[len(first) :], "stopped") | NOT_ASKED
    assert found.context["stopped after"] == "quality"
    assert seen == sorted(set(seen))
    assert len(seen) == len(first)
    whole = evaluate(inferior, separating, table(outliers=outliers), split="gate", seed=0, stop=lambda measured: False)
    assert families(whole) == [family for family in STANDARD if family != "fairness"]
    assert left_out(whole) == NOT_ASKED | UNPROTECTED
    assert "stopped after" not in whole.context


def test_progress_ends_where_the_evaluation_was_stopped(quick, inferior, separating):
    told = []
    evaluate(
        inferior,
        separating,
        table(),
        split="gate",
        seed=0,
        stop=lambda measured: True,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (len(FAMILIES), len(FAMILIES))


def test_efficiency_is_measured_before_anything_is_learnt(quick, separating):
    untrained = linear([[math.nan, 0.0], [0.0, 0.0], [0.0, 0.0]])
    found = efficiency(untrained, separating, table(), split="gate", seed=0)
    assert families(found) == [family for family in STRUCTURE if family not in ON_DEMAND]
    assert left_out(found) == dict.fromkeys(STANDARD[len(families(found)) :], "not trained yet") | NOT_ASKED
    assert (found.subject, found.twin) == (untrained.digest, separating.digest)


def test_tokens_are_measured_and_not_attacked(quick, monkeypatch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Tokens().eval()
    rng = np.random.default_rng(0)

    def split(rows):
        return Split(rng.integers(0, 8, (rows, 5)).astype(np.float32), np.arange(rows) % 2)

    ids = Snapshot(split(60), split(30), split(30), classes=2, bounds=(0, 7))
    tokens = contender(model, ids)
    found = evaluate(tokens, tokens, ids, split="gate", seed=0)
    told = left_out(found)
    assert told.pop("ood") == "the data have no outliers"
    assert {told.pop(f"robustness.{attack}") for attack in ("fgsm", "pgd")} == {
        "no gradient reaches the rows (candidate)"
    }
    assert told == NOT_ASKED | UNPROTECTED


def test_weights_that_are_zero_are_no_sparsity_of_parameters(quick, separating):
    found = evaluate(linear([[4.0, 0.0], [0.0, 0.0], [1.0, 0.0]]), separating, table(), split="gate", seed=0)
    assert found.get("efficiency.parameter_ratio").value == 1
    assert found.get("efficiency.nonzero_ratio").value == 2 / 6
    assert found.get("efficiency.macs_ratio").value == 1


def test_the_stored_size_is_measured_where_there_is_a_stored_file(quick, separating):
    stored = replace(separating, digest="sha256:1", stored_bytes=6)
    found = efficiency(stored, separating, table(), split="gate", seed=0)
    assert found.get("efficiency.stored_bytes") == Estimate(6, 6, 6, 1, "By")
    assert found.get("efficiency.stored_ratio").value == 6 / (6 * 4)
    assert efficiency(separating, separating, table(), split="gate", seed=0).get("efficiency.stored_bytes") is None
