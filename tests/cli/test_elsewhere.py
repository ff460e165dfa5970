"""`score`, `export` and `import` as people type them, on a ledger with a live version."""

import json
from pathlib import Path

import numpy as np
import pytest

from pruneguard.cli import main
from pruneguard.elsewhere.runner import Edge
from pruneguard.ledger.keys import new_log_key
from pruneguard.ledger.ledger import Ledger
from pruneguard.settings import Settings
from pruneguard.testing import ORIGIN
from tests.serving.scene import FEATURES, Scene

HEADER = ",".join(f"feature_{index}" for index in range(FEATURES))


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path / "var"))
    settings = Settings(home=tmp_path / "var")
    key = new_log_key(settings.keys_dir / "log.key", ORIGIN)
    made = Scene(settings.home, ledger=Ledger.create(settings.ledger, origin=ORIGIN, key=key))
    made.release()
    return made


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(f"id,{HEADER}\nn1,1,2,3,4\nn2,5,6,7,8\n")
    return path


@pytest.mark.usefixtures("scene")
def test_a_file_is_scored_by_the_live_version(rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["score", "--model", "digits", "--input", str(rows), "--keep", "id"]
    assert main([*command, "--output", str(tmp_path / "out.csv")]) == 0
    assert "2 rows answered by digits 1" in capsys.readouterr().out
    assert main([*command, "--output", str(tmp_path / "again.csv"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["skipped"], told["number"]) == (2, 0, 1)
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[1].startswith('1,"n1",1,')


@pytest.mark.usefixtures("scene")
def test_bad_rows_are_named_or_left_out(rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows.write_text(rows.read_text() + "n3,1,2,x,4\n")
    command = [
        "score",
        "--model",
        "digits",
        "--input",
        str(rows),
        "--keep",
        "id",
        "--output",
        str(tmp_path / "out.csv"),
    ]
    assert main(command) == 2
    assert "row 3: 'feature_2' is 'x', not a number" in capsys.readouterr().err
    assert main([*command, "--skip-bad"]) == 0
    assert "1 rows left out: row 3" in capsys.readouterr().out


@pytest.mark.usefixtures("scene")
@pytest.mark.parametrize("kind", [["triton"], ["kserve", "--storage-uri", "s3://m"], ["edge"]])
def test_a_release_goes_out_and_says_what_it_rests_on(
    kind: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", *kind, "--model", "digits", "--output", str(tmp_path / "out")]
    assert main(command) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"{tmp_path / 'out'}: digits 1 (live)")
    assert told[-1].startswith("sha256:")
    assert main(command) == 2
    assert "never overwritten" in capsys.readouterr().err


@pytest.mark.usefixtures("scene")
def test_observations_of_a_device_come_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "edge"
    assert main(["export", "edge", "--model", "digits", "--output", str(folder)]) == 0
    digest = capsys.readouterr().out.splitlines()[-1]
    assert main(["import", "edge", str(folder)]) == 2
    Edge(folder, digest, "d1").answer(np.ones((3, FEATURES), np.float32))
    capsys.readouterr()
    assert main(["import", "edge", str(folder)]) == 0
    assert "3 new rows answered by digits 1 on d1" in capsys.readouterr().out
    (path,) = (folder / "observations").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"answer": [1.0', b'"answer": [2.0', 1))
    assert main(["import", "edge", str(folder)]) == 3
