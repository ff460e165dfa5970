"""Key files: private, whole, never overwritten."""

import json
from pathlib import Path

import pytest

from pruneguard.errors import InvalidInputError, UnavailableError
from pruneguard.ledger import keys, rules
from pruneguard.ledger.events import Event


def test_a_signer_comes_back_from_its_file(tmp_path: Path) -> None:
    made = keys.new_signer(tmp_path / "keys/ada.key", "ada")
    loaded = keys.load_signer(tmp_path / "keys/ada.key")
    assert (loaded.actor, loaded.public_key) == ("ada", made.public_key)
    event = Event("run.finished", "ada", {"run": "r", "model": "m", "outcome": "o"})
    assert loaded.sign(event).verified_by(rules.public_key(made.public_key))


def test_a_log_key_comes_back_from_its_file(tmp_path: Path) -> None:
    made = keys.new_log_key(tmp_path / "log.key", "log.example/x")
    assert keys.load_log_key(tmp_path / "log.key").verifier == made.verifier


def test_only_the_owner_can_read_a_key_file(tmp_path: Path) -> None:
    path = tmp_path / "ada.key"
    keys.new_signer(path, "ada")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["ada.key"]
    path.chmod(0o640)
    with pytest.raises(InvalidInputError, match="chmod 600"):
        keys.load_signer(path)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "ada.key"
    keys.new_signer(path, "ada")
    before = path.read_bytes()
    with pytest.raises(InvalidInputError, match="never overwritten"):
        keys.new_signer(path, "ada")
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["ada.key"]


def test_a_passphrase_opens_its_key_and_no_other_does(tmp_path: Path) -> None:
    path = tmp_path / "ada.key"
    made = keys.new_signer(path, "ada", passphrase=b"correct horse")
    assert keys.load_signer(path, passphrase=b"correct horse").public_key == made.public_key
    for wrong in (b"battery staple", None):
        with pytest.raises(InvalidInputError, match="passphrase"):
            keys.load_signer(path, passphrase=wrong)
    assert made.key.private_bytes_raw() not in path.read_bytes()


def test_a_persons_key_is_not_a_logs(tmp_path: Path) -> None:
    keys.new_signer(tmp_path / "ada.key", "ada")
    with pytest.raises(InvalidInputError, match="log-key"):
        keys.load_log_key(tmp_path / "ada.key")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: {**document, "public_key": "AAAA"},
        lambda document: {**document, "private_key": "-----BEGIN"},
        lambda document: {name: value for name, value in document.items() if name != "owner"},
        lambda document: [document],
    ],
)
def test_a_spoilt_key_file_is_one_clear_error(tmp_path: Path, spoil) -> None:
    path = tmp_path / "ada.key"
    keys.new_signer(path, "ada")
    path.write_text(json.dumps(spoil(json.loads(path.read_bytes()))))
    with pytest.raises(InvalidInputError, match=r"ada\.key"):
        keys.load_signer(path)


def test_an_absent_key_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"no key can be read at .*nobody\.key"):
        keys.load_signer(tmp_path / "nobody.key")


def test_an_origin_that_no_note_can_carry_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no spaces"):
        keys.new_log_key(tmp_path / "log.key", "two words")
    assert not list(tmp_path.iterdir())


def test_nobody_signs_for_another(tmp_path: Path) -> None:
    signer = keys.new_signer(tmp_path / "ada.key", "ada")
    with pytest.raises(InvalidInputError, match="own key"):
        signer.sign(Event("run.finished", "grace", {"run": "r", "model": "m", "outcome": "o"}))
