"""`pruneguard keys` as people type it: making, registering, rotating, revoking; files that only their owner opens."""

import json
import shutil
from pathlib import Path

import pytest

from pruneguard import home
from pruneguard.cli import arguments, main
from pruneguard.ledger.keys import is_locked, load_signer, new_signer
from pruneguard.ledger.state import Person, Role
from pruneguard.settings import Settings


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with a team in it, to copy."""
    folder = tmp_path_factory.mktemp("team") / "var"
    home.create(Settings(home=folder), admin="root", team=True).close()
    return folder


@pytest.fixture(autouse=True)
def own_home(team: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path / "var"))
    return shutil.copytree(team, tmp_path / "var")


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What somebody types at a terminal, in order, where they are asked for a passphrase."""
    answers: list[str] = []
    monkeypatch.setattr(arguments, "getpass", lambda prompt: answers.pop(0))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    return answers


def people(folder: Path) -> dict[str, Person]:
    return home.read_ledger(Settings(home=folder)).state().people


def made(name: str, folder: Path, capsys: pytest.CaptureFixture[str], *roles: str, person: str = "") -> None:
    """Make a key for somebody and have root register it, by the command that `keys new` printed."""
    capsys.readouterr()
    assert main(["keys", "new", name, "--no-passphrase"]) == 0
    command = capsys.readouterr().out.strip().splitlines()[-1].split()
    assert main([*command[1:-2], *(f"--role={role}" for role in roles), *(["--person", person] if person else [])]) == 0


def test_a_person_makes_a_key_and_an_admin_registers_it(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made("lin", own_home, capsys, "auditor", "operator")
    assert people(own_home)["lin"].roles == {Role.AUDITOR, Role.OPERATOR}


def test_a_second_account_is_the_same_person(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made("ada-laptop", own_home, capsys, "approver", person="ada")
    assert people(own_home)["ada-laptop"].person == "ada"
    assert "the person is ada" in capsys.readouterr().out


def test_a_key_made_at_a_terminal_opens_with_its_passphrase_alone(
    own_home: Path, typed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    typed += ["correct horse", "correct horse"]
    assert main(["keys", "new", "lin"]) == 0
    path = own_home / "keys/lin.key"
    assert is_locked(path)
    register = capsys.readouterr().out.strip().splitlines()[-1].split()
    assert main([*register[1:-1], "approver"]) == 0
    typed += ["battery staple", "correct horse"]
    command = ["approve", "--policy", "standard", "--key", str(path)]
    assert main(command) == 2
    assert "not a key this passphrase opens" in capsys.readouterr().err
    assert main(command) == 0


def test_two_passphrases_that_differ_make_no_key(own_home: Path, typed: list[str]) -> None:
    typed += ["correct horse", "correct hose"]
    assert main(["keys", "new", "lin"]) == 2
    assert not (own_home / "keys/lin.key").exists()


def test_an_empty_passphrase_makes_an_open_key(own_home: Path, typed: list[str]) -> None:
    typed += ["", ""]
    assert main(["keys", "new", "lin"]) == 0
    assert not is_locked(own_home / "keys/lin.key")


def test_without_a_terminal_the_passphrase_is_a_setting(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "new", "lin"]) == 2
    assert "set PRUNEGUARD_PASSPHRASE" in capsys.readouterr().err
    monkeypatch.setenv("PRUNEGUARD_PASSPHRASE", "correct horse")
    assert main(["keys", "new", "lin"]) == 0
    assert is_locked(own_home / "keys/lin.key")
    assert main(["approve", "--policy", "standard"]) == 0  # grace's key is open, and needs none
    monkeypatch.delenv("PRUNEGUARD_PASSPHRASE")
    assert main(["keys", "rotate", "lin", "--no-passphrase"]) == 2
    assert "is locked with a passphrase" in capsys.readouterr().err


def test_a_rotated_key_signs_from_then_on_and_the_old_one_is_kept(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = own_home / "keys/grace.key"
    old = load_signer(path)
    assert main(["keys", "rotate", "grace", "--no-passphrase"]) == 0
    new = load_signer(path)
    assert new.public_key != old.public_key
    assert people(own_home)["grace"].public_key == new.public_key
    kept = path.with_name(f"grace.key.old-{old.fingerprint}")
    assert load_signer(kept).public_key == old.public_key
    assert main(["approve", "--policy", "standard"]) == 0
    assert main(["approve", "--policy", "edge", "--key", str(kept)]) == 2
    assert "the signature is not 'grace'" in capsys.readouterr().err


@pytest.mark.parametrize("after", ["the new key was made", "the ledger recorded it", "the old file was put aside"])
def test_a_rotation_cut_short_is_finished_by_the_next(own_home: Path, after: str) -> None:
    path = own_home / "keys/grace.key"
    old, content = load_signer(path), path.read_bytes()
    beside, aside = path.with_name("grace.key.new"), path.with_name(f"grace.key.old-{old.fingerprint}")
    if after == "the new key was made":
        new_signer(beside, "grace")
        new = beside.read_bytes()
    else:
        assert main(["keys", "rotate", "grace", "--no-passphrase"]) == 0
        new = path.read_bytes()
        path.rename(beside)
        if after == "the ledger recorded it":
            aside.rename(path)
    assert main(["keys", "rotate", "grace", "--no-passphrase"]) == 0
    assert (path.read_bytes(), aside.read_bytes()) == (new, content)
    assert people(own_home)["grace"].public_key == load_signer(path).public_key


def test_a_revoked_key_signs_nothing(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "revoke", "grace", "--reason", "a lost laptop"]) == 0
    assert main(["approve", "--policy", "standard"]) == 2
    assert "'grace' has no key" in capsys.readouterr().err
    made("grace-2", own_home, capsys, "approver", person="grace")


def test_its_owner_revokes_a_key_too(own_home: Path) -> None:
    command = ["keys", "revoke", "grace", "--reason", "a lost laptop", "--key"]
    assert main([*command, str(own_home / "keys/ada.key")]) == 2
    assert main([*command, str(own_home / "keys/grace.key")]) == 0


def test_roles_are_given_and_taken(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "grant", "otto", "--role", "auditor"]) == 0
    assert people(own_home)["otto"].roles == {Role.OPERATOR, Role.AUDITOR}
    assert main(["keys", "ungrant", "otto", "--role", "operator", "--reason", "moved"]) == 0
    assert people(own_home)["otto"].roles == {Role.AUDITOR}
    assert main(["keys", "grant", "root", "--role", "approver"]) == 2
    assert "their own keys and roles" in capsys.readouterr().err


def test_keys_list_tells_who_may_do_what(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "revoke", "grace", "--reason", "lost"]) == 0
    capsys.readouterr()
    assert main(["keys", "list", "--json"]) == 0
    listed = {told["actor"]: told for told in json.loads(capsys.readouterr().out)}
    assert listed.keys() == home.TEAM.keys()
    assert (listed["grace"]["public_key"], listed["grace"]["roles"]) == (None, [])
    assert listed["ada"]["roles"] == ["engineer"]
    assert main(["keys", "list"]) == 0
    assert "key revoked" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["register", "grant", "ungrant"])
def test_an_unknown_role_is_refused_with_the_roles_there_are(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"register": ["x"], "ungrant": ["--reason", "r"]}.get(command, [])
    assert main(["keys", command, "lin", *more, "--role", "boss"]) == 2
    assert "'approver'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["Lin", "lin@example.org", "l in", ""])
def test_a_name_that_the_ledger_would_refuse_makes_no_key(
    own_home: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(own_home.joinpath("keys").iterdir())
    assert main(["keys", "new", name, "--no-passphrase"]) == 2
    assert "no name for an actor" in capsys.readouterr().err
    assert sorted(own_home.joinpath("keys").iterdir()) == before
