"""The commands as a person types them, and that no log and no error ever repeats what they gave."""

import json
import logging
import sys
from io import StringIO
from pathlib import Path

import pytest

from pruneguard import home
from pruneguard.cli import main
from pruneguard.settings import Settings
from tests.privacy.scenes import MAIL, NAME, Observed, files_with, write_key
from tests.serving.scene import Scene, gateway, infer

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path / "var"))
    return tmp_path / "var"


@pytest.fixture
def team(own_home: Path) -> Path:
    assert main(["init", "--team"]) == 0
    return own_home


def test_a_person_is_described_shown_listed_and_forgotten(
    team: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO(f"{NAME}\n{MAIL}\n"))
    assert main(["privacy", "describe", "grace", "--name", "-", "--mail", "-", "--field", "room=12"]) == 0
    capsys.readouterr()
    assert main(["privacy", "show", "grace"]) == 0
    assert capsys.readouterr().out == f"mail         {MAIL}\nname         {NAME}\nroom         12\n"
    assert main(["privacy", "list"]) == 0
    assert capsys.readouterr().out == "grace                    mail, name, room\n"
    assert main(["privacy", "erase", "grace", "--basis", "art17"]) == 0
    assert "the person asked for it" in capsys.readouterr().out
    assert main(["privacy", "erase", "grace", "--basis", "art17"]) == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert main(["privacy", "show", "grace"]) == 0
    assert capsys.readouterr().out == "nothing is kept about grace\n"
    assert main(["privacy", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"people": [{"person": "grace", "fields": []}], "holds": []}
    assert files_with(team, NAME) == files_with(team, MAIL) == []


def test_what_is_shown_as_json_is_what_the_ledger_committed_to(team: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["privacy", "describe", "ada", "--name", "Ada L."])
    capsys.readouterr()
    assert main(["privacy", "show", "ada", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    state = home.read_ledger(Settings(home=team)).state()
    assert shown == {"name": {"value": "Ada L.", "commitment": next(iter(state.subjects["ada"]))}}


def test_a_hold_is_placed_listed_and_lifted(team: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["privacy", "describe", "ada", "--name", "Ada L."])
    assert main(["privacy", "hold", "case-7", "subject:ada", "--reason", "a court asked"]) == 0
    capsys.readouterr()
    assert main(["privacy", "erase", "ada", "--basis", "art17"]) == 2
    assert "the hold 'case-7' stands on subject:ada" in capsys.readouterr().err
    assert main(["privacy", "list"]) == 0
    assert "hold case-7" in capsys.readouterr().out
    assert main(["privacy", "release-hold", "case-7", "--reason", "closed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"event": home.read_ledger(Settings(home=team)).size - 1}
    assert main(["privacy", "release-hold", "case-7", "--reason", "closed"]) == 2
    assert main(["privacy", "erase", "ada", "--basis", "art17", "--json"]) == 0


@pytest.mark.parametrize(
    "command",
    [
        ["describe", "ada"],
        ["describe", "ada", "--field", NAME],
        ["describe", "ada", "--name", NAME, "--field", f"name={NAME}"],
        ["describe", "ada", "--name", f"{NAME}\n{MAIL}"],
        ["describe", NAME, "--name", "x"],
        ["describe", "grace", "--name", NAME],
        ["describe", "ada", "--name", NAME, "--key", "otto.key"],
        ["describe", "ada", "--field", f"{NAME}=x"],
    ],
)
def test_a_command_that_is_refused_does_not_repeat_what_it_was_given(
    team: Path,
    command: list[str],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    main(["privacy", "describe", "grace", "--name", NAME])
    capsys.readouterr()
    command = [str(team / "keys" / part) if part == "otto.key" else part for part in command]
    with caplog.at_level(logging.DEBUG):
        assert main(["privacy", *command]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("pruneguard: ")
    for text in (told.out, told.err, caplog.text):
        assert NAME not in text
        assert MAIL not in text


def test_a_log_of_every_statement_to_every_database_holds_no_value(
    team: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("sqlalchemy", "sqlalchemy.engine", "sqlalchemy.pool"):
        caplog.set_level(logging.DEBUG, logger=name)
    with caplog.at_level(logging.DEBUG):
        main(["privacy", "describe", "grace", "--name", NAME, "--mail", MAIL])
        main(["privacy", "show", "grace"])
        main(["privacy", "erase", "grace", "--basis", "art17"])
    assert "INSERT INTO opening" in caplog.text  # the log was listened to
    assert NAME not in caplog.text
    assert MAIL not in caplog.text
    assert NAME.encode().hex() not in caplog.text


def test_what_people_ask_of_a_model_stands_in_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(tmp_path)
    scene.release()
    made = gateway(scene)
    row = {"name": "input", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
    with caplog.at_level(logging.DEBUG, logger="pruneguard"):
        assert infer(made, {"id": NAME, "parameters": {"who": NAME}, "inputs": [row]}).status_code == 200
        assert infer(made, {"id": NAME, "inputs": [row | {"data": [NAME, 2, 3, 4]}]}).status_code == 400
        assert infer(made, {"id": NAME, "inputs": [row | {"name": NAME}]}).status_code == 400
        assert infer(made, content=f'{{"id": "{NAME}", '.encode()).status_code == 400
    assert NAME not in caplog.text


# -- retention


@pytest.fixture
def past(own_home: Path, scene: Observed) -> Settings:
    assert scene.settings.home == own_home
    write_key(scene.settings)
    return scene.settings


def test_a_dry_run_says_what_would_go_and_changes_nothing(past: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    before = home.read_ledger(past).checkpoint
    assert main(["privacy", "retain", "--dry-run", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    telemetry, decisions = shown["classes"]
    assert (telemetry["class"], telemetry["months"], telemetry["holds"]) == ("telemetry", 24, [])
    assert telemetry["due"] == telemetry["past"] > 450
    assert decisions["due"] == 0
    assert shown["dropped"] == []
    assert home.read_ledger(past).checkpoint == before


def test_what_is_past_its_period_goes_once(past: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["privacy", "retain"]) == 0
    out = capsys.readouterr().out
    assert "artefacts dropped (event " in out
    assert main(["privacy", "retain"]) == 0
    assert "nothing was dropped" in capsys.readouterr().out
    assert home.read_ledger(past, verify=True).state().violations == []


def test_nothing_is_dropped_before_its_time(past: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    size = home.read_ledger(past).size
    assert main(["privacy", "retain", "--as-of", "2099-01-01"]) == 2
    assert "is to come" in capsys.readouterr().err
    assert main(["privacy", "retain", "--dry-run", "--as-of", "2099-01-01"]) == 0
    assert main(["privacy", "retain", "--as-of", "2024-06-30"]) == 0
    assert "nothing was dropped" in capsys.readouterr().out
    assert home.read_ledger(past).size == size
    with pytest.raises(SystemExit):
        main(["privacy", "retain", "--as-of", "yesterday"])


def test_a_schedule_of_ones_own_decides(past: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    periods = "- {class: telemetry, months: 600, because: why}\n- {class: decisions, months: 600, because: why}\n"
    path.write_text(f"schedule: long\nversion: 1\npurpose: why\nclasses:\n{periods}")
    assert main(["privacy", "retain", "--schedule", str(path)]) == 0
    assert "nothing was dropped" in capsys.readouterr().out
    path.write_text(path.read_text().replace("600", "5"))
    assert main(["privacy", "retain", "--schedule", str(path)]) == 2
    assert "below the floor of 6" in capsys.readouterr().err
