"""`audit recompute-lineage`, as an auditor types it: files they were given, or a service's own store."""

import json
from pathlib import Path

import pytest

from pruneguard import home, testing
from pruneguard.cli import main
from pruneguard.pruning import masks, parts, weights
from pruneguard.pruning.lineage import Part
from pruneguard.pruning.workpiece import Workpiece
from pruneguard.settings import Settings
from tests.ledgers import new_ledger
from tests.pruning import networks


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """dense, and by both methods: lineage, final weights, masks."""
    monkeypatch.chdir(tmp_path)
    dense = networks.plain()
    whole = Workpiece.of(dense)
    groups = parts.find(Part.CHANNELS, dense, networks.IMAGES).groups
    cut = whole.cut(groups, {0: (1, 2)})
    masked = whole.masked(masks.make(dense, ratio=0.5, budget="global"))
    for name, content in (
        ("dense", weights.dump(dense)),
        ("cut", weights.dump(cut.model)),
        ("cut.json", cut.lineage(recipe=[{"prune": "channels"}], ratio=0.5, seed=0).encode()),
        ("masked", weights.dump(masked.model)),
        ("masked.json", masked.lineage(recipe=[{"prune": "weights"}], ratio=0.5, seed=0).encode()),
        ("masks", masks.pack(masked.masks)),
    ):
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["dense", "cut.json"],
        ["dense", "cut.json", "--final", "cut"],
        ["dense", "masked.json", "--masks", "masks", "--final", "masked"],
    ],
)
@pytest.mark.usefixtures("files")
def test_what_holds_exits_with_0(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "recompute-lineage", *words]) == 0
    assert "bit for bit" in capsys.readouterr().out
    assert main(["audit", "recompute-lineage", *words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["faults"]) == (True, [])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["cut", "cut.json"], "the lineage was made from"),
        (["dense", "cut.json", "--final", "dense"], "0.weight is (16, 1, 3, 3) after"),
        (["dense", "masked.json"], "needs its masks"),
        (["dense", "masked.json", "--masks", "dense"], "masks of"),
        (["dense", "masked.json", "--masks", "masks", "--final", "dense"], "are not zero where the mask says so"),
    ],
)
@pytest.mark.usefixtures("files")
def test_what_does_not_hold_exits_with_15(words: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "recompute-lineage", *words]) == 15
    assert why in capsys.readouterr().out
    assert main(["audit", "recompute-lineage", *words, "--json"]) == 15
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert why in " ".join(told["faults"])


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["dense"],
        ["dense", "cut.json", "--model", "digits", "--number", "1"],
        ["--model", "digits"],
        ["--number", "1"],
        ["dense", "dense"],
        ["dense", "absent.json"],
        ["absent", "cut.json"],
    ],
)
@pytest.mark.usefixtures("files")
def test_what_cannot_be_asked_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "recompute-lineage", *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.fixture
def lived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PRUNEGUARD_HOME", str(tmp_path))
    known = Settings(home=tmp_path)
    new_ledger(tmp_path)
    testing.story(home.open_ledger(known), home.artifacts(known))
    return known


def test_a_release_is_recomputed_from_the_services_store(lived: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "recompute-lineage", "--model", "digits", "--number", "2"]) == 0
    assert "the fine-tuned weights keep to the cut" in capsys.readouterr().out
    assert main(["audit", "recompute-lineage", "--model", "digits", "--number", "1"]) == 2
    assert "digits 1 is dense" in capsys.readouterr().err


def test_weights_that_were_changed_in_the_store_are_found(lived: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    artifacts = home.artifacts(lived)
    trained = next(
        entry.event
        for entry in map(home.read_ledger(lived).entry, range(home.read_ledger(lived).size))
        if entry.event.type == "model.trained"
    )
    path = artifacts.local_path(trained.refs["weights"])
    assert path is not None
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    assert main(["audit", "recompute-lineage", "--model", "digits", "--number", "2"]) == 15
    assert "the record says" in capsys.readouterr().out
