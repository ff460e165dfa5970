"""`pruneguard tokens` as an admin types it: printed once, listed without its text, gone when it is revoked."""

import json
from pathlib import Path

import pytest

from pruneguard import home, tokens
from pruneguard.cli import main
from pruneguard.settings import Settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path / "var"))
    home.create(Settings(home=tmp_path / "var"), admin="root", team=True).close()
    return tmp_path / "var"


ISSUE = ["tokens", "issue", "app", "--holder", "otto", "--act", "infer", "--act", "operate", "--reason", "the app"]


def test_a_token_is_printed_once_and_alone_on_its_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ISSUE, "--model", "digits", "--until", "30d", "--per-second", "7"]) == 0
    out = capsys.readouterr()
    text = out.out.strip()
    token = home.read_ledger(Settings(home=folder)).state().tokens["app"]
    assert tokens.digest(text) == token.secret
    assert (token.per_second, token.models) == (7, {"digits"})
    assert text not in out.err
    assert not any(text.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_tokens_are_listed_with_what_ended_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ISSUE, "--until", "30d"]) == 0
    assert main(["tokens", "revoke", "app", "--reason", "it leaked"]) == 0
    capsys.readouterr()
    assert main(["tokens", "list", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["token"], told["holder"], told["models"], told["counts"]) == ("app", "otto", ["*"], False)
    assert "secret" not in told
    assert main(["tokens", "list"]) == 0
    assert "infer, operate on every model: revoked: it leaked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--until", "400d"], "by at most 366 days"),
        (["--until", "soon"], "expected days as in 30d"),
        (["--until", "30d", "--act", "rule"], "unknown acts ['rule']"),
        (["--until", "30d", "--key", "KEYS/otto.key"], "'otto' is not an admin"),
        (["--until", "30d", "--holder", "eve"], "'eve' has no key"),
        (["--until", "30d", "--per-second", "0"], "per_second is 0; expected a whole number from 1"),
    ],
)
def test_what_is_not_allowed_says_why(
    folder: Path, capsys: pytest.CaptureFixture[str], changes: list[str], words: str
) -> None:
    assert main([*ISSUE, *(change.replace("KEYS", str(folder / "keys")) for change in changes)]) == 2
    told = capsys.readouterr()
    assert words in told.err
    assert told.out == ""
