"""Gates and evidence of other packages: an example package, and packages that break every promise there is."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from policies.document import load_policy
from pruneguard.audit.redecide import verdict_faults
from pruneguard.errors import InvalidInputError, UnavailableError
from pruneguard.evaluation import plugins
from pruneguard.evaluation.evaluate import Family, efficiency, evaluate
from pruneguard.evidence import Estimate, PairedTable
from pruneguard.gates import GATES, MEASUREMENTS, judge, missing
from pruneguard.gates.catalogue import EVIDENCE_GROUP, GATES_GROUP
from pruneguard.ledger.events import Event
from pruneguard.policy import Policy
from pruneguard.verdict import Outcome
from tests import plugged
from tests.evaluation.small import linear, table
from tests.gates.cases import CANDIDATE, DATA, TWIN, evidence, finding, policy, rule
from tests.plugged import RECALL

GATE, RECALLED = f"{RECALL}/every_slice_at_least", f"{RECALL}/recall"
POLICY = f"""\
policy: found
version: 1
purpose: No class is forgotten.
gates:
  - measurement: {RECALLED}
    gate: {GATE}
    limit: 0.8
    because: a class that is found less often is forgotten
    remedy: weight its rows up
"""


@pytest.fixture
def example(tmp_path: Path) -> Iterator[None]:
    with plugged.example(tmp_path / "site"):
        yield


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    (tmp_path / "found.yaml").write_text(POLICY)
    return tmp_path / "found.yaml"


@dataclass
class Case:
    """What a family of evidence sees: ten rows of two classes; the second class is found every second time."""

    logits: tuple[Any, Any] = field(default_factory=lambda: (np.eye(2)[[0] * 8 + [1, 0]], np.eye(2)[[0] * 8 + [1, 1]]))
    rows: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(y=np.array([0] * 8 + [1, 1])))


def slices(**values: float) -> dict[str, Estimate]:
    return {f"{RECALLED}.slice.{label}": Estimate(value) for label, value in values.items()}


@pytest.mark.usefixtures("example")
def test_what_a_package_brings_is_called_by_its_name_and_ours_stays_what_it_is() -> None:
    assert GATES[GATE].name == GATE
    assert MEASUREMENTS[RECALLED].kind is Estimate
    assert {GATE, "at_most"} < set(GATES)
    assert len(GATES) == len(GATES.own) + 1
    assert "every_slice_at_least" not in GATES


@pytest.mark.usefixtures("example")
def test_a_policy_with_a_packages_gate_judges_a_packages_evidence(asked: Path) -> None:
    (only,) = load_policy(asked).rules
    for values, outcome in (({"a": 0.9, "b": 0.8}, Outcome.PASSED), ({"a": 0.9, "b": 0.79}, Outcome.FAILED)):
        found = finding(only.gate, only.measurement, slices(**values), **only.parameters)
        assert (found.outcome, found.gate) == (outcome, GATE)
    assert finding(GATE, RECALLED, {}, limit=0.8).outcome is Outcome.NO_EVIDENCE
    assert finding(GATE, RECALLED, slices(a=float("nan")), limit=0.8).outcome is Outcome.FAILED


@pytest.mark.usefixtures("example")
def test_what_a_package_measures_carries_its_name_with_its_slices_last() -> None:
    (family,) = plugins.families(Case())
    assert family.name == RECALLED
    measured = family.measure()
    assert {name: each.value for name, each in measured.items()} == {
        RECALLED: 0.75,
        f"{RECALLED}.slice.class=0": 1.0,
        f"{RECALLED}.slice.class=1": 0.5,
    }


@pytest.mark.usefixtures("example")
def test_a_policy_that_names_a_packages_evidence_has_it_measured_and_its_version_recorded() -> None:
    twin, rows = linear([[-4.0, 4.0], [0.0, 0.0], [4.0, -4.0]]), table()
    found = evaluate(twin, twin, rows, split="gate", seed=0, wanted={RECALLED}, all_else=False)
    accuracy = found.measurements["quality.accuracy"]
    recalled = found.measurements[RECALLED]  # both classes have as many rows, so that it is the accuracy
    assert isinstance(accuracy, Estimate)
    assert isinstance(recalled, Estimate)
    assert recalled.value == pytest.approx(accuracy.value)
    assert found.context[f"package {RECALL}"] == "1.0"
    judged = policy(rule(GATE, RECALLED, limit=0.9))
    verdict = judge(judged, [found], candidate=found.subject, twin=str(found.twin), data=found.data)
    assert [finding.outcome for finding in verdict.findings] == [Outcome.FAILED]
    early = efficiency(twin, twin, rows, split="gate", seed=0)
    assert f"{RECALLED}: not trained yet" in early.context["left out"]


@pytest.mark.usefixtures("example")
def test_a_packages_gate_passes_its_own_good_evidence_and_refuses_its_bad() -> None:
    trial = GATES[GATE].trial
    assert trial is not None
    good, bad = trial(RECALLED, {"limit": 0.8})
    assert finding(GATE, RECALLED, good, limit=0.8).outcome is Outcome.PASSED
    assert finding(GATE, RECALLED, bad, limit=0.8).outcome is Outcome.FAILED


def test_without_the_package_loading_and_judging_name_it(asked: Path) -> None:
    with pytest.raises(InvalidInputError, match=f"gates\\[1\\].gate: .*'{RECALL}', which is not installed here"):
        load_policy(asked)
    found = finding(GATE, "quality.flips", {"quality.flips": Estimate(0.0)}, limit=0.8)
    assert found.outcome is Outcome.NO_EVIDENCE
    assert f"'{RECALL}', which is not installed here" in found.observed


def test_what_a_policy_misses_is_listed_by_name(tmp_path: Path, asked: Path) -> None:
    with plugged.example(tmp_path / "site"):
        loaded = load_policy(asked)
        assert missing(loaded) == []
    gate, measurement = missing(Policy.decode(loaded.encode()))
    assert gate.startswith(f"gate '{GATE}': it comes with the package '{RECALL}'")
    assert measurement.startswith(f"measurement '{RECALLED}': it comes with the package '{RECALL}'")
    assert missing(load_policy("standard")) == []


def test_a_verifier_without_the_package_refuses_and_says_which(tmp_path: Path, asked: Path) -> None:
    with plugged.example(tmp_path / "site"):
        stored, event = recorded(load_policy(asked))
        assert list(verdict_faults(event, stored.__getitem__)) == []
    fault, *_ = verdict_faults(event, stored.__getitem__)
    assert f"the package '{RECALL}', which is not installed here" in fault


def recorded(loaded: Policy) -> tuple[dict[str, bytes], Event]:
    """A verdict that passed, as the ledger keeps it."""
    measured = evidence(slices(a=0.9))
    verdict = judge(loaded, [measured], candidate=CANDIDATE, twin=TWIN, data=DATA)
    assert verdict.passed
    stored = {document.digest: document.encode() for document in (loaded, measured, verdict)}
    refs = {
        "model": CANDIDATE,
        "parent": TWIN,
        "data": DATA,
        "policy": loaded.digest,
        "verdict": verdict.digest,
        "evidence": (measured.digest,),
    }
    return stored, Event("verdict.given", "ada", {"split": None, **verdict.outline}, refs=refs)


# -- packages that break a promise --------------------------------------------------------------------------------

LOADED = """
from pruneguard.evidence import Estimate
from pruneguard.gates import Gate
from pruneguard.gates.gate import Answer
from pruneguard.gates.measurements import Scale
from pruneguard.verdict import Outcome

def check(name, parameters, measured):
    {check}

GATE = Gate("odd", "odd", Estimate, (), check, lambda name, parameters: ({{}}, {{}}))
AGAIN = GATE
UNTRIED = Gate("odd", "odd", Estimate, (), check)
BROKEN = 1
class EVIDENCE:
    scales = {{"letters": Scale(Estimate, 0, 1, "a")}}
    def families(case):
        {families}
"""


def odd(site: Path, points: dict[str, str], *, group: str = GATES_GROUP, **code: str) -> None:
    text = LOADED.format(check=code.get("check", "return 1"), families=code.get("families", "return []"))
    named = {key: f"pruneguard_odd:{value}" for key, value in points.items()}
    plugged.write(site, "pruneguard-odd", {group: named}, text)


@pytest.mark.parametrize(
    ("points", "why"),
    [
        ({"odd": "ABSENT"}, "'pruneguard-odd' cannot be imported: AttributeError"),
        ({"odd": "BROKEN"}, "'pruneguard-odd' is a int; expected a pruneguard.gates.Gate"),
        ({"odd": "UNTRIED"}, "'pruneguard-odd' has no `trial`"),
        ({"odd": "GATE", "same": "AGAIN"}, "'same' .*'pruneguard-odd' brings .*so does entry point 'odd'"),
    ],
)
def test_a_package_whose_gate_cannot_be_had_is_named(site: Path, points: dict[str, str], why: str) -> None:
    odd(site, points)
    with plugged.installed(site), pytest.raises(UnavailableError, match=why):
        GATES["pruneguard-odd/odd"]


def test_a_package_that_fails_to_import_stops_whoever_asks_for_any_of_them_and_nobody_else(site: Path) -> None:
    plugged.write(site, "pruneguard-odd", {GATES_GROUP: {"odd": "pruneguard_odd"}}, "import absent_library")
    with plugged.installed(site):
        with pytest.raises(UnavailableError, match="'pruneguard-odd' cannot be imported: ModuleNotFoundError"):
            list(GATES)
        with pytest.raises(UnavailableError, match="'pruneguard-odd'"):
            "another/gate" in GATES  # noqa: B015  the lookup itself must not answer "no"
        assert finding("at_most", "quality.flips", {"quality.flips": Estimate(0.0)}, limit=0.1).allows


@pytest.mark.usefixtures("example")
def test_two_packages_may_call_a_gate_the_same_and_each_keeps_its_own(site: Path) -> None:
    odd(site / "other", {"every_slice_at_least": "GATE"})
    text = (site / "other" / "pruneguard_odd.py").read_text().replace('Gate("odd"', 'Gate("every_slice_at_least"')
    (site / "other" / "pruneguard_odd.py").write_text(text)
    with plugged.installed(site / "other"):
        assert {GATE, "pruneguard-odd/every_slice_at_least"} < set(GATES)
        assert GATES[GATE].doc != GATES["pruneguard-odd/every_slice_at_least"].doc


@pytest.mark.parametrize(
    ("check", "why"),
    [
        ("raise ValueError('no')", "the gate failed: ValueError: no"),
        ("return None", "the gate answered None"),
        ("return Answer(Outcome.WAIVED, 'a', 'b', 'c')", "the gate answered Answer"),
        ("return Answer('fine', 'a', 'b', 'c')", "the gate answered Answer"),
    ],
)
def test_a_gate_that_breaks_is_no_evidence_and_the_other_rules_are_checked(site: Path, check: str, why: str) -> None:
    odd(site, {"odd": "GATE"}, check=check)
    rules = (rule("pruneguard-odd/odd", "quality.flips"), rule("at_most", "quality.flips", limit=0.1))
    with plugged.installed(site):
        measured = [evidence({"quality.flips": Estimate(0.0)})]
        broken, other = judge(policy(*rules), measured, candidate=CANDIDATE, twin=TWIN, data=DATA).findings
    assert (broken.outcome, broken.allows, other.allows) == (Outcome.NO_EVIDENCE, False, True)
    assert why in broken.observed


@pytest.mark.parametrize(
    ("measured", "why"),
    [
        ({"quality.paired": PairedTable(1, 0, 0, 0)}, "measured 'quality.paired'.*expected a name out of its scales"),
        ({"letters": 0.5}, "measured 'letters', a float; expected a value of type Estimate"),
        ({"letters": PairedTable(1, 0, 0, 0)}, "a PairedTable; expected a value of type Estimate"),
        (None, "measuring 'letters' failed: TypeError"),
    ],
)
def test_evidence_that_was_not_declared_stops_the_run_and_names_the_package(
    site: Path, measured: Any, why: str
) -> None:
    odd(site, {"odd": "EVIDENCE"}, group=EVIDENCE_GROUP, families="return case")
    with plugged.installed(site):
        (family,) = plugins.families([Family("letters", lambda: measured)])
        with pytest.raises(InvalidInputError, match=f"'pruneguard-odd'.*{why}"):
            family.measure()


def test_families_that_raise_name_the_package(site: Path) -> None:
    odd(site, {"odd": "EVIDENCE"}, group=EVIDENCE_GROUP, families="raise OSError('no disk')")
    with (
        plugged.installed(site),
        pytest.raises(InvalidInputError, match=r"'pruneguard-odd': families\(\) failed: OSErr"),
    ):
        plugins.families(None)


def test_a_source_of_evidence_without_scales_names_the_package(site: Path) -> None:
    odd(site, {"odd": "GATE"}, group=EVIDENCE_GROUP)
    with plugged.installed(site), pytest.raises(UnavailableError, match="'pruneguard-odd' lacks `scales`"):
        MEASUREMENTS["pruneguard-odd/letters"]


def test_our_own_gates_are_there_without_looking_for_packages() -> None:
    program = (
        "import importlib.metadata as m\n"
        "def never(**_): raise SystemExit('looked for packages')\n"
        "m.entry_points = never\n"
        "from pruneguard.gates import GATES, MEASUREMENTS, objections\n"
        "assert not list(objections('at_most', 'quality.flips', {'limit': 0.1}))\n"
        "assert list(objections('at_mst', 'quality.flops', {'limit': 0.1}))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
