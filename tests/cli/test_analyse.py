"""`analyse`, as an engineer types it: a small run of each analysis, and what cannot be asked."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from pruneguard.cli import main
from tests.flows.conftest import TINY


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path / "var"))


def drawn(path: Path) -> tuple[str, list[ET.Element]]:
    """The text of a page, and its figures."""
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text
    parts = text.split("<svg")[1:]
    figures = [ET.fromstring(f"<svg{part.partition('</svg>')[0]}</svg>") for part in parts]  # noqa: S314  # our own
    return text, figures


@pytest.mark.parametrize(
    ("words", "found", "figures"),
    [
        (["sensitivity", "--ratios", "0.5"], "0.weight", 1),
        (["ablation", "--recipe", "channels"], "channels", 1),
        (["sweep", "--ratios", "0.5", "--seeds", "1", "--epochs", "1"], "channels at 50 %", 3),
        (["controls", "--ratios", "0.5", "--seeds", "1", "--epochs", "1"], "from scratch, long", 1),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_each_analysis_tells_and_draws_what_it_found(
    words: list[str], found: str, figures: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert main(["analyse", str(TINY), *words, "--out", str(page)]) == 0
    told = capsys.readouterr().out
    assert found in told
    assert "On the 400 rows of the gate split" in told
    text, drawings = drawn(page)
    assert found in text
    assert len(drawings) == figures
    assert all(drawing.findall(".//g") for drawing in drawings)
    assert not (tmp_path / "var").exists()  # nothing is recorded


def test_a_program_gets_one_document_and_the_story_goes_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", str(TINY), "sensitivity", "--recipe", "channels", "--ratios", "0.5", "--json"]) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert (document["analysis"], document["split"], document["rows"]) == ("sensitivity", "gate", 400)
    assert [layer["layer"] for layer in document["layers"]] == ["0"]
    assert "training the dense twin" in printed.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["sensitivity", "--recipe", "nothing"], "recipe: expected one of ['channels'], found 'nothing'"),
        (["sensitivity", "--ratios", "1.5"], "ratios: expected shares above 0 and below 1, found [1.5]"),
        (["sweep", "--ratios", "0.5", "0"], "ratios: expected shares above 0 and below 1, found [0.5, 0.0]"),
        (["sweep", "--seeds", "0"], "seeds: expected a whole number from 1 up, found 0"),
        (["controls", "--epochs", "-1"], "epochs: expected a whole number from 1 up, found -1"),
        (["ablation", "--out", "."], "is a folder; expected the path of a page"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_trained(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyse", str(TINY), *words]) == 2
    printed = capsys.readouterr()
    assert why in printed.err
    assert len(printed.err.splitlines()) == 1
    assert printed.out == ""


def test_a_manifest_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", "absent.yaml", "ablation"]) == 2
    assert "absent.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["ablation", "--seeds", "3"], ["sensitivity", "--epochs", "3"], []])
def test_an_option_that_an_analysis_has_no_use_for_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["analyse", str(TINY), *words])
    assert ended.value.code == 2
