"""What a user brings: a snapshot with a digest, and a class in a file."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from pruneguard import workload
from pruneguard.errors import InvalidInputError
from pruneguard.workload import Snapshot, Split


def split(rows: int = 4, *, fill: float = 0.5) -> Split:
    x = np.full((rows, 3), fill, dtype=np.float32)
    return Split(x, np.arange(rows, dtype=np.int64) % 2, {"sex": np.array(["f", "m"] * (rows // 2))})


def snapshot(**changes: object) -> Snapshot:
    return dataclasses.replace(Snapshot(split(8), split(), split(), classes=2), **changes)


def test_the_same_rows_have_the_same_digest_in_whatever_memory_layout() -> None:
    x = np.asfortranarray(split(8).x)
    assert snapshot(train=dataclasses.replace(split(8), x=x)).digest == snapshot().digest


@pytest.mark.parametrize(
    "changed",
    [
        snapshot(train=split(8, fill=0.25)),
        snapshot(train=dataclasses.replace(split(8), y=np.zeros(8, dtype=np.int64))),
        snapshot(train=dataclasses.replace(split(8), x=split(8).x.reshape(8, 1, 3))),
        snapshot(train=dataclasses.replace(split(8), x=split(8).x.astype(np.float64))),
        snapshot(train=dataclasses.replace(split(8), slices={"gender": split(8).slices["sex"]})),
        snapshot(train=dataclasses.replace(split(8), slices={})),
        snapshot(train=split(4), gate=split(8)),
        snapshot(classes=3),
        snapshot(bounds=(0.0, 2.0)),
    ],
    ids=["value", "label", "shape", "type", "slice name", "no slice", "split", "classes", "bounds"],
)
def test_any_change_of_the_rows_changes_the_digest(changed: Snapshot) -> None:
    assert changed.digest != snapshot().digest


def test_a_split_is_as_long_as_its_labels() -> None:
    assert len(split(6)) == 6


# -- loading ------------------------------------------------------------------------------------------------------

GOOD = """
import dataclasses

@dataclasses.dataclass
class Mine:
    depth: int = 2
    def build(self): return "a network"
    def data(self, directory): return directory
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "mine.py"
    file.write_text(text)
    return file


def test_a_class_in_a_file_is_a_workload(tmp_path: Path) -> None:
    loaded = workload.load(write(tmp_path, GOOD), "Mine")
    assert loaded.build() == "a network"
    assert loaded.data(tmp_path) == tmp_path


def test_a_file_named_like_a_library_hides_nothing(tmp_path: Path) -> None:
    file = tmp_path / "json.py"
    file.write_text(GOOD)
    before = sys.modules["json"]
    workload.load(file, "Mine")
    assert sys.modules["json"] is before
    assert str(tmp_path) not in sys.path


def test_two_files_of_one_name_are_two_workloads(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = workload.load(write(tmp_path / "a", GOOD), "Mine")
    second = workload.load(write(tmp_path / "b", GOOD.replace("a network", "another")), "Mine")
    assert (first.build(), second.build()) == ("a network", "another")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"absent\.py: no such file"):
        workload.load(tmp_path / "absent.py", "Mine")


def test_a_missing_class_is_named_with_the_classes_that_the_file_defines(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"mine\.py: no class 'Yours'; it defines \['Mine'\]"):
        workload.load(write(tmp_path, GOOD), "Yours")


def test_a_function_is_not_a_class(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no class 'Mine'"):
        workload.load(write(tmp_path, "def Mine(): ..."), "Mine")


@pytest.mark.parametrize(("text", "lacks"), [("class Mine: ...", "build', 'data"), ("class Mine:\n data = 3", "build")])
def test_a_class_without_its_methods_is_told_which(tmp_path: Path, text: str, lacks: str) -> None:
    with pytest.raises(InvalidInputError, match=f"class Mine lacks.*{lacks}"):
        workload.load(write(tmp_path, text), "Mine")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("class Mine\n", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_file_that_does_not_import_says_why_and_leaves_no_module_behind(tmp_path: Path, text: str, why: str) -> None:
    before = set(sys.modules)
    with pytest.raises(InvalidInputError, match=rf"mine\.py: importing it failed: {why}"):
        workload.load(write(tmp_path, text), "Mine")
    assert not {name for name in set(sys.modules) - before if name.startswith("_pruneguard")}


# -- what the user's own code raises ------------------------------------------------------------------------------

RAISES = """
class Mine:
    def build(self): return 1 / 0
    def data(self, directory):
        return self.rows(directory)
    def rows(self, directory):
        return directory["x"]
"""


@pytest.mark.parametrize(
    ("method", "args", "said"),
    [
        ("build", (), r"mine\.py:3: build\(\) failed: ZeroDivisionError"),
        ("data", (Path(),), r"mine\.py:7: data\(\) failed: TypeError"),
        ("data", (), r"mine\.py: data\(\) failed: TypeError: .*missing 1 required"),
    ],
)
def test_what_a_users_method_raises_names_the_line_in_their_file(
    tmp_path: Path, method: str, args: tuple[object, ...], said: str
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(RAISES)
    with pytest.raises(InvalidInputError, match=said):
        workload.ask(workload.load(file, "Mine"), method, *args)


def test_an_error_that_says_already_what_to_do_stays_as_it_is() -> None:
    class Mine:
        def build(self) -> None:
            raise InvalidInputError("get the data")

    with pytest.raises(InvalidInputError, match=r"^get the data$"):
        workload.ask(Mine(), "build")  # type: ignore[arg-type]
