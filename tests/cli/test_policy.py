"""`pruneguard policy`, as people and programs read it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from policies.document import load_policy
from pruneguard import home, testing
from pruneguard.cli import main
from pruneguard.gates import GATES, MEASUREMENTS
from pruneguard.settings import Settings
from tests.cli.test_bad_input import FILES
from tests.ledgers import new_ledger

STRICTER = """\
policy: mine
version: 1
extends: standard
purpose: testing
gates:
  - name: quality.paired
    margin: 0.005
    because: testing
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(STRICTER)
    return tmp_path / "mine.yaml"


@pytest.fixture
def lived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose ledger tells a model's whole life."""
    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path / "var"))
    settings = Settings(home=tmp_path / "var")
    new_ledger(settings.home)
    testing.story(home.open_ledger(settings), home.artifacts(settings))
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(["policy", *words]) == code
    return capsys.readouterr().out


def test_check_says_what_was_found_and_the_digest_that_adoption_records(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "check", str(mine)) == (f"mine 1: 29 rules, no objection; {load_policy(mine).digest}\n")
    told = json.loads(said(capsys, "check", "standard", "--json"))
    assert told == {"policy": "standard", "digest": load_policy("standard").digest, "objections": [], "doubts": []}


def test_check_tells_every_objection_and_ends_with_1(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine.write_text(STRICTER.replace("version: 1", "version: x").replace("margin: 0.005", "margin: 5"))
    lines = said(capsys, "check", str(mine), code=1).splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{mine}:2", f"{mine}:7", "2 objections"]
    told = json.loads(said(capsys, "check", str(mine), "--json", code=1))
    assert (told["digest"], told["objections"]) == (None, lines[:2])


def test_check_with_a_manifest_asks_whether_its_rows_can_show_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    words = ("check", str(tmp_path / "policy.yaml"))
    assert "no objection" in said(capsys, *words)
    manifest = ("--manifest", str(tmp_path / "manifest.yaml"))
    lines = said(capsys, *words, *manifest, code=1).splitlines()
    assert lines[0].startswith(f"{tmp_path}/policy.yaml:7: gates[1].margin: the gate split has 20 rows; without")
    (tmp_path / "policy.yaml").write_text(FILES["policy.yaml"].replace("margin: 0.1", "margin: 0.13"))
    assert "doubt: quality.paired: 20 rows" in said(capsys, *words, *manifest)


def test_a_policy_that_is_not_there_is_an_error_and_no_objection(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check", "nowhere.yaml"]) == 2
    assert "nowhere.yaml: cannot be read" in capsys.readouterr().err


def test_diff_ends_with_1_only_where_more_may_pass(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "diff", "standard", str(mine))
    assert "stricter quality.paired: margin 0.01 -> 0.005" in out
    assert out.startswith("standard 1 -> mine 1: 1 stricter")
    assert "laxer    quality.paired: margin 0.005 -> 0.01" in said(capsys, "diff", str(mine), "standard", code=1)
    told = json.loads(said(capsys, "diff", str(mine), "standard", "--json", code=1))
    assert told["may_let_more_pass"]
    assert {"name": "quality.paired", "change": "laxer", "detail": "margin 0.005 -> 0.01"} in told["differences"]


def test_explain_tells_each_rule_with_its_rows(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = " ".join(said(capsys, "explain", str(mine)).split())
    assert "proves It is less than 0.5 points less accurate than its twin, at 95 % confidence." in out
    assert "17,128 at 5 %" in out
    told = json.loads(said(capsys, "explain", str(mine), "--json"))
    assert [rule["name"] for rule in told["rules"]] == [rule.name for rule in load_policy(mine).rules]


def test_explain_without_a_policy_tells_what_a_rule_can_name(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "explain")
    names = [*GATES, *MEASUREMENTS, *(p.name for gate in GATES.values() for p in gate.parameters)]
    assert [name for name in names if name not in out] == []
    told = json.loads(said(capsys, "explain", "--json"))
    assert [gate["gate"] for gate in told["gates"]] == list(GATES)


@pytest.mark.usefixtures("lived")
def test_try_tells_what_would_have_been_decided_and_records_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = "  - {measurement: quality.accuracy, gate: at_least, limit: LIMIT, because: a, remedy: b}\n"
    file = tmp_path / "tried.yaml"
    before = home.read_ledger(Settings()).state().size
    for limit, fate in (("0.5", "passes"), ("0.999", "fails")):
        file.write_text("policy: tried\nversion: 1\npurpose: x\ngates:\n" + rule.replace("LIMIT", limit))
        out = said(capsys, "try", str(file), "--model", "digits")
        assert f"under story 1, {fate}" in out
    assert "failed: quality.accuracy" in out
    assert home.read_ledger(Settings()).state().size == before


@pytest.mark.usefixtures("lived")
def test_try_names_the_rules_without_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    out = " ".join(said(capsys, "try", "standard").split())
    assert "not measured in any of them: data.expectations_failed," in out
    assert "cannot be told" in out
    told = json.loads(said(capsys, "try", "standard", "--json"))
    assert "robustness.pgd.paired" in told["without_evidence"]
    assert {trial["fate"] for trial in told["trials"]} == {"cannot be told"}  # the story's evidence has no date


@pytest.mark.usefixtures("lived")
def test_try_of_a_model_that_is_not_there_names_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "try", "standard", "--model", "digts"]) == 2
    assert "no model 'digts'; known are ['digits']" in capsys.readouterr().err


def test_the_schema_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(said(capsys, "schema"))["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_a_check_without_data_waits_for_no_framework() -> None:
    program = (
        "import sys\nfrom pruneguard.cli import main\nmain(['policy', 'check', 'standard'])\n"
        "assert not {'torch', 'numpy', 'onnxruntime'} & set(sys.modules), 'slow to start'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
