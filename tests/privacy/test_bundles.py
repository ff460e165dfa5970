"""What leaves the house: a bundle never holds a value, and what was dropped is absent by policy."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pruneguard import home, testing
from pruneguard.cli import main
from pruneguard.errors import IntegrityError
from tests.privacy.scenes import (
    FIELDS,
    Observed,
    described,
    dropped_without_a_word,
    erase,
    files_with,
    ordered_under_a_hold,
    retain,
)

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path / "var"))


def exported(to: Path) -> Path:
    """The bundle of the story's model, opened up."""
    assert main(["audit", "export", "digits", "--out", str(to.with_suffix(".tar"))]) == 0
    with tarfile.open(to.with_suffix(".tar")) as archive:
        archive.extractall(to, filter="data")
    return to


def test_no_bundle_holds_a_value_before_an_erasure_or_after_it(tmp_path: Path) -> None:
    settings = described(tmp_path / "var")
    ledger = home.open_ledger(settings)
    testing.story(ledger, home.artifacts(settings))
    ledger.close()
    before = exported(tmp_path / "before")
    erase(settings)
    after = exported(tmp_path / "after")
    for bundle in (before, after):
        assert [files_with(bundle, value) for value in FIELDS.values()] == [[], []]
        assert main(["audit", "verify", str(bundle.with_suffix(".tar"))]) == 0


def test_a_bundle_without_the_dropped_bodies_verifies_and_says_why_they_are_absent(
    scene: Observed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retain(scene.settings)
    bundle = exported(tmp_path / "after").with_suffix(".tar")
    capsys.readouterr()
    assert main(["audit", "verify", str(bundle)]) == 0
    assert "whose bodies retention dropped; their hashes are in the tree" in capsys.readouterr().out


def test_the_stand_alone_verifier_accepts_a_bundle_without_the_dropped_bodies(scene: Observed, tmp_path: Path) -> None:
    retain(scene.settings)
    bundle = exported(tmp_path / "after")
    command = [sys.executable, "-I", str(bundle / "tools" / "verify.py"), str(bundle.with_suffix(".tar"))]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_dropping_under_a_legal_hold_is_found_by_the_ledger_and_by_an_outsider(
    scene: Observed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = ordered_under_a_hold(scene.settings, carried_out=True)
    with pytest.raises(IntegrityError, match=r"lacks the body of entry \d+, and no retention.applied covers it"):
        home.read_ledger(scene.settings).state()
    bundle = exported(tmp_path / "after").with_suffix(".tar")
    capsys.readouterr()
    assert main(["audit", "verify", str(bundle)]) == 14
    told = capsys.readouterr().out
    assert f"at entry {index}:" in told
    assert "the hold 'case-7' stands on telemetry" in told
    assert "no retention says why" in told


def test_dropping_without_a_word_is_found_by_the_ledger_and_by_an_outsider(
    scene: Observed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dropped_without_a_word(scene.settings)
    with pytest.raises(IntegrityError, match="lacks the body of entry 100"):
        home.read_ledger(scene.settings).state()
    bundle = exported(tmp_path / "after").with_suffix(".tar")
    capsys.readouterr()
    assert main(["audit", "verify", str(bundle)]) == 16
    assert "entries 100 to 101 have no body, and no retention says why" in capsys.readouterr().out
