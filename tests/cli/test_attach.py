"""`pruneguard audit attach` and `audit controls`, as a person types them."""

import json
from pathlib import Path
from typing import Any

import pytest

from policies.document import load_policy
from pruneguard import home, releases
from pruneguard.cli import main
from pruneguard.ledger.keys import load_signer
from pruneguard.settings import Settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path / "var"))
    settings = Settings(home=tmp_path / "var")
    ledger = home.create(settings, admin="root", team=True)
    grace = load_signer(settings.keys_dir / "grace.key")
    releases.adopt(ledger, home.artifacts(settings), policy=load_policy("standard"), signer=grace)
    (tmp_path / "register.txt").write_text("law by law")
    return tmp_path


def controls(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    assert main(["audit", "controls", "--json", *more]) == 0
    return {control["control"]: control for control in json.loads(capsys.readouterr().out)["controls"]}


def test_a_document_turns_a_human_control_from_none_to_evidenced(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert controls(capsys)["GOVERN 1.1"]["state"] == "none"
    register = str(folder / "register.txt")
    assert main(["audit", "attach", "nist-ai-rmf", "GOVERN 1.1", register, "--expires", "2090-01-01"]) == 0
    said = capsys.readouterr().out
    assert "'register.txt' is attached until 2090-01-01T00:00:00.000000Z (event 6, signed by ada)" in said
    row = controls(capsys)["GOVERN 1.1"]
    assert (row["state"], row["attached"][0]["position"]) == ("evidenced", 6)


def test_a_statement_completes_a_shared_control(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = controls(capsys)["MAP 1.5"]
    assert (before["state"], before["system_half"]) == ("partial", "evidenced")
    assert main(["audit", "attach", "nist-ai-rmf", "MAP 1.5", "--statement", "The board agreed on 3 May."]) == 0
    assert controls(capsys)["MAP 1.5"]["state"] == "evidenced"


@pytest.mark.parametrize(("framework", "count"), [("nist-ai-rmf", 72), ("iso-42001", 38), ("eu-ai-act", 22)])
def test_every_control_is_a_line_with_its_state_and_the_end_says_what_this_is_not(
    framework: str, count: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "controls", "--framework", framework]) == 0
    lines = capsys.readouterr().out.rstrip().splitlines()
    assert len(lines) == count + 2
    assert "Neither a certification nor legal advice, and no score" in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["attach", "soc-2", "CC1", "--statement", "x"], "no framework 'soc-2' is shipped"),
        (["attach", "nist-ai-rmf", "GOVERN 9", "--statement", "x"], "has no control 'GOVERN 9'"),
        (["attach", "nist-ai-rmf", "GOVERN 1.1", "absent.pdf"], "absent.pdf cannot be read"),
        (["attach", "nist-ai-rmf", "GOVERN 1.1"], "name a file, or write a --statement"),
        (["attach", "nist-ai-rmf", "GOVERN 1.1", "--statement", "x", "--expires", "soon"], "write it as 2027-03-01"),
        (["controls", "nobody"], "no model 'nobody'"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    arguments: list[str], why: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", *arguments]) == 2
    assert why in capsys.readouterr().err
