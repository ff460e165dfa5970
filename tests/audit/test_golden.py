"""A bundle that was written once: it verifies with every later release, and the same story still gives its bytes."""

import lzma
import os
from pathlib import Path

import pytest

from pruneguard.audit import bundle
from pruneguard.audit.archive import Archive
from pruneguard.audit.standalone import verify as standalone
from pruneguard.audit.verify import verify
from tests.audit.conftest import Told, whole

GOLDEN = Path(__file__).parents[1] / "assets" / "bundles" / "story.tar.xz"
TOOLS = {bundle.GUIDE, bundle.PROGRAM, bundle.MANIFEST, bundle.SEAL}
"""What another release may bring along another of, and what names it."""


@pytest.fixture
def golden(tmp_path: Path, rich: Told) -> Path:
    if os.environ.get("GOLDEN"):
        GOLDEN.write_bytes(lzma.compress(whole(rich.files), preset=9))
    path = tmp_path / "story.tar"
    path.write_bytes(lzma.decompress(GOLDEN.read_bytes()))
    return path


def test_the_golden_bundle_verifies(golden: Path) -> None:
    report = verify(golden)
    assert report.ok, [check for check in report.checks if not check.ok]
    assert report.guarantee == "self-signed only"


def test_the_golden_bundle_verifies_with_nothing_but_python(golden: Path) -> None:
    assert standalone.verify(golden.read_bytes())["ok"]


def test_the_same_story_gives_the_golden_bytes(golden: Path, rich: Told) -> None:
    with golden.open("rb") as file:
        archive = Archive(file)
        files = {path: archive.read(path) for path in archive.members}
    assert files.keys() == rich.files.keys()
    assert [path for path in sorted(files.keys() - TOOLS) if files[path] != rich.files[path]] == []
