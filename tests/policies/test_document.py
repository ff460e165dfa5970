import re
from pathlib import Path

import pytest

from policies.document import load_policy, shipped
from pruneguard.errors import InvalidInputError
from pruneguard.gates import GATES, MEASUREMENTS
from pruneguard.policy import Action, Canary, Monitoring, Policy, Step, Subject

GOOD = """\
policy: mine
version: 3
purpose: testing
approvals_min: 2
canary:
  steps:
    - {share: 0.2, requests_min: 50}
monitoring:
  twin_share: 0.5
  alpha: 0.02
  tolerance: 0.03
on_decay: notify
server_attested: false
waivers: false
on_lapse: roll back
gates:
  - measurement: quality.accuracy
    gate: at_least
    limit: 0.9
    because: the task needs it
    remedy: train longer
  - name: no group pays
    measurement: quality.paired
    gate: slices_non_inferior
    margin: 0.02
    because: fairness
    remedy: look at the slice
    subject: pruned
"""
EXAMPLES = Path(__file__).parents[2] / "examples"


def load(folder: Path, text: str) -> Policy:
    (folder / "mine.yaml").write_text(text)
    return load_policy("mine.yaml", relative_to=folder)


def test_a_policy_says_what_the_file_says(tmp_path: Path) -> None:
    policy = load(tmp_path, GOOD)
    assert (policy.name, policy.version, policy.purpose, policy.approvals_min) == ("mine", 3, "testing", 2)
    assert (policy.canary, policy.monitoring) == (Canary((Step(0.2, 50),)), Monitoring(0.5, 0.02, 0.03))
    assert policy.on_decay is Action.NOTIFY
    assert (policy.server_attested, policy.waivers, policy.on_lapse) == (False, False, Action.ROLL_BACK)
    first, second = policy.rules
    assert (first.name, first.gate, first.parameters) == ("quality.accuracy", "at_least", {"limit": 0.9})
    assert (second.name, second.subject) == ("no group pays", Subject.PRUNED)


def test_parameters_left_out_are_written_into_the_policy(tmp_path: Path) -> None:
    _, second = load(tmp_path, GOOD).rules
    assert second.parameters == {"margin": 0.02, "alpha": 0.05, "rows_min": 30}


def test_sections_left_out_have_their_defaults(tmp_path: Path) -> None:
    head, tail = GOOD.split("approvals_min", 1)[0], GOOD[GOOD.index("gates:") :]
    policy = load(tmp_path, head + tail)
    assert (policy.approvals_min, policy.canary, policy.monitoring) == (1, Canary(), Monitoring())
    assert policy.on_decay is Action.ROLL_BACK
    assert (policy.server_attested, policy.waivers, policy.on_lapse) == (True, True, Action.NOTIFY)


def test_comments_and_the_order_of_keys_do_not_change_the_digest(tmp_path: Path) -> None:
    first = load(tmp_path, GOOD).digest
    assert (
        load(
            tmp_path, "# signed in May\n" + GOOD.replace("version: 3\npurpose: testing", "purpose: testing\nversion: 3")
        ).digest
        == first
    )
    assert load(tmp_path, GOOD.replace("0.9", "0.91")).digest != first


@pytest.mark.parametrize(
    ("line", "instead", "place"),
    [
        ("gate: at_least", "gate: at_leest", ":18: gates[1].gate: unknown gate 'at_leest'; did you mean 'at_least'?"),
        ("gate: at_least", "gate: non_inferior", ":19: gates[1].limit: gate 'non_inferior' takes no 'limit'"),
        ("gate: at_least\n    limit: 0.9", "gate: non_inferior\n    margin: 0.1", ":18: gates[1].gate: .*cannot judge"),
        ("quality.accuracy", "quality.acuracy", ":17: gates[1].measurement: unknown .*did you mean 'quality.accuracy'"),
        ("limit: 0.9", "limit: 1.1", ":19: gates[1].limit: limit is 1.1; quality.accuracy lies in 0 to 1"),
        ("limit: 0.9", "limit: .nan", ":19: gates[1].limit: "),
        ("limit: 0.9", "limit: high", ":19: gates[1].limit: limit is 'high'; expected a number"),
        ("limit: 0.9", "limmit: 0.9", ":19: gates[1].limmit: gate 'at_least' takes no 'limmit'"),
        ("    limit: 0.9\n", "", ":17: gates[1].limit: gate 'at_least' needs 'limit'"),
        ("because: the task needs it", "becuase: x", ":17: gates[1].because: missing.*is 'becuase' on line 20 meant"),
        ("remedy: train longer", "remedy:", ":21: gates[1].remedy: expected a text, found None"),
        ("margin: 0.02", "margin: 1", ":25: gates[2].margin: margin is 1; expected a number above 0 and below 1"),
        ("margin: 0.02", "margin: 0", ":25: gates[2].margin: margin is 0; expected"),
        ("margin: 0.02", "margin: 0.02\n    alpha: 0", ":26: gates[2].alpha: alpha is 0; expected"),
        ("margin: 0.02", "margin: 0.02\n    rows_min: 0", ":26: gates[2].rows_min: rows_min is 0; expected"),
        ("subject: pruned", "subject: prune", ":28: gates[2].subject: expected one of .*did you mean 'pruned'"),
        ("name: no group pays", "name: quality.accuracy", ":22: gates[2].name: a gate before this one is called"),
        ("share: 0.2", "share: 1.2", r":7: canary.steps\[1\].share: expected a share above 0 and below 1.* found 1.2"),
        ("share: 0.2", "share: 1", r":7: canary.steps\[1\].share: expected a share above 0 and below 1"),
        ("share: 0.2", "share: 0.12345678", r":7: canary.steps\[1\].share: .*six digits at most"),
        ("share: 0.2, ", "", r":7: canary.steps\[1\].share: missing"),
        ("50}", "50}\n    - {share: 0.1, requests_min: 9}", r":8: canary.steps\[2\].share: 0.1 after 0.2; each step"),
        ("    - {share: 0.2, requests_min: 50}\n", "    []\n", ":6: canary.steps: expected a list of sections"),
        ("steps:", "step:", ":6: canary.step: unknown key"),
        ("requests_min: 50", "requests_min: 0", r":7: canary.steps\[1\].requests_min: expected a whole number from 1"),
        ("50}", "5, seconds_min: -1}", r":7: canary.steps\[1\].seconds_min: expected a whole number from 0"),
        ("canary:", "canary:\n  alpha: 0.6", ":6: canary.alpha: expected a rate above 0"),
        ("canary:", "canary:\n  worse_max: 1", ":6: canary.worse_max: expected a share from 0"),
        ("canary:", "canary:\n  slower_max: -0.1", ":6: canary.slower_max: expected a share from 0"),
        ("twin_share: 0.5", "twin_share: 0", ":9: monitoring.twin_share: expected a share above 0"),
        ("alpha: 0.02", "alpha: 0", ":10: monitoring.alpha: expected a rate above 0"),
        ("tolerance: 0.03", "tolerance: 1", ":11: monitoring.tolerance: expected a loss of accuracy above 0"),
        ("on_decay: notify", "on_decay: panic", ":12: on_decay: expected one of \\['roll back', 'notify'\\]"),
        ("on_lapse: roll back", "on_lapse: nothing", ":15: on_lapse: expected one of \\['roll back', 'notify'\\]"),
        ("waivers: false", "waivers: never", ":14: waivers: expected true or false, found 'never'"),
        ("server_attested: false", "server_attested: 0", ":13: server_attested: expected true or false, found 0"),
        ("approvals_min: 2", "approvals_min: 0", ":4: approvals_min: expected a whole number from 1"),
        ("version: 3", "version: three", ":2: version: expected a whole number from 1"),
        ("purpose: testing", "purpose: [a, b]", ":3: purpose: expected a text, found a list of 2"),
        ("policy: mine", "policy: My policy", ":1: policy: expected 1 to 64 of a-z"),
        ("policy: mine", "polcy: mine", ":1: policy: missing.*is 'polcy' on line 1 meant"),
        ("purpose: testing", "purpose: testing\npurpose: twice", ":4: purpose: stands on line 3 already"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number_and_field(tmp_path: Path, line: str, instead: str, place: str) -> None:
    assert line in GOOD
    pattern = re.escape(str(tmp_path / "mine.yaml")) + place.replace("[1]", r"\[1\]").replace("[2]", r"\[2\]")
    with pytest.raises(InvalidInputError, match=pattern):
        load(tmp_path, GOOD.replace(line, instead, 1))


@pytest.mark.parametrize(
    ("gates", "why"),
    [
        ("gates: []", "expected a list of sections with at least one"),
        ("gates: none", "expected a list of sections"),
        ("gates: [none]", r"gates\[1\]: expected keys and values, found 'none'"),
        ("", "gates: missing; expected a list of sections"),
    ],
)
def test_a_policy_without_gates_is_refused(tmp_path: Path, gates: str, why: str) -> None:
    with pytest.raises(InvalidInputError, match=why):
        load(tmp_path, GOOD[: GOOD.index("gates:")] + gates + "\n")


def test_a_name_that_is_not_shipped_is_refused_with_those_that_are() -> None:
    with pytest.raises(InvalidInputError, match="'edge', 'high-risk', 'standard'"):
        load_policy("standart")


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_policy_is_called_like_its_file_and_survives_recording(name: str) -> None:
    policy = load_policy(name)
    assert policy.name == name
    assert Policy.decode(policy.encode()) == policy


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_policy_asks_for_accuracy_slices_damage_outliers_data_and_speed(name: str) -> None:
    rules = {(rule.gate, rule.measurement) for rule in load_policy(name).rules}
    measured = {measurement for _, measurement in rules}
    assert {("non_inferior", "quality.paired"), ("slices_non_inferior", "quality.paired")} <= rules
    assert {"data.leakage", "calibration.ece_increase", "robustness.noise.paired", "ood.auroc_drop"} <= measured
    assert {"efficiency.latency_ratio", "efficiency.size_ratio", "artifact.deviation"} <= measured


@pytest.mark.parametrize("name", shipped())
def test_what_a_twin_cannot_be_is_asked_of_pruned_models_only(name: str) -> None:
    relative = [rule for rule in load_policy(name).rules if rule.measurement.endswith(("ratio", "ratio_b64"))]
    assert {rule.subject for rule in relative} == {Subject.PRUNED}


def test_high_risk_is_never_looser_than_standard() -> None:
    standard = {rule.name: rule for rule in load_policy("standard").rules}
    strict = {rule.name: rule for rule in load_policy("high-risk").rules}
    for name in standard.keys() & strict.keys():
        for key in ("limit", "margin", "alpha"):
            if key in strict[name].parameters:
                assert strict[name].parameters[key] <= standard[name].parameters[key], (name, key)
    assert load_policy("high-risk").approvals_min > load_policy("standard").approvals_min


@pytest.mark.parametrize(("name", "lenient"), [("high-risk", False), ("standard", True), ("edge", True)])
def test_where_risk_is_high_nothing_is_waived_and_no_click_counts(name: str, lenient: bool) -> None:
    policy = load_policy(name)
    assert (policy.server_attested, policy.waivers) == (lenient, lenient)
    assert policy.approvals_min >= (1 if lenient else 2)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/policy.yaml")), ids=lambda path: path.parent.name)
def test_an_examples_policy_loads(path: Path) -> None:
    assert load_policy(path).rules


def test_every_gate_is_used_by_some_shipped_policy_or_is_the_mirror_of_one_that_is() -> None:
    used = {rule.gate for name in shipped() for rule in load_policy(name).rules}
    assert used <= GATES.keys()
    assert {rule.measurement for name in shipped() for rule in load_policy(name).rules} <= MEASUREMENTS.keys()
