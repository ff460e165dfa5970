"""`pruneguard gates` as a person types it; what artefacts say is tried in `tests/drill`."""

import json
from pathlib import Path

import pytest

from pruneguard import home
from pruneguard.cli import main
from pruneguard.drill import holding
from pruneguard.gates.exhibits import ArtefactTest
from pruneguard.settings import Settings
from tests.drill.test_holding import TEST
from tests.flows.conftest import TINY

POLICY = str(TINY.parent / "policy.yaml")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A team's home; drills end at once, and find what the evidence of `TEST` says."""
    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path / "var"))
    monkeypatch.setattr(
        holding, "artefact_test", lambda policy, seed, progress: ArtefactTest(policy, seed, TEST.exhibits)
    )
    settings = Settings(home=tmp_path / "var")
    home.create(settings, admin="root", team=True).close()
    return settings


def adopt() -> None:
    assert main(["approve", "--policy", POLICY]) == 0


@pytest.mark.usefixtures("settings")
def test_a_trial_without_artefacts_has_nothing_to_record(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gates", "test", "--record"]) == 2
    assert "add --artefacts" in capsys.readouterr().err


@pytest.mark.usefixtures("settings")
def test_a_policy_that_was_not_adopted_is_not_drilled(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gates", "test", "--policy", POLICY, "--artefacts", "--record"]) == 2
    assert "was never adopted here" in capsys.readouterr().err
    assert main(["gates", "schedule", "--policy", POLICY]) == 2  # before any engine starts
    assert "was never adopted here" in capsys.readouterr().err


def test_a_drill_is_recorded_whatever_became_of_it(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    adopt()
    capsys.readouterr()
    code = main(["gates", "test", "--policy", POLICY, "--artefacts", "--record", "--json", "--seed", "7"])
    told = json.loads(capsys.readouterr().out)["artefacts"]
    assert code == (0 if told["passed"] else 1)
    ledger = home.read_ledger(settings, verify=True)
    (drill,) = ledger.state().drills
    ledger.close()
    assert (drill.refused, drill.of, drill.by) == (told["refused"], told["of"], "ada")
    assert json.loads(home.artifacts(settings).get(drill.report)) == told
    assert told["seed"] == 7


@pytest.mark.parametrize("every", ["7", "0d", "-1d", "d", "1.5h", "week", "99999d"])
def test_a_time_between_drills_that_is_none_is_refused(every: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["gates", "schedule", f"--every={every}"])
    assert "expected for instance 7d, 12h or 30min" in capsys.readouterr().err
