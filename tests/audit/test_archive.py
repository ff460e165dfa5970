"""One archive for one content, and no other archive is read."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruneguard.audit import archive
from pruneguard.audit.archive import BLOCK, Archive, RefusedError
from pruneguard.errors import InvalidInputError
from tests.audit.conftest import foreign_tar, plain

names = st.from_regex("[a-z0-9_.-]{1,8}(/[a-z0-9]{1,8}){0,2}", fullmatch=True).filter(
    lambda name: not {".", ".."} & set(name.split("/"))
)


def refusal(path: Path) -> str:
    with path.open("rb") as file, pytest.raises(RefusedError) as refused:
        Archive(file)
    return str(refused.value)


@settings(max_examples=40)
@given(st.dictionaries(names, st.binary(max_size=1_200), max_size=8))
def test_an_archive_gives_its_files_back(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    path = tmp_path_factory.mktemp("archive") / "a.tar"
    archive.write(files, path)
    with path.open("rb") as file:
        opened = Archive(file)
        assert {name: opened.read(name) for name in opened.members} == files
    with tarfile.open(path) as foreign:  # and everybody's tar reads it
        assert foreign.getnames() == sorted(files)
        assert all(m.mtime == 0 and m.uid == 0 and m.mode == 0o644 and m.isreg() for m in foreign)


def test_the_order_in_which_files_come_does_not_matter() -> None:
    files = {"b": b"2", "a": b"1", "a/c": b"3"}
    assert b"".join(archive.blocks(files)) == b"".join(archive.blocks(dict(reversed(files.items()))))


@pytest.mark.parametrize("name", ["../up", "/root", "a/../b", "a/./b", "a//b", "a/", "ä", "a b", "a\\b", "", "x" * 101])
def test_an_unsafe_name_is_not_written(name: str) -> None:
    with pytest.raises(InvalidInputError):
        archive.header(name, 0)


def link(tar: tarfile.TarFile, kind: bytes, name: str = "a", target: str = "/etc/passwd") -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    tar.addfile(info)


@pytest.mark.parametrize(
    "fill",
    [
        lambda tar: plain(tar, "../up"),
        lambda tar: plain(tar, "/root"),
        lambda tar: plain(tar, "a/../../b"),
        lambda tar: link(tar, tarfile.SYMTYPE),
        lambda tar: link(tar, tarfile.LNKTYPE),
        lambda tar: link(tar, tarfile.CHRTYPE),
        lambda tar: link(tar, tarfile.DIRTYPE, "folder", ""),
        lambda tar: link(tar, tarfile.FIFOTYPE),
        lambda tar: plain(tar, "x" * 90 + "/" + "y" * 50),
        lambda tar: plain(tar, "a") or plain(tar, "a"),
        lambda tar: plain(tar, "b") or plain(tar, "a"),
    ],
    ids=[
        "up",
        "absolute",
        "up later",
        "symlink",
        "hard link",
        "device",
        "folder",
        "pipe",
        "prefix",
        "doubled",
        "unsorted",
    ],
)
def test_what_another_program_can_smuggle_into_a_tar_is_refused(
    tmp_path: Path, fill: Callable[[tarfile.TarFile], None]
) -> None:
    assert "byte" in refusal(foreign_tar(tmp_path / "a.tar", fill))


def test_names_that_a_careless_file_system_would_merge_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    archive.write({"README": b"1", "readme": b"2"}, path)
    assert "case" in refusal(path)


def test_a_doubled_name_is_refused_though_every_header_is_right(tmp_path: Path) -> None:
    one = b"".join(archive.blocks({"a": b"1"}))[: 2 * BLOCK]
    two = b"".join(archive.blocks({"a": b"2"}))
    (tmp_path / "a.tar").write_bytes(one + two)
    assert "once, in order" in refusal(tmp_path / "a.tar")


def test_bombs_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.truncate(archive.BYTES_MAX + 1)  # sparse: takes no room
    assert "at most" in refusal(path)
    path.write_bytes(archive.header("a", 8**11 - 1) + bytes(1024))
    assert "8589934591 bytes are announced" in refusal(path)
    monkeypatch.setattr(archive, "FILES_MAX", 3)
    archive.write({str(number): b"" for number in range(4)}, path)
    assert "one too many" in refusal(path)


@pytest.mark.parametrize("cut", [0, 1, 511, 512, 513, 1023, 1024, 1536, 2047])
def test_a_truncated_archive_is_refused(tmp_path: Path, cut: int) -> None:
    whole = b"".join(archive.blocks({"a": b"1"}))
    assert len(whole) == 2048
    (tmp_path / "a.tar").write_bytes(whole[:cut])
    assert "byte" in refusal(tmp_path / "a.tar")


def test_bytes_after_the_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"".join(archive.blocks({"a": b"1"})) + b"\x00")
    assert "1 bytes follow the end" in refusal(tmp_path / "a.tar")
