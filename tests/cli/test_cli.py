"""The commands as a person types them, over a ledger of their own."""

import json
from pathlib import Path

import pytest

from policies.document import load_policy
from pruneguard import home, testing
from pruneguard.artifacts import Artifacts
from pruneguard.cli import main
from pruneguard.settings import Settings
from tests.ledgers import edit, new_ledger

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path / "var"))
    return tmp_path / "var"


@pytest.fixture
def lived(own_home: Path) -> Path:
    """A home whose ledger tells a model's whole life; the people's keys are the test story's own."""
    settings = Settings(home=own_home)
    new_ledger(own_home)
    testing.story(home.open_ledger(settings), home.artifacts(settings))
    return own_home


def test_init_makes_a_ledger_and_says_what_comes_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--team"]) == 0
    assert "next: pruneguard approve" in capsys.readouterr().out
    assert main(["status"]) == 0
    assert "no models yet" in capsys.readouterr().out


def test_init_twice_changes_nothing(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", "--team"])
    before = {path: path.read_bytes() for path in (own_home / "keys").iterdir()}
    assert main(["init", "--team"]) == 2
    assert "nothing was changed" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (own_home / "keys").iterdir()} == before


def test_an_interrupted_init_is_finished_by_the_next(own_home: Path) -> None:
    main(["init"])  # as if it had been killed before the team's turn
    (own_home / "keys" / "half.part").write_text("left behind")
    assert main(["init", "--team"]) == 0
    assert home.read_ledger(Settings(home=own_home)).state().people.keys() == home.TEAM.keys()


@pytest.mark.parametrize(
    "command", [["status"], ["approve", "--policy", "standard"], ["rollback", "m", "--reason", "r"]]
)
def test_without_a_ledger_every_command_says_how_to_make_one(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 4
    assert "pruneguard" in capsys.readouterr().err


def test_a_misspelt_setting_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PRUNEGUARD_GATEWAY_PROT", "1")
    assert main(["status"]) == 2
    assert "PRUNEGUARD_GATEWAY_PROT" in capsys.readouterr().err


def test_adopting_a_policy_needs_an_approvers_key(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", "--team"])
    engineer = own_home / "keys" / "ada.key"
    assert main(["approve", "--policy", "standard", "--key", str(engineer)]) == 2
    assert "is not an approver" in capsys.readouterr().err
    assert main(["approve", "--policy", "standard"]) == 0
    digest = load_policy("standard").digest
    assert digest in home.read_ledger(Settings(home=own_home)).state().policies
    assert digest in Artifacts(str(own_home / "artifacts"))


def test_a_person_makes_a_key_and_an_admin_registers_it(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init"])
    assert main(["keys", "new", "lin", "--no-passphrase"]) == 0
    command = capsys.readouterr().out.strip().splitlines()[-1].split()
    assert main([*command[1:-1], "auditor"]) == 0
    assert home.read_ledger(Settings(home=own_home)).state().people["lin"].roles == {"auditor"}


def test_an_unknown_role_is_refused_with_the_roles_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    main(["init"])
    assert main(["keys", "register", "lin", "x", "--role", "boss"]) == 2
    assert "'approver'" in capsys.readouterr().err


def test_status_tells_where_every_release_stands(lived: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ledger"]["violations"] == []
    digits = document["models"][0]
    assert digits["live"] == 1
    assert [release["status"] for release in digits["releases"]] == ["live", "rolled back"]
    assert main(["status"]) == 0
    assert "digits: version 1 answers" in capsys.readouterr().out


def test_status_of_an_unknown_model_names_the_known(lived: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "nobody"]) == 2
    assert "['digits']" in capsys.readouterr().err


def test_an_export_verifies_and_a_changed_copy_does_not(
    lived: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle.tar"
    assert main(["audit", "export", "digits", "--out", str(bundle)]) == 0
    assert main(["audit", "verify", str(bundle)]) == 0
    assert "guarantee: self-signed only" in capsys.readouterr().out
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    bundle.write_bytes(content)
    assert main(["audit", "verify", str(bundle)]) >= 10
    assert "NOT verified" in capsys.readouterr().out


def test_doctor_shows_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("PRUNEGUARD_LEDGER_URL", "postgresql://ada:s3cret@127.0.0.1:1/x")
    monkeypatch.setenv("PRUNEGUARD_PASSPHRASE", "s3cret")
    main(["doctor"])
    said = capsys.readouterr().out
    assert "postgresql://ada:***@127.0.0.1:1/x" in said
    assert "s3cret" not in said


def test_a_changed_ledger_stops_doctor_and_names_the_entry(lived: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(Settings(home=lived), index=3)
    assert main(["doctor", "--json"]) == 1
    check = next(c for c in json.loads(capsys.readouterr().out) if c["check"] == "ledger")
    assert not check["ok"]
    assert "entry 3" in check["found"]


def test_help_teaches_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "exit codes:" in text
    assert all(name in text for name in ("demo", "run", "up", "status", "rollback", "approve", "audit", "doctor"))
