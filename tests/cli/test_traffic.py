"""Commands of operators over the ledger of a model that has lived: version 1 is live, 2 was rolled back, 3 waits."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pruneguard import home, testing
from pruneguard.cli import main
from pruneguard.ledger import keys
from pruneguard.settings import Settings
from tests.ledgers import new_ledger

WHY = ["--reason", "why"]


@pytest.fixture(autouse=True)
def lived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "var"
    monkeypatch.setenv("PRUNEGUARD_HOME", str(folder))
    settings = new_ledger(folder)
    testing.story(home.open_ledger(settings), home.artifacts(settings), start=datetime(2026, 1, 5, 9, tzinfo=UTC))
    for actor, signer in testing.people().items():
        keys._write(settings.keys_dir / f"{actor}.key", "signer/v1", actor, signer.key, None)
    verdicts = home.read_ledger(Settings(home=folder)).state().models["digits"].verdicts
    for rule in next(v.objections for v in verdicts if not v.passed):
        assert main(["waive", "digits", rule, "--until", "30d", *WHY, "--control", "a person looks"]) == 0
    assert main(["propose", "digits"]) == 0
    assert main(["approve", "digits", "3", *WHY]) == 0
    capsys.readouterr()
    return folder


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["status", "digits", "--json"]) == 0
    model: dict[str, Any] = json.loads(capsys.readouterr().out)["models"][0]
    return model


def test_an_operator_gives_a_release_its_next_share_and_takes_it_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", "digits", "3"]) == 0
    assert "digits: version 3 takes 0.1 of the traffic" in capsys.readouterr().out
    assert main(["status"]) == 0
    said = capsys.readouterr().out
    assert "0 of 200 requests sealed, 200 left; then, if it is no worse than what is live, 100% of the traffic" in said
    assert main(["rollback", "digits", *WHY, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["to"] == 1


def test_nobody_leaves_out_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", "digits", "3", "--share", "1"]) == 2
    assert "lets it go on from 0 of the traffic to 0.1, not to 1" in capsys.readouterr().err


def test_a_hold_is_shown_until_it_is_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hold", "digits", "--reason", "a look at the logs"]) == 0
    assert "version 3 is held; next: pruneguard resume digits" in capsys.readouterr().out
    assert main(["status"]) == 0
    assert "held by otto: a look at the logs" in capsys.readouterr().out
    assert main(["release", "digits", "3"]) == 2
    assert main(["resume", "digits", *WHY]) == 0
    assert main(["release", "digits", "3"]) == 0


def test_the_kill_switch_and_the_way_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["divert", "digits", "--nothing", *WHY]) == 0
    assert "nothing answers, every request gets 503; next: pruneguard restore digits" in capsys.readouterr().out
    assert shown(capsys)["answering"] == {}
    assert main(["status"]) == 0
    assert "DIVERTED by otto to nothing (503): why" in capsys.readouterr().out
    assert main(["divert", "digits", "--to", "1", *WHY]) == 0
    assert "version 1 answers instead" in capsys.readouterr().out
    assert main(["restore", "digits", *WHY]) == 0
    capsys.readouterr()
    assert shown(capsys)["answering"] == {"1": 1.0}


def test_a_release_answers_copies_unheard(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", "digits", "3", "--copies", "0.2"]) == 0
    assert "answers copies of 0.2 of the requests" in capsys.readouterr().out
    assert main(["status"]) == 0
    assert "answers copies of 20% of the requests, unheard" in capsys.readouterr().out
    assert main(["release", "digits", "3", "--copies", "0"]) == 0
    capsys.readouterr()
    assert shown(capsys)["releases"][2]["copies"] is None
