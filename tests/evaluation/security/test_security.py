"""The families about security, asked for by name through `evaluate`."""

import numpy as np
import pytest

from pruneguard.evaluation.evaluate import evaluate
from pruneguard.evaluation.security import backdoor
from pruneguard.gates.measurements import MEASUREMENTS
from pruneguard.workload import Snapshot, Split
from tests.evaluation.conftest import contender
from tests.evaluation.security.test_whitebox import Tokens

ON_DEMAND = [
    *(
        "robustness.fgsm_sweep",
        "robustness.pgd_sweep",
        "robustness.transfer",
        "robustness.square",
        "robustness.masking",
    ),
    *("inversion", "backdoor"),
]
STANDARD = ["membership", "artifact.threats"]


def below(family, names):
    return {name.partition(".slice.")[0] for name in names if name == family or name.startswith(f"{family}.")}


def left_out(evidence):
    return dict(each.split(": ", 1) for each in evidence.context["left out"].split("; "))


@pytest.fixture
def few(digits, monkeypatch) -> Snapshot:
    monkeypatch.setattr(backdoor, "STEPS", 2)
    monkeypatch.setattr(backdoor, "ROWS", 10)
    rows = np.arange(30)
    return Snapshot(digits.train, digits.gate.taken(rows), digits.release.taken(rows), digits.classes)


def test_everything_that_a_policy_can_name_is_measured_when_it_is_named(candidate, twin, few):
    found = evaluate(
        candidate, twin, few, split="gate", seed=0, wanted=[*ON_DEMAND, *STANDARD], all_else=False
    ).measurements
    for family in (*ON_DEMAND, *STANDARD):
        assert below(family, found) == below(family, MEASUREMENTS) != set(), family
    for name, measured in found.items():
        scale = MEASUREMENTS[name.partition(".slice.")[0]]
        assert isinstance(measured, scale.kind), name


def test_what_costs_more_than_the_rest_is_not_made_unasked(candidate, twin, few):
    found = evaluate(candidate, twin, few, split="gate", seed=0, wanted=["membership"], all_else=False)
    assert {name.partition(".")[0] for name in found.measurements} == {"efficiency", "quality", "membership"}
    assert set(ON_DEMAND) <= {name for name, why in left_out(found).items() if why == "not asked"}


def test_what_cannot_be_attacked_is_missing_and_says_why():
    rng = np.random.default_rng(0)

    def split(rows):
        return Split(rng.integers(0, 8, (rows, 5)).astype(np.float32), np.arange(rows) % 2)

    ids = Snapshot(split(20), split(10), split(10), classes=2, bounds=(0, 7))
    tokens = contender(Tokens().eval(), ids)
    found = evaluate(tokens, tokens, ids, split="gate", seed=0, wanted=ON_DEMAND, all_else=False)
    reasons = left_out(found)
    assert reasons["robustness.square"] == "the rows are whole numbers that no gradient reaches"
    for family in ON_DEMAND:
        assert not below(family, found.measurements)
        assert family == "robustness.square" or reasons[family] == "no gradient reaches the rows (candidate)"


def test_more_classes_than_the_probe_takes_are_a_reason():
    assert backdoor.too_many(100) is None
    assert backdoor.too_many(101) == "takes 100 classes at most, and there are 101"
