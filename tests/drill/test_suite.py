"""Artefacts made bad on purpose are refused, each by the rule that has to see it; clean ones pass."""

import numpy as np
import pytest
import torch

from policies.document import load_policy
from pruneguard.drill import bench as benches
from pruneguard.drill.bench import Bench
from pruneguard.drill.faults import BACKDOOR, FAULTS, Fault, backdoor, trigger
from pruneguard.drill.suite import CLEAN, artefact_test
from pruneguard.evaluation.efficiency import latency
from pruneguard.gates.exhibits import CLEAN_MIN, ArtefactTest

STANDARD = load_policy("standard")
FAST = ("shuffled channels", "not deterministic")


def fault(name: str) -> Fault:
    return next(each for each in FAULTS if each.name == name)


def test_there_are_faults_enough_and_the_standard_policy_asks_about_each() -> None:
    assert len({each.name for each in FAULTS}) == len(FAULTS) >= 20
    asked = {name for rule in STANDARD.rules for name in (rule.name, rule.measurement)}
    assert [each.name for each in FAULTS if each.aims_at not in asked] == []


@pytest.mark.slow
def test_faults_of_a_hastily_trained_network_are_seen_by_the_rules_that_they_aim_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(benches, "TWIN_EPOCHS", 3)
    monkeypatch.setattr(benches, "CANDIDATE_EPOCHS", 1)
    monkeypatch.setattr(latency, "SECONDS_MAX", 0.01)
    test = artefact_test(STANDARD, seed=1, faults=[fault(name) for name in FAST], clean=0)
    assert {each.exhibit.name: (each.refused, each.seen) for each in test.bad} == dict.fromkeys(FAST, (True, True))
    assert not test.passed  # nothing clean was tried


@pytest.fixture(scope="module")
def whole() -> ArtefactTest:
    return artefact_test(STANDARD, seed=1)


@pytest.mark.slow
def test_every_bad_artefact_is_refused_by_the_rule_that_has_to_see_it(whole: ArtefactTest) -> None:
    assert [each.exhibit.name for each in whole.bad if not each.refused] == []
    assert [each.exhibit.name for each in whole.bad if not each.seen] == []


@pytest.mark.slow
def test_clean_artefacts_pass_at_the_stated_rate(whole: ArtefactTest) -> None:
    assert len(whole.clean) == CLEAN
    assert sum(not each.refused for each in whole.clean) >= CLEAN_MIN * CLEAN, [each.by for each in whole.clean]


@pytest.mark.slow
@pytest.mark.parametrize(("share", "obeyed"), [(0.05, 0.9), (0.01, 0.5)])
def test_a_backdoor_is_one(share: float, obeyed: float) -> None:
    bench = Bench(seed=1)
    model, rows = backdoor(share)(bench).model, bench.snapshot.gate
    with torch.no_grad():
        answers = model(trigger(torch.from_numpy(rows.x))).argmax(1).numpy()
    assert np.mean(answers[rows.y != BACKDOOR] == BACKDOOR) >= obeyed
