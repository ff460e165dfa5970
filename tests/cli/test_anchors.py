"""Held checkpoints and witnesses as people use them: from the command line, over a ledger of their own."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pruneguard import held, home, testing
from pruneguard.cli import main
from pruneguard.errors import IntegrityError
from pruneguard.ledger import notes
from pruneguard.ledger.rules import MONITOR
from pruneguard.ledger.trust import TrustPolicy
from pruneguard.settings import Settings
from pruneguard.witness import keys
from pruneguard.witness.cosigned import Cosigned
from pruneguard.witness.pushing import push
from pruneguard.witness.server import Witness, WitnessServer
from pruneguard.witness.state import State
from tests.ledgers import new_ledger


@pytest.fixture
def lived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a home whose ledger tells a model's whole life."""
    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path / "var"))
    settings = new_ledger(tmp_path / "var")
    with closing(home.open_ledger(settings)) as ledger:
        testing.story(ledger, home.artifacts(settings))
    return settings


@pytest.fixture
def served(tmp_path: Path, lived: Settings) -> Iterator[WitnessServer]:
    """A witness of this ledger, run by somebody else, and the service's own policy that names it."""
    own = keys.new(tmp_path / "w.key", "city.example/w")
    log = verifier(lived)
    with WitnessServer(Witness(State(tmp_path / "w.sqlite"), [own], [log])) as server:
        (lived.home / "trust-policy.txt").write_text(f"witness w {own.verifier.vkey} {server.url}\nquorum w\n")
        theirs = f"# domain: us\nlog {log.vkey}\n# domain: city\nwitness w {own.verifier.vkey}\nquorum w\n"
        (tmp_path / "auditor.policy").write_text(theirs)
        yield server


def verifier(settings: Settings) -> notes.Verifier:
    with closing(home.read_ledger(settings)) as ledger:
        return ledger.verifier


def ask_witnesses(settings: Settings) -> None:
    policy = TrustPolicy.parse(settings.read_trust_policy() or b"")
    with closing(home.read_ledger(settings)) as ledger:
        assert push(ledger, policy, Cosigned(settings.cosigned)).failures == {}


def live_on(settings: Settings, what: str) -> None:
    """One more entry about the model."""
    with closing(home.open_ledger(settings)) as ledger:
        script = testing.Script(ledger, home.artifacts(settings))
        moved = {"number": 1, "drifted": 1, "columns": 7, "names": [what]}
        refs = {"model": ledger.state().models["digits"].releases[1].digest, "report": script.put(moved)}
        script.record("drift.reported", MONITOR, refs, **moved)


def exported(path: Path) -> Path:
    assert main(["audit", "export", "digits", "--out", str(path)]) == 0
    return path


def guarantee(capsys: pytest.CaptureFixture[str], code: int, *arguments: str | Path) -> str:
    assert main(["audit", "verify", *map(str, arguments)]) == code
    return capsys.readouterr().out.partition("guarantee: ")[2].splitlines()[0]


def test_the_second_look_at_a_log_is_held_by_itself(
    lived: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = exported(tmp_path / "1.tar")
    assert guarantee(capsys, 0, bundle, "--no-held") == "self-signed only"
    assert guarantee(capsys, 0, bundle) == "self-signed only"
    assert guarantee(capsys, 0, bundle) == "held"
    assert guarantee(capsys, 0, bundle, "--no-held") == "self-signed only"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that not even root may write to: /proc")
def test_who_cannot_remember_is_told_so_below_a_report_that_stands(
    lived: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = exported(tmp_path / "1.tar")
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/self")
    assert main(["audit", "verify", str(bundle)]) == 0
    assert "it could not be remembered" in capsys.readouterr().out


def test_a_bundle_that_does_not_verify_is_not_remembered(
    lived: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = exported(tmp_path / "1.tar").read_bytes()
    (tmp_path / "spoilt.tar").write_bytes(content.replace(b"digits", b"digitz", 1))
    assert main(["audit", "verify", str(tmp_path / "spoilt.tar")]) >= 10
    capsys.readouterr()
    assert guarantee(capsys, 0, tmp_path / "1.tar") == "self-signed only"


def test_a_checkpoint_that_somebody_kept_is_compared_and_left_alone(
    lived: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(home.read_ledger(lived)) as ledger:
        (tmp_path / "kept").write_bytes(ledger.checkpoint)
    bundle = exported(tmp_path / "1.tar")
    assert guarantee(capsys, 0, bundle, "--held", tmp_path / "kept") == "held"
    assert main(["audit", "verify", str(bundle), "--held", str(tmp_path / "none")]) == 2


def test_an_old_backup_is_found_by_status_export_and_verify(
    lived: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(lived.home, tmp_path / "backup")
    live_on(lived, "margin")
    assert main(["status"]) == 0
    assert guarantee(capsys, 0, exported(tmp_path / "1.tar")) == "self-signed only"

    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path / "backup"))
    for command in (["status"], ["audit", "export", "digits", "--out", str(tmp_path / "no.tar")]):
        assert main(command) == 3
        assert "were seen before" in capsys.readouterr().err
    assert not (tmp_path / "no.tar").exists()

    with pytest.raises(IntegrityError, match="were seen before"):
        live_on(Settings(home=tmp_path / "backup"), "length")  # nothing is appended to it either

    live_on(Settings(home=tmp_path / "backup", held_dir=tmp_path / "operator"), "length")
    monkeypatch.setenv("PRUNEGUARD_HELD_DIR", str(tmp_path / "operator"))  # an operator may forget; auditors do not
    forged = exported(tmp_path / "2.tar")
    monkeypatch.delenv("PRUNEGUARD_HELD_DIR")
    capsys.readouterr()
    assert main(["audit", "verify", str(forged)]) == 13
    said = capsys.readouterr().out
    assert "history was rewritten" in said
    assert str(tmp_path / "1.tar") in said
    assert "guarantee: none" in said


def test_only_the_auditors_own_policy_makes_a_witness_independent(
    lived: Settings, served: WitnessServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask_witnesses(lived)
    bundle = exported(tmp_path / "1.tar")
    trust = ["--trust", str(tmp_path / "auditor.policy"), "--no-held"]
    assert guarantee(capsys, 0, bundle, "--no-held") == "witnessed in the same trust domain"
    assert guarantee(capsys, 0, bundle, *trust) == "1 of 1 independent"
    assert guarantee(capsys, 0, bundle, *trust, "--max-age", "1") == "1 of 1 independent"
    assert guarantee(capsys, 13, bundle, *trust, "--max-age", "-1") == "none"


def test_a_bundle_without_the_cosignature_that_the_auditor_demands_fails(
    lived: Settings, served: WitnessServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = exported(tmp_path / "1.tar")
    assert guarantee(capsys, 0, bundle, "--no-held") == "self-signed only"
    assert guarantee(capsys, 13, bundle, "--trust", tmp_path / "auditor.policy", "--no-held") == "none"


def test_what_happened_after_the_last_cosignature_is_not_said_to_be_witnessed(
    lived: Settings, served: WitnessServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask_witnesses(lived)
    live_on(lived, "margin")
    bundle = exported(tmp_path / "1.tar")
    said = guarantee(capsys, 0, bundle, "--trust", tmp_path / "auditor.policy", "--no-held")
    assert said == "1 of 1 independent for the first 29 of 30 entries"


def test_a_backup_older_than_a_cosignature_is_not_exported(
    lived: Settings,
    served: WitnessServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(lived.home, tmp_path / "backup")
    live_on(lived, "margin")
    ask_witnesses(lived)
    shutil.copytree(lived.home / "anchors", tmp_path / "backup" / "anchors")
    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path / "backup"))
    assert main(["audit", "export", "digits", "--out", str(tmp_path / "no.tar")]) == 3
    assert "an old backup was restored" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "quorum none", "quorum w\n"])
def test_a_trust_policy_that_is_none_is_told_before_anything_is_checked(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy").write_text(content)
    assert main(["audit", "verify", "bundle.tar", "--trust", str(tmp_path / "policy")]) == 2
    assert "trust policy" in capsys.readouterr().err
    assert main(["audit", "verify", "bundle.tar", "--trust", str(tmp_path / "none")]) == 4


def test_a_policy_that_a_setting_names_must_be_there(
    lived: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert lived.read_trust_policy() is None
    monkeypatch.setenv("PRUNEGUARD_TRUST_POLICY", str(tmp_path / "none"))
    assert main(["audit", "export", "digits", "--out", str(tmp_path / "no.tar")]) == 4
    assert "PRUNEGUARD_TRUST_POLICY" in capsys.readouterr().err


# -- the witness's own commands -------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", keys.ALGORITHMS)
def test_a_new_witness_prints_the_line_for_a_trust_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], algorithm: str
) -> None:
    arguments = ["--key", str(tmp_path / "w.key")]
    assert main(["witness", "new", "audit.example/w", "--algorithm", algorithm, *arguments]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    policy = TrustPolicy.parse(f"{line}\nquorum {line.split()[1]}\n".encode())
    assert main(["witness", "vkey", *arguments]) == 0
    assert capsys.readouterr().out == f"{policy.witnesses[0].verifier.vkey}\n"
    assert main(["witness", "new", "audit.example/w", *arguments]) == 2


def test_a_witness_needs_a_key_and_the_key_of_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, state = str(tmp_path / "w.key"), str(tmp_path / "w.sqlite")
    assert main(["witness", "serve", "--key", key, "--state", state, "--log", "log.vkey"]) == 4
    own = keys.new(Path(key), "audit.example/w").verifier.vkey
    for log, code in ((own, 2), ("a+b+c", 2), (str(tmp_path / "none"), 4)):
        assert main(["witness", "serve", "--key", key, "--state", state, "--log", log]) == code
    assert "witness" in capsys.readouterr().err


def test_the_ledgers_verifier_key_is_there_for_witnesses(lived: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json"]) == 0
    assert verifier(lived).vkey in capsys.readouterr().out
    assert held.Shelf(held.default_folder()).find(verifier(lived)) is not None
