"""One archive for one content, and no other archive is read."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruneguard.audit import archive
from pruneguard.audit.archive import BLOCK, Archive, Piece, RefusedError
from pruneguard.errors import IntegrityError, InvalidInputError
from tests.audit.conftest import foreign_tar, link, packed, plain, whole

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
    files = {name: content for name, content in files.items() if not any(f.startswith(f"{name}/") for f in files)}
    path = packed(files, tmp_path_factory.mktemp("archive") / "a.tar")
    with path.open("rb") as file:
        opened = Archive(file)
        assert {name: opened.read(name) for name in opened.members} == files
    with tarfile.open(path) as foreign:  # and everybody's tar reads it
        assert foreign.getnames() == sorted(files)
        assert all(m.mtime == 0 and m.uid == 0 and m.mode == 0o644 and m.isreg() for m in foreign)


def test_the_order_in_which_files_come_does_not_matter() -> None:
    files = {"b": b"2", "a": b"1", "c/a": b"3"}
    assert whole(files) == whole(dict(reversed(files.items())))


def test_what_is_written_is_what_was_counted(tmp_path: Path) -> None:
    piece = Piece.of(b"1")
    changing = Piece(piece.size, piece.digest, lambda: b"2")
    with pytest.raises(IntegrityError, match="changed while it was written"):
        archive.write(archive.blocks({"a": changing}), tmp_path / "a.tar")


@pytest.mark.parametrize("name", ["../up", "/root", "a/../b", "a/./b", "a//b", "a/", "ä", "a b", "a\\b", "", "x" * 101])
def test_an_unsafe_name_is_not_written(name: str) -> None:
    with pytest.raises(InvalidInputError):
        archive.header(name, 0)


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
    assert "case" in refusal(packed({"README": b"1", "readme": b"2"}, tmp_path / "a.tar"))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    assert "where another is a folder" in refusal(packed({"a": b"1", "a.b": b"2", "A/b": b"3"}, tmp_path / "a.tar"))
    assert "where another is a folder" in refusal(packed({"a": b"1", "a.b": b"2", "a/b/c": b"3"}, tmp_path / "b.tar"))


def test_a_doubled_name_is_refused_though_every_header_is_right(tmp_path: Path) -> None:
    one = whole({"a": b"1"})[: 2 * BLOCK]
    two = whole({"a": b"2"})
    (tmp_path / "a.tar").write_bytes(one + two)
    assert "once, in order" in refusal(tmp_path / "a.tar")


def test_bombs_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.truncate(archive.BYTES_MAX + 1)  # sparse: takes no room
    assert "at most" in refusal(path)
    path.write_bytes(archive.header("a", archive.FILE_BYTES_MAX) + bytes(1024))
    assert f"{archive.FILE_BYTES_MAX} bytes are announced" in refusal(path)
    monkeypatch.setattr(archive, "FILES_MAX", 3)
    assert "one too many" in refusal(packed({str(number): b"" for number in range(4)}, path))


def header(
    name: bytes = b"a", size: bytes = b"00000000001", kind: bytes = b"0", magic: bytes = b"ustar\x0000"
) -> bytes:
    """A header with a right checksum, whatever it says."""
    block = bytearray(archive.header("a", 1))
    block[:100], block[124:135], block[156:157] = name.ljust(100, b"\x00"), size, kind
    block[257:265] = magic
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\x00 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "block",
    [
        header(size=b"-0000000001"),
        header(size=b"0000000_001"),
        header(size=b"+0000000001"),
        header(size=b" 0000000001"),
        header(size=b"\x80" + bytes(9) + b"\x01"),
        header(size=b"77777777777"),
        header(name=b"a\x00b"),
        header(name=b"\xc3\xa4"),
        header(name=b""),
        header(kind=b"\x00"),
        header(kind=b"7"),
        header(kind=b"S"),
        header(magic=b"ustar  \x00"),
        header(magic=bytes(8)),
    ],
    ids=[
        "negative",
        "underscore",
        "plus",
        "space",
        "base 256",
        "eight gigabytes",
        "hidden after a zero",
        "not ASCII",
        "no name",
        "old plain file",
        "contiguous file",
        "sparse",
        "GNU",
        "version 7",
    ],
)
def test_a_header_that_says_it_otherwise_is_refused(tmp_path: Path, block: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(block + whole({"a": b"1"})[BLOCK:])
    assert "byte" in refusal(tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("pack", "name"),
    [
        (gzip.compress, "gzip"),
        (bz2.compress, "bzip2"),
        (lzma.compress, "xz"),
        (lambda content: zipped({"a": content}), "zip"),
    ],
)
def test_another_kind_of_archive_is_named(tmp_path: Path, pack: Callable[[bytes], bytes], name: str) -> None:
    (tmp_path / "a.tar").write_bytes(pack(whole({"a": b"1"})))
    assert name in refusal(tmp_path / "a.tar")


def zipped(files: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_headers_that_reach_beyond_their_block_are_refused(tmp_path: Path, form: int) -> None:
    assert "byte" in refusal(foreign_tar(tmp_path / "a.tar", lambda tar: plain(tar, "x" * 120), form))


@pytest.mark.parametrize("cut", [0, 1, 511, 512, 513, 1023, 1024, 1536, 2047])
def test_a_truncated_archive_is_refused(tmp_path: Path, cut: int) -> None:
    content = whole({"a": b"1"})
    assert len(content) == 2048
    (tmp_path / "a.tar").write_bytes(content[:cut])
    assert "byte" in refusal(tmp_path / "a.tar")


def test_bytes_after_the_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(whole({"a": b"1"}) + b"\x00")
    assert "1 bytes follow the end" in refusal(tmp_path / "a.tar")
