"""Packages as pip leaves them, without pip: files on the path, and what they say of themselves beside them."""

import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from pruneguard.gates import catalogue

EXAMPLE = Path(__file__).parent / "assets" / "plugin"
RECALL = "pruneguard-recall"


def write(folder: Path, name: str, entries: Mapping[str, Mapping[str, str]], code: str = "") -> None:
    """A package of one module, called like the package, with entry points by their groups."""
    described = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in of.items()) for group, of in entries.items()
    ]
    (described / "entry_points.txt").write_text("\n".join(lines))
    if code:
        (folder / f"{name.replace('-', '_')}.py").write_text(code)


@contextmanager
def installed(*folders: Path) -> Iterator[None]:
    """These folders on the path, for as long as the block lasts; what was imported from them is forgotten."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        for folder in folders:
            patch.syspath_prepend(str(folder))
        _forget()
        try:
            yield
        finally:
            for name in set(sys.modules) - before:
                if str(getattr(sys.modules[name], "__file__", "")).startswith(tuple(map(str, folders))):
                    del sys.modules[name]
            _forget()


@contextmanager
def example(folder: Path) -> Iterator[None]:
    """The example package of the assets, installed as its pyproject.toml says; `folder` is for what pip would write."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    write(folder, project["name"], project["entry-points"])
    with installed(EXAMPLE, folder):
        yield


def _forget() -> None:
    catalogue.entries.cache_clear()
    catalogue.foreign_gates.cache_clear()
    catalogue.foreign_scales.cache_clear()
