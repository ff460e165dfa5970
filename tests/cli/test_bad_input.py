"""What people get wrong: one line that says what and where, the documented exit code, and a ledger as it was."""

from pathlib import Path

import pytest

from pruneguard import home
from pruneguard.cli import main
from pruneguard.settings import Settings

WORKLOAD = """
import numpy as np
from torch import nn
from pruneguard.workload import Snapshot, Split

class Mine:
    def build(self):
        return nn.Linear(4, 2)
    def data(self, directory):
        x = np.random.default_rng(0).random((60, 4), dtype=np.float32)
        y = np.arange(60, dtype=np.int64) % 2
        train, gate, release = (Split(x[a:b], y[a:b]) for a, b in ((0, 20), (20, 40), (40, 60)))
        return Snapshot(train, gate, release, classes=2)
"""
MANIFEST = """\
model: mine
workload: workload.py:Mine
policy: policy.yaml
train_epochs: 1
finetune_epochs: 1
ratios: [0.5]
"""
POLICY = """\
policy: mine
version: 1
purpose: To be got wrong.
gates:
  - measurement: quality.paired
    gate: non_inferior
    margin: 0.1
    because: It is a test.
    remedy: None is needed.
"""

FILES = {"workload.py": WORKLOAD, "manifest.yaml": MANIFEST, "policy.yaml": POLICY}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a ledger, and a user's three files beside it, all of them right."""
    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path / "var"))
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    assert main(["init", "--team"]) == 0
    return tmp_path


def refused(folder: Path, words: list[str], capsys: pytest.CaptureFixture[str], *, code: int = 2) -> str:
    """What a command says on stderr as it refuses; checks that it left the ledger as it was."""
    settings = Settings(home=folder / "var")
    before = home.read_ledger(settings).checkpoint
    capsys.readouterr()
    assert main(words) == code
    assert home.read_ledger(settings).checkpoint == before
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("gate: non_inferior", "gate: non_inferiour", "policy.yaml:6: gates[1].gate: unknown gate 'non_inferiour'"),
        ("margin: 0.1", "marjin: 0.1", "policy.yaml:7: gates[1].marjin"),
        ("margin: 0.1", "margin: 1.5", "policy.yaml:7: gates[1].margin: margin is 1.5; expected"),
        ("margin: 0.1", "margin: .nan", "policy.yaml:7: gates[1].margin: margin is nan; expected"),
        ("quality.paired", "quality.pared", "policy.yaml:5: gates[1].measurement"),
        ("version: 1", "versoin: 1", "is 'versoin' on line 2 meant?"),
    ],
)
def test_a_policy_that_says_something_impossible(
    folder: Path, capsys: pytest.CaptureFixture[str], right: str, wrong: str, said: str
) -> None:
    (folder / "policy.yaml").write_text(POLICY.replace(right, wrong))
    line = refused(folder, ["approve", "--policy", str(folder / "policy.yaml")], capsys)
    assert said in line
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("file", "right", "wrong", "said"),
    [
        ("manifest.yaml", "workload.py", "wurkload.py", "manifest.yaml:2: workload: no such file"),
        ("manifest.yaml", "py:Mine", "py:Yours", "no class 'Yours'; it defines ['Mine']"),
        ("manifest.yaml", "train_epochs", "train_epoch", "is 'train_epoch' on line 4 meant?"),
        ("manifest.yaml", "policy.yaml", "strict", "no policy 'strict' is shipped"),
        ("workload.py", "import numpy", "import numby", "workload.py: importing it failed: ModuleNotFoundError"),
        ("workload.py", "def build", "def built", "class Mine lacks ['build']"),
    ],
)
def test_a_run_that_cannot_work_is_refused_before_the_flow_engine_starts(
    folder: Path, capsys: pytest.CaptureFixture[str], file: str, right: str, wrong: str, said: str
) -> None:
    (folder / file).write_text(FILES[file].replace(right, wrong))
    line = refused(folder, ["run", str(folder / "manifest.yaml")], capsys)
    assert said in line
    assert line.count("\n") == 1


def test_a_key_that_others_can_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = folder / "var/keys/grace.key"
    key.chmod(0o644)
    assert f"chmod 600 {key}" in refused(folder, ["approve", "--policy", "standard"], capsys)


def test_a_port_that_cannot_be_one(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNEGUARD_GATEWAY_PORT", "99999")
    assert main(["status"]) == 2
    assert "PRUNEGUARD_GATEWAY_PORT='99999'" in capsys.readouterr().err


def test_a_home_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path / "file" / "var"))
    assert main(["init"]) == 4
    line = capsys.readouterr().err
    assert str(tmp_path / "file") in line
    assert line.count("\n") == 1
