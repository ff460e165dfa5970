"""A file scored in parts: the same answers as one run gives, however often it was killed, and no other version's."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from pruneguard.errors import InvalidInputError, UnavailableError
from pruneguard.files import held
from pruneguard.scoring import job
from pruneguard.scoring.job import score
from pruneguard.serving import chosen
from tests.serving.scene import FEATURES, Scene

NAMES = [f"feature_{index}" for index in range(FEATURES)]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path / "scene")
    made.release()
    return made


def picked(scene: Scene, number: int | None = None) -> chosen.Chosen:
    return chosen.answering(scene.ledger, scene.artifacts, model="digits", number=number)


def rows(count: int) -> np.ndarray:
    return np.arange(count * FEATURES, dtype=np.float64).reshape(count, FEATURES)


def write(path: Path, values: np.ndarray, **more: list) -> Path:
    table = pa.table({**more, **{name: values[:, at] for at, name in enumerate(NAMES)}})
    if path.suffix == ".csv":
        pa_csv.write_csv(table, path)
    else:
        pq.write_table(table, path, row_group_size=3)
    return path


def read(path: Path) -> pa.Table:
    return pa_csv.read_csv(path) if path.suffix == ".csv" else pq.read_table(path)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "ROWS_MAX", 4)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("into", ["csv", "parquet"])
def test_every_row_is_answered_in_order_and_says_by_what(scene, tmp_path, kind, into):
    source = write(tmp_path / f"rows.{kind}", rows(10), id=[f"n{at}" for at in range(10)])
    done = score(source, tmp_path / f"out.{into}", picked(scene), keep=["id"])
    table = read(done.output)
    assert (done.rows, done.skipped, done.resumed) == (10, 0, 0)
    assert table["row"].to_pylist() == list(range(1, 11))
    assert table["id"].to_pylist() == [f"n{at}" for at in range(10)]
    assert table["logit_1"].to_pylist() == rows(10).sum(axis=1).tolist()
    assert set(table["version"].to_pylist()) == {1}
    assert set(table["digest"].to_pylist()) == {scene.ledger.state().models["digits"].releases[1].digest}
    assert table["predicted"].to_pylist() == [1] * 10
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.usefixtures("small")
def test_the_result_says_on_what_it_rests(scene, tmp_path):
    source = write(tmp_path / "rows.parquet", rows(5))
    done = score(source, tmp_path / "out.parquet", picked(scene))
    told = {name.decode(): value.decode() for name, value in pq.read_schema(done.output).metadata.items()}
    assert told["pruneguard.model"] == "digits"
    assert told["pruneguard.release"] == "1"
    assert told["pruneguard.ledger_size"] == str(scene.ledger.size)
    assert told["pruneguard.source"] == done.job.source


def bad_csv(path: Path) -> Path:
    lines = [",".join(NAMES), "1,2,3,4", "1,2,x,4", "1,2,3", "5,6,7,8", "1,2,nan,4", "", "9,9,9,9", "1,2,3,4,5"]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.usefixtures("small")
def test_bad_rows_end_the_run_and_are_named_by_number(scene, tmp_path):
    with pytest.raises(InvalidInputError, match=r"row 2: 'feature_2' is 'x', not a number; row 3: it has 3 cells"):
        score(bad_csv(tmp_path / "rows.csv"), tmp_path / "out.csv", picked(scene))
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.usefixtures("small")
def test_bad_rows_can_be_left_out_and_are_counted(scene, tmp_path):
    done = score(bad_csv(tmp_path / "rows.csv"), tmp_path / "out.parquet", picked(scene), skip_bad=True)
    assert read(done.output)["row"].to_pylist() == [1, 4, 6]
    assert (done.rows, done.skipped) == (3, 4)
    assert [number for number, _ in done.bad] == [2, 3, 5, 7]


def test_a_row_whose_answer_is_not_finite_is_bad(scene, tmp_path):
    values = rows(3)
    values[1] = 3e38
    source = write(tmp_path / "rows.parquet", values)
    with pytest.raises(InvalidInputError, match="row 2: the model's answer is not finite"):
        score(source, tmp_path / "out.parquet", picked(scene))


def test_nulls_of_a_parquet_are_bad_rows(scene, tmp_path):
    table = pa.table({name: [1.0, None, 3.0] if name == "feature_1" else [1.0, 2.0, 3.0] for name in NAMES})
    pq.write_table(table, tmp_path / "rows.parquet")
    done = score(tmp_path / "rows.parquet", tmp_path / "out.parquet", picked(scene), skip_bad=True)
    assert [number for number, _ in done.bad] == [2]


def test_lists_are_rows_too(scene, tmp_path):
    pq.write_table(pa.table({"input": rows(3).tolist(), "id": [7, 8, 9]}), tmp_path / "rows.parquet")
    done = score(tmp_path / "rows.parquet", tmp_path / "out.csv", picked(scene), keep=["id"])
    assert read(done.output)["logit_1"].to_pylist() == rows(3).sum(axis=1).tolist()


class StoppedError(Exception):
    """Something that ends a run between two blocks."""


def stopping(after: int):
    left = [after]

    def still() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise StoppedError

    return still


@pytest.mark.usefixtures("small")
def test_a_run_goes_on_where_it_was_stopped_and_ends_with_the_same_bytes(scene, tmp_path):
    source = write(tmp_path / "rows.csv", rows(18))
    whole = score(source, tmp_path / "whole.parquet", picked(scene))
    for after in (2, 1):
        with pytest.raises(StoppedError):
            score(source, tmp_path / "out.parquet", picked(scene), still=stopping(after))
        assert not (tmp_path / "out.parquet").exists()
    assert job.begun(tmp_path / "out.parquet") == whole.job
    done = score(source, tmp_path / "out.parquet", picked(scene))
    assert done.resumed == 3
    assert done.output_digest == whole.output_digest
    assert job.begun(tmp_path / "out.parquet") is None


@pytest.mark.usefixtures("small")
def test_parts_of_another_job_are_not_gone_on_with(scene, tmp_path):
    source = write(tmp_path / "rows.csv", rows(18))
    with pytest.raises(StoppedError):
        score(source, tmp_path / "out.csv", picked(scene), still=stopping(2))
    number = scene.release()
    with pytest.raises(InvalidInputError, match="parts of another job: number 1, now 2"):
        score(source, tmp_path / "out.csv", picked(scene, number))
    write(source, rows(17))
    with pytest.raises(InvalidInputError, match="parts of another job: source"):
        score(source, tmp_path / "out.csv", picked(scene, 1))
    done = score(source, tmp_path / "out.csv", picked(scene), restart=True)
    assert (done.resumed, done.job.number) == (0, number)


@pytest.mark.usefixtures("small")
def test_a_version_that_is_rolled_back_answers_no_further_row(scene, tmp_path):
    scene.release()
    source = write(tmp_path / "rows.csv", rows(18))
    version = picked(scene)
    blocks = [0]

    def still() -> None:
        blocks[0] += 1
        if blocks[0] == 3:
            scene.roll_back()
        picked(scene, version.release.number)

    with pytest.raises(InvalidInputError, match=r"digits 2 answers no requests"):
        score(source, tmp_path / "out.csv", version, still=still)
    assert not (tmp_path / "out.csv").exists()


def test_what_the_ledger_does_not_let_answer_scores_nothing(scene):
    with pytest.raises(InvalidInputError, match="no model 'faces'"):
        chosen.answering(scene.ledger, scene.artifacts, model="faces")
    with pytest.raises(InvalidInputError, match="digits 7 answers no requests"):
        picked(scene, 7)
    scene.release()
    scene.path(2).write_bytes(b"something else")
    with pytest.raises(Exception, match="sha256"):
        picked(scene)


def test_an_output_is_never_overwritten_and_two_runs_do_not_make_one(scene, tmp_path):
    source = write(tmp_path / "rows.csv", rows(2))
    (tmp_path / "there.csv").write_text("mine")
    with pytest.raises(InvalidInputError, match="never overwritten"):
        score(source, tmp_path / "there.csv", picked(scene))
    with (
        held(tmp_path / ".out.csv.lock", what="it is being made"),
        pytest.raises(UnavailableError, match="is being made"),
    ):
        score(source, tmp_path / "out.csv", picked(scene))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.csv", b"", "it is empty"),
        ("rows.csv", b"feature_0,feature_1,feature_2,feature_3\n", "holds no rows"),
        ("rows.csv", b'feature_0,feature_1,feature_2,feature_3\n1,2,3,"4\n', "not readable"),
        ("rows.csv", b"feature_0,feature_1,feature_2,feature_3\n1,2,3,\xff\n", "not readable"),
        ("rows.parquet", b"PAR1 and then nothing", "not readable"),
        ("rows.xlsx", b"x", "ends in .csv or .parquet"),
    ],
)
def test_a_file_that_is_none_says_so(scene, tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInputError, match=words):
        score(tmp_path / name, tmp_path / "out.csv", picked(scene))


def test_the_outputs_own_names_are_not_taken_by_what_is_kept(scene, tmp_path):
    source = write(tmp_path / "rows.csv", rows(2), row=[1, 2])
    with pytest.raises(InvalidInputError, match="names of the output's own"):
        score(source, tmp_path / "out.csv", picked(scene), keep=["row"])


def test_a_run_that_is_killed_loses_nothing_and_doubles_nothing(scene, tmp_path):
    write(tmp_path / "rows.csv", rows(400))
    (tmp_path / "model.onnx").write_bytes(picked(scene).onnx)
    child = Path(__file__).with_name("killed_child.py")
    command = [sys.executable, str(child), str(tmp_path)]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run([*command, "7"], env=environ, capture_output=True, text=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "out.parquet").exists()
    ended = subprocess.run([*command, "-1"], env=environ, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {"rows": 400, "resumed": 7}
    assert read(tmp_path / "out.parquet")["logit_1"].to_pylist() == rows(400).sum(axis=1).tolist()
