"""Files that appear whole, and files that one process holds."""

import subprocess
import sys
from pathlib import Path

import pytest

from pruneguard.errors import InvalidInputError, UnavailableError
from pruneguard.files import appearing, held


def test_a_file_that_was_not_finished_never_appears(tmp_path: Path) -> None:
    def write_half() -> None:
        with appearing(tmp_path / "key") as partial:
            partial.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_never_overwritten_unless_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("first")
    with pytest.raises(InvalidInputError, match="never overwritten"), appearing(path) as partial:
        partial.write_text("second")
    assert path.read_text() == "first"
    with appearing(path, replace=True) as partial:
        partial.write_text("second")
    assert path.read_text() == "second"


def test_one_process_at_a_time_holds_a_file_and_death_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "service.lock"
    holder = f"""
import sys
from pathlib import Path
from pruneguard.files import held
with held(Path({str(path)!r}), what="a test runs"):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UnavailableError, match="a test runs already"), held(path, what="a test runs"):
            pass
        other.kill()
    with held(path, what="a test runs"):
        pass
