"""Export and verify as a person types them."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from pruneguard import home, testing
from pruneguard.audit import bundle
from pruneguard.audit.archive import Archive
from pruneguard.cli import main
from pruneguard.settings import Settings
from tests.ledgers import new_ledger


@pytest.fixture
def lived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose ledger tells a model's whole life."""
    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path / "var"))
    settings = Settings(home=tmp_path / "var")
    new_ledger(settings.home)
    with closing(home.open_ledger(settings)) as ledger:
        testing.story(ledger, home.artifacts(settings))
    return settings.home


def manifest(path: Path) -> bundle.Manifest:
    with path.open("rb") as file:
        return bundle.Manifest.decode(Archive(file).read(bundle.MANIFEST))


def test_a_model_is_exported_by_name_or_by_option_to_the_same_bytes(lived: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "1.tar", tmp_path / "2.tar"
    assert main(["audit", "export", "digits", "--out", str(one)]) == 0
    assert main(["audit", "export", "--model", "digits", "--out", str(other)]) == 0
    assert one.read_bytes() == other.read_bytes()
    assert manifest(one).frameworks == ("eu-ai-act", "iso-42001", "nist-ai-rmf")


@pytest.mark.parametrize("words", [[], ["digits", "--model", "digits"]])
def test_one_model_is_named(lived: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(["audit", "export", *words]) == 2
    assert "name one model" in capsys.readouterr().err


def test_span_and_frameworks_select(lived: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "b.tar"
    words = ["--from", "2026-01-05", "--to", "2026-01-05T10:20:00+01:00", "--framework", "iso-42001", "--json"]
    assert main(["audit", "export", "--model", "digits", *words, "--out", str(out)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bytes"] == out.stat().st_size
    found = manifest(out)
    assert (found.start, found.end) == ("2026-01-05T00:00:00.000000Z", "2026-01-05T09:20:00.000000Z")
    assert found.frameworks == ("iso-42001",)
    assert found.left_out["entries"] > 0
    assert main(["audit", "verify", str(out)]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "yesterday"], "expected a day"),
        (["--framework", "astrology"], "astrology"),
        (["--from", "2026-02-01", "--to", "2026-01-01"], "is empty"),
        (["--model", "nobody"], "name one model"),
    ],
)
def test_a_selection_that_is_none_is_one_line(
    lived: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["audit", "export", "digits", *words, "--out", str(tmp_path / "b.tar")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "b.tar").exists()


def test_a_digest_that_is_none_is_told_before_anything_is_checked(
    lived: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "verify", str(tmp_path / "b.tar"), "--answering", "x"]) == 2
    assert "'x' is no digest" in capsys.readouterr().err


def test_an_export_needs_the_ledgers_key_and_says_so(
    lived: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (lived / "keys" / "log.key").rename(tmp_path / "elsewhere.key")
    assert main(["audit", "export", "digits", "--out", str(tmp_path / "b.tar")]) == 4
    assert "log.key" in capsys.readouterr().err


def test_a_verification_is_told_level_by_level(lived: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "b.tar"
    main(["audit", "export", "digits", "--out", str(out)])
    capsys.readouterr()
    assert main(["audit", "verify", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    levels = [line for line in lines if line and line[0] not in " /" and " " not in line]
    assert levels == ["files", "signatures", "tree", "anchoring", "semantics", "artefacts", "completeness"]
    assert any(line.startswith("not checked: ") for line in lines)
    assert lines[-1] == f"{out}: verified; guarantee: self-signed only"


def test_a_failure_is_told_with_its_place(lived: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "b.tar"
    main(["audit", "export", "digits", "--out", str(out)])
    content = bytearray(out.read_bytes())
    content[content.index(b'"reason":"the twin disagrees"')] ^= 1
    out.write_bytes(content)
    capsys.readouterr()
    assert main(["audit", "verify", str(out)]) == 10
    told = capsys.readouterr().out
    assert "FAIL" in told
    assert "at ledger/tile/entries/000.p/29, bytes " in told
    assert "NOT verified; guarantee: none" in told
    assert main(["audit", "verify", str(out), "--json"]) == 10
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], document["ok"], document["exit_code"]) == ("audit-report/v1", False, 10)


def test_what_somebody_saw_answering_is_compared_with_the_log(
    lived: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "b.tar"
    main(["audit", "export", "digits", "--out", str(out)])
    live = home.read_ledger(Settings(home=lived)).state().models["digits"].live
    assert live is not None
    assert main(["audit", "verify", str(out), "--answering", live.digest]) == 0
    assert main(["audit", "verify", str(out), "--answering", "sha256:" + "0" * 64]) == 16
    assert "the log never gave it traffic" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["missing.tar", ""])
def test_a_bundle_that_is_no_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    assert main(["audit", "verify", str(tmp_path / what)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
