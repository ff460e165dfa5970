"""`pruneguard waive`, `propose`, `approve` and `status --at` over the ledger of a model that has lived."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pruneguard import home, testing
from pruneguard.cli import main
from pruneguard.ledger import keys
from pruneguard.ledger.tiles import Proof
from pruneguard.settings import Settings
from tests.ledgers import new_ledger

WAIVER = ["--reason", "a pilot", "--control", "a person looks at every answer"]


@pytest.fixture(autouse=True)
def lived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose ledger tells a model's whole life, and the key files of its people."""
    folder = tmp_path / "var"
    monkeypatch.setenv("PRUNEGUARD_HOME", str(folder))
    settings = new_ledger(folder)
    testing.story(home.open_ledger(settings), home.artifacts(settings), start=datetime(2026, 1, 5, 9, tzinfo=UTC))
    for actor, signer in testing.people().items():
        keys._write(settings.keys_dir / f"{actor}.key", "signer/v1", actor, signer.key, None)
    return folder


def failed_rules(folder: Path) -> list[str]:
    verdicts = home.read_ledger(Settings(home=folder)).state().models["digits"].verdicts
    return sorted(next(v.objections for v in verdicts if not v.passed))


def waive_all(folder: Path) -> None:
    for rule in failed_rules(folder):
        assert main(["waive", "digits", rule, "--until", "30d", *WAIVER]) == 0


def test_what_failed_is_released_as_failed_and_waived(lived: Path, capsys: pytest.CaptureFixture[str]) -> None:
    waive_all(lived)
    assert "next: pruneguard propose digits" in capsys.readouterr().out
    assert main(["propose", "digits"]) == 0
    assert "digits 3 is proposed" in capsys.readouterr().out
    assert main(["approve", "digits", "3", "--reason", "read the waivers"]) == 0
    assert "failed, waived: 2/5 rules pass, 5/5 with waivers" in capsys.readouterr().out
    assert main(["status"]) == 0
    said = capsys.readouterr().out
    assert "failed, waived: 2/5 rules pass" in said
    assert "approved by grace (signed)" in said


def test_status_names_the_rules_that_a_judged_candidate_failed(lived: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *others = failed_rules(lived)
    assert main(["waive", "digits", first, "--until", "30d", *WAIVER]) == 0
    assert main(["status"]) == 0
    said = capsys.readouterr().out
    assert "judged, not released: 2/5 rules pass" in said
    assert f"{first}: failed, waived" in said
    assert all(f"{rule}: failed\n" in said for rule in others)
    assert main(["status", "--json"]) == 0
    (judged,) = json.loads(capsys.readouterr().out)["models"][0]["judged"]
    assert sorted(judged["failed"]) == failed_rules(lived)
    assert judged["waived"][first]["by"] == "grace"


def test_a_waiver_of_what_is_released_already_leads_to_no_proposal(
    lived: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waive_all(lived)
    assert main(["propose", "digits"]) == 0
    capsys.readouterr()
    assert main(["keys", "new", "helen", "--no-passphrase"]) == 0
    public = capsys.readouterr().out.split(" helen ")[-1].split()[0]
    assert main(["keys", "register", "helen", public, "--role", "approver"]) == 0
    key = str(lived / "keys" / "helen.key")
    assert main(["waive", "digits", failed_rules(lived)[0], "--until", "30d", *WAIVER, "--key", key]) == 0
    assert "propose" not in capsys.readouterr().out


def test_a_candidate_with_a_failed_rule_left_is_not_proposed(lived: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["waive", "digits", failed_rules(lived)[0], "--until", "30d", *WAIVER]) == 0
    assert main(["propose", "digits"]) == 2
    assert failed_rules(lived)[1] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("until", "why"),
    [
        ("91d", "by at most 90 days"),
        ("0d", "by at most 90 days"),
        ("-1d", "by at most 90 days"),
        ("2020-01-01", "by at most 90 days"),
        ("soon", "expected days as in 30d"),
        ("99999999999d", "expected days as in 30d"),
        ("2026-02-30", "expected days as in 30d"),
        ("d", "expected days as in 30d"),
    ],
)
def test_a_waiver_ends_within_90_days(lived: Path, until: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["waive", "digits", failed_rules(lived)[0], f"--until={until}", *WAIVER]) == 2
    line = capsys.readouterr().err
    assert why in line
    assert line.count("\n") == 1


def test_nobody_waives_their_own_work(lived: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = str(lived / "keys/ada.key")
    assert main(["waive", "digits", failed_rules(lived)[0], "--until", "30d", *WAIVER, "--key", key]) == 2
    assert "made this candidate" in capsys.readouterr().err


def test_status_tells_what_answered_at_a_time_who_agreed_and_on_which_evidence(
    lived: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = home.read_ledger(Settings(home=lived))
    model = ledger.state().models["digits"]
    went_live = next(stretch for stretch in model.history if stretch.number == 2 and stretch.share == 1)
    assert main(["status", "digits", "--at", went_live.time, "--proof", str(tmp_path / "proofs"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (one,) = document["models"][0]["answering"]
    assert (one["number"], one["share"], one["digest"]) == (2, 1.0, model.releases[2].digest)
    assert [(a["actor"], a["assurance"]) for a in one["approvals"]] == [("grace", "signed")]
    assert one["evidence"] == list(model.by_digest[model.releases[2].verdict].evidence)
    types = [ledger.entry(index).event.type for index in one["decided_by"]]
    assert types == ["verdict.given", "release.proposed", "release.approved", "traffic.shifted"]
    for index, path in zip(one["decided_by"], document["proofs"], strict=True):
        assert Path(path).read_bytes() == ledger.proof(index)
        assert Proof.decode(Path(path).read_bytes()).index == index


def test_status_at_a_time_reads_like_an_answer(lived: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--at", "2026-01-06"]) == 0
    said = capsys.readouterr().out
    assert "digits: version 1 answered 100% at 2026-01-06T00:00:00.000000Z" in said
    assert "by grace (signed)" in said
    assert main(["status", "--at", "2025-01-01"]) == 0
    assert "nothing answered" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", [["--at", "yesterday"], ["--at", "2026-01-05T09:00:00"], ["--at", "9000-01-01"], ["--proof", "there"]]
)
def test_a_moment_is_told_without_a_guess(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", *command]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_policy_that_asks_for_two_is_replaced_by_two(lived: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = lived / "mine.yaml"
    text = "policy: mine\nversion: 1\npurpose: a test\napprovals_min: 2\ngates:\n  - measurement: data.leakage\n"
    text += "    gate: at_most\n    limit: 0\n    because: a test\n    remedy: none\n"
    for version in ("version: 1", "version: 2"):
        mine.write_text(text.replace("version: 1", version))
        assert main(["approve", "--policy", str(mine)]) == 0
    assert "1 of 2: another approver must adopt it" in capsys.readouterr().out
