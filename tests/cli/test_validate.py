"""`validate`, as a CI job calls it: exit codes, reports, and one line for whatever is wrong."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from pruneguard.cli import main
from tests.evaluation.small import linear_onnx

POLICY = """\
policy: mine
version: 1
purpose: To be as good.
gates:
  - measurement: quality.paired
    gate: non_inferior
    margin: 0.05
    because: It costs.
    remedy: Prune less.
  - measurement: robustness.fgsm.paired
    gate: non_inferior
    margin: 0.05
    because: People attack.
    remedy: Train on attacks.
"""
JOB = ["validate", "model.onnx", "--twin", "dense.onnx", "--data", "rows.npz", "--policy", "ci/policy.yaml"]
LEFT_OUT = ["--leave-out", "robustness"]
REPORTS = [
    "--junit",
    "out/junit.xml",
    "--sarif",
    "out/sarif.json",
    "--markdown",
    "out/sum.md",
    "--html",
    "out/page.html",
]


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CI job's folder: two models, rows, and a policy."""
    monkeypatch.chdir(tmp_path)
    dense = 4 * np.eye(3)
    Path("dense.onnx").write_bytes(linear_onnx(dense))
    Path("model.onnx").write_bytes(linear_onnx(dense * 2))
    Path("worse.onnx").write_bytes(linear_onnx(np.diag([4, 4, 0])))
    x = np.random.default_rng(0).random((200, 3))
    np.savez("rows.npz", x=x, y=x.argmax(axis=1))
    Path("ci").mkdir()
    Path("ci/policy.yaml").write_text(POLICY)
    return tmp_path


def test_a_pass_ends_with_0_and_writes_every_report(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*JOB, *LEFT_OUT, *REPORTS]) == 0
    printed = capsys.readouterr().out
    assert "model.onnx passed: all 1 rules of policy mine 1; 1 more left out" in printed
    assert "left out      robustness.fgsm.paired" in printed
    assert {path.name for path in Path("out").iterdir()} == {"junit.xml", "sarif.json", "sum.md", "page.html"}
    suites = ET.parse("out/junit.xml").getroot()  # noqa: S314  # our own
    assert (suites.get("tests"), suites.get("failures"), suites.get("skipped")) == ("2", "0", "1")
    assert json.loads(Path("out/sarif.json").read_text())["runs"][0]["results"] == []
    assert "passed" in Path("out/sum.md").read_text()
    assert "model.onnx: passed" in Path("out/page.html").read_text()
    assert not (checkout / "var").exists()  # nothing is recorded


def test_no_evidence_ends_with_1_and_says_why_and_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*JOB, *REPORTS]) == 1
    printed = capsys.readouterr().out
    assert "refused: 1 of 2 rules of policy mine 1 do not pass" in printed
    assert "takes the network, and there is only the candidate's file" in printed
    assert "leave it out by name: --leave-out robustness.fgsm.paired" in printed
    (result,) = json.loads(Path("out/sarif.json").read_text())["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("ci/policy.yaml", 10)


@pytest.mark.parametrize(
    ("child", "uri", "line"),
    [("extends: base.yaml\n", "ci/base.yaml", 10), ("extends: ../../base.yaml\n", "ci/child.yaml", 4)],
)
def test_a_result_about_an_inherited_rule_points_at_it_or_if_it_is_elsewhere_at_what_inherits_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, child: str, uri: str, line: int
) -> None:
    (checkout / "ci" / "base.yaml").write_text(POLICY)
    (checkout / "job" / "ci").mkdir(parents=True)
    if "../.." in child:
        (checkout / "base.yaml").write_text(POLICY)
        monkeypatch.chdir(checkout / "job")
    Path("ci/child.yaml").write_text("policy: child\nversion: 1\npurpose: a child's\n" + child)
    files = [str(checkout / name) for name in ("model.onnx", "dense.onnx", "rows.npz")]
    job = ["validate", files[0], "--twin", files[1], "--data", files[2], "--policy", "ci/child.yaml"]
    assert main([*job, "--sarif", "sarif.json"]) == 1
    (result,) = json.loads(Path("sarif.json").read_text())["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == (uri, line)


def test_of_a_folder_its_one_model_is_judged_and_nothing_beside_it_may_run(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("bundle")
    folder.mkdir()
    Path("model.onnx").rename(folder / "model.onnx")
    job = ["validate", str(folder), *JOB[2:], *LEFT_OUT]
    assert main(job) == 0
    assert "bundle: nothing in this folder would run or reach out when it is loaded" in capsys.readouterr().out
    (folder / "optimiser.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert main(job) == 2
    told = capsys.readouterr().err
    assert "bundle: 1 threat to whoever loads what is there" in told
    assert "optimiser.pkl" in told


@pytest.mark.parametrize(
    ("names", "why"),
    [((), "no ONNX file is in it"), (("a.onnx", "b.onnx"), "2 ONNX files are in it; name one: a.onnx")],
)
def test_a_folder_without_its_one_model_is_refused(
    names: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path("bundle")
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(Path("model.onnx").read_bytes())
    assert main(["validate", str(folder), *JOB[2:]]) == 2
    assert why in capsys.readouterr().err


def test_a_worse_model_ends_with_1_and_is_told_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*JOB, *LEFT_OUT, "--twin", "model.onnx", "--json"]) == 0
    capsys.readouterr()
    assert main(["validate", "worse.onnx", *JOB[2:], *LEFT_OUT, "--junit", "junit.xml"]) == 1
    assert "lost rows repaired. Prune less." in capsys.readouterr().out
    assert "remedy: Prune less." in Path("junit.xml").read_text()


def test_a_program_gets_one_document_and_the_story_goes_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*JOB, "--json", "--markdown", "sum.md"]) == 1
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["passed"] is False
    assert document["sources"]["policy"]["name"] == "ci/policy.yaml"
    assert "written: sum.md" in printed.err


def test_a_report_takes_the_place_of_an_older_one() -> None:
    Path("junit.xml").write_text("of yesterday")
    main([*JOB, *LEFT_OUT, "--junit", "junit.xml"])
    assert Path("junit.xml").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--policy", "standrad"], "no policy 'standrad' is shipped; known are"),
        (["--policy", "ci/none.yaml"], "none.yaml: cannot be read"),
        (["--data", "none.npz"], "none.npz: no such file"),
        (["--data", "model.onnx"], "model.onnx: rows as .onnx; expected one of"),
        (["--twin", "rows.npz"], "rows.npz: an archive such as torch.save writes, which is never unpickled"),
        (["--twin", "none.onnx"], "none.onnx: cannot be read"),
        (["--split", "gate"], "rows.npz has no splits"),
        (["--leave-out", "robustness.fgms"], "did you mean 'robustness.fgsm.paired'?"),
        (["--html", "./model.onnx"], "--html model.onnx: that is a file of this job already"),
        (["--html", "junit.xml"], "--html junit.xml: that is a file of this job already"),
        (["--html", "ci"], "ci is a folder; expected the path of a file to write"),
        (["--html", "rows.npz/page.html"], "nothing can be written at"),
    ],
)
def test_what_cannot_be_judged_ends_with_2_in_one_line(
    words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*JOB, "--junit", "junit.xml", *words]) == 2
    printed = capsys.readouterr()
    assert why in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not Path("junit.xml").exists()


def test_a_word_that_is_missing_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["validate", "model.onnx"])
    assert ended.value.code == 2
