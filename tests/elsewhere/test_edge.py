"""A device: a program that needs onnxruntime and numpy, answers only what was exported, and keeps a chain."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pruneguard.elsewhere import collecting, exporting, runner
from pruneguard.elsewhere.collecting import collect
from pruneguard.elsewhere.runner import Edge
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.evaluation.sessions import Session
from pruneguard.serving import chosen
from tests.serving.scene import FEATURES, Scene

ROWS = np.arange(3 * FEATURES, dtype=np.float32).reshape(3, FEATURES)


class Device:
    """An exported folder, as it came to a device."""

    def __init__(self, folder: Path) -> None:
        self.scene = Scene(folder / "scene")
        self.scene.release()
        self.folder = folder / "edge"
        picked = chosen.released(self.scene.ledger, self.scene.artifacts, model="digits")
        self.onnx = picked.onnx
        self.digest = exporting.to_edge(self.scene.ledger, self.scene.artifacts, picked, self.folder)
        self.taken = folder / "taken"

    def start(self, name: str = "d1") -> Edge:
        return Edge(self.folder, self.digest, name)

    def files(self) -> list[Path]:
        return sorted((self.folder / "observations").glob("*.jsonl"))

    def bring(self, given: list[Path] | None = None) -> collecting.Taken:
        about = (self.folder / "release" / "release.json").read_bytes()
        return collect(self.taken, self.scene.ledger.state(), about, self.files() if given is None else given)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LINES_MAX", 4)


def test_it_answers_as_the_service_does(device: Device) -> None:
    assert np.array_equal(device.start().answer(ROWS), Session(device.onnx).logits(ROWS))


def test_the_program_in_the_folder_runs_by_itself(device: Device, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", ROWS)
    command = [sys.executable, "-I", str(device.folder / "run.py")]
    ran = subprocess.run(
        [*command, device.digest, "d1", tmp_path / "rows.npy"], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert [json.loads(line) for line in ran.stdout.splitlines()] == Session(device.onnx).logits(ROWS).tolist()
    assert device.bring().rows == 3
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 1


def test_the_program_needs_nothing_of_ours() -> None:
    text = Path(runner.__file__).read_text()
    assert "pruneguard." not in text
    assert "import pruneguard" not in text


@pytest.mark.parametrize("name", ["model.onnx", "run.py", "release/policy.json", "release/checkpoint"])
def test_a_file_that_was_changed_answers_nothing(device: Device, name: str) -> None:
    path = device.folder / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(SystemExit, match="changed after the export"):
        device.start()


def test_a_folder_that_was_made_anew_is_not_the_one_that_was_exported(device: Device) -> None:
    about = device.folder / "release" / "release.json"
    about.write_bytes(about.read_bytes().replace(b'"number": 1', b'"number": 2'))
    with pytest.raises(SystemExit, match="not the folder that was exported"):
        device.start()


@pytest.mark.parametrize(
    "rows", [ROWS[0], ROWS.astype(np.float64), ROWS[:, :3], ROWS * np.nan, np.full((1, 4), 3e38, "f4")]
)
def test_rows_that_are_none_are_refused_and_leave_no_line(device: Device, rows: np.ndarray) -> None:
    edge = device.start()
    with pytest.raises(ValueError, match=r"expected finite float32|not finite"):
        edge.answer(rows)
    assert device.files() == []


def test_a_device_has_a_name_that_can_be_told_apart(device: Device) -> None:
    with pytest.raises(SystemExit, match="names no device"):
        device.start("My Device")


@pytest.mark.usefixtures("short")
def test_the_chain_goes_on_over_files_and_restarts(device: Device) -> None:
    for _ in range(3):
        edge = device.start()
        edge.answer(ROWS[:2])
        edge.answer(ROWS[:1])
    assert len(device.files()) == 3
    assert device.bring().rows == 9


def test_a_line_that_a_power_cut_tore_was_never_answered(device: Device) -> None:
    device.start().answer(ROWS)
    (path,) = device.files()
    with path.open("ab") as file:
        file.write(b'{"answer": [1.0')
    device.start().answer(ROWS)
    assert device.bring().rows == 6


def test_a_disk_that_takes_no_more_keeps_the_chain_whole(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    edge = device.start()
    edge.answer(ROWS)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            edge.answer(ROWS)
    edge.answer(ROWS[:1])
    assert device.bring().rows == 4


@pytest.mark.usefixtures("short")
def test_what_came_before_is_not_counted_again_and_a_file_may_grow(device: Device) -> None:
    edge = device.start()
    edge.answer(ROWS)
    assert device.bring().rows == 3
    again = device.bring()
    assert (again.rows, again.known) == (0, 1)
    for _ in range(2):
        edge.answer(ROWS)
    assert device.bring().rows == 6
    device.files()[0].unlink()  # taken away, after it was full
    edge.answer(ROWS)
    assert device.bring().rows == 3


@pytest.mark.usefixtures("short")
def test_a_file_that_is_missing_between_is_seen_and_nothing_is_taken_in(device: Device) -> None:
    edge = device.start()
    for _ in range(3):
        edge.answer(ROWS)
    one, _, three = device.files()
    with pytest.raises(IntegrityError, match="A file between is missing"):
        device.bring([one, three])
    assert not device.taken.exists()
    assert device.bring().rows == 9


def cut(lines: list[bytes]) -> list[bytes]:
    return lines[:2] + lines[3:]


def swap(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def edit(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"answer": [', b'"answer": [9'), *lines[2:]]


@pytest.mark.parametrize("change", [cut, swap, edit])
def test_a_line_that_was_changed_taken_out_or_moved_breaks_the_chain(device: Device, change) -> None:
    device.start().answer(ROWS)
    (path,) = device.files()
    path.write_bytes(b"\n".join(change(path.read_bytes().splitlines())) + b"\n")
    with pytest.raises(IntegrityError, match="lines were changed, taken out or put in between"):
        device.bring()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no end"),
        (b"{}", "no end"),
        (b"{}\n", "names no line before it"),
        (b"[" * 100_000 + b"\n", "not JSON"),
        (b'{"before": ""}\n', "does not say which export"),
        (b"\xff\n", "not JSON"),
    ],
)
def test_what_is_no_file_of_observations_is_refused(device: Device, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(InvalidInputError, match=words):
        device.bring([tmp_path / "x.jsonl"])


def test_a_line_that_is_no_observation_is_refused(device: Device) -> None:
    device.start().answer(ROWS)
    (path,) = device.files()
    path.write_bytes(path.read_bytes().replace(b'"answer": [1.0, ', b'"answer": [NaN, ', 1))
    with pytest.raises(InvalidInputError, match="line 2 is no observation"):
        device.bring()


def test_observations_are_taken_in_for_the_export_they_name_alone(device: Device, tmp_path: Path) -> None:
    device.start().answer(ROWS)
    other = Device(tmp_path / "other")
    about = (other.folder / "release" / "release.json").read_bytes()
    changed = about.replace(b'"status": "live"', b'"status": "seen"')
    with pytest.raises(InvalidInputError, match="it is about the export"):
        collect(device.taken, device.scene.ledger.state(), changed, device.files())
    with pytest.raises(InvalidInputError, match="is not what an export writes"):
        collect(device.taken, device.scene.ledger.state(), b"{}", device.files())
    wrong = about.replace(
        device.scene.ledger.state().models["digits"].releases[1].digest.encode(), b"sha256:" + b"0" * 64
    )
    with pytest.raises(InvalidInputError, match="was exported"):
        collect(device.taken, device.scene.ledger.state(), wrong, device.files())


def test_two_devices_have_a_chain_each(device: Device, tmp_path: Path) -> None:
    device.start("d1").answer(ROWS)
    assert device.bring().devices == ("d1",)
    shutil.rmtree(device.folder / "observations")
    device.start("d2").answer(ROWS)
    assert device.bring().rows == 3
