"""Content-addressed store: bytes in, digest out; a read is checked against the name it was asked by."""

import contextlib
import posixpath
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pruneguard import canonical, files
from pruneguard.errors import IntegrityError, InvalidInputError, UnavailableError
from pruneguard.urls import shown

HEX = set("0123456789abcdef")


class Artifacts:
    """Write-once files named by their SHA-256, below one fsspec URL (a folder, s3://, gs://)."""

    def __init__(self, url: str) -> None:
        is_folder = "://" not in url or url.startswith("file://")
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url, **({"auto_mkdir": True} if is_folder else {}))
        except (
            ImportError,
            ValueError,
        ) as error:  # ImportError: a protocol whose package is not installed, as for s3://
            raise InvalidInputError(
                f"artefacts cannot lie in {shown(url)}: {error}; do what it says, or fix PRUNEGUARD_ARTIFACTS_URL"
            ) from error

    def put(self, content: bytes) -> str:
        """Store `content` and return its digest. Storing the same bytes again changes nothing."""
        name = canonical.digest(content)
        path = self._path(name)
        if self._fs.exists(path) and self._fs.size(path) == len(content):
            return name
        if isinstance(self._fs, LocalFileSystem):
            # A killed writer or a power cut leaves no half file under a digest's name.
            with files.appearing(Path(path), replace=True) as partial:
                partial.write_bytes(content)
        else:
            self._fs.pipe_file(path, content)  # an object store shows an object when it is whole
        return name

    def get(self, name: str) -> bytes:
        """The bytes of a digest. Raises UnavailableError if absent, IntegrityError if they were changed."""
        path = self._path(name)
        try:
            content: bytes = self._fs.cat_file(path)
        except FileNotFoundError as error:
            raise UnavailableError(
                f"{name} is not in the artefact store {self._root}; restore it from a backup"
            ) from error
        if (found := canonical.digest(content)) != name:
            raise IntegrityError(
                f"{path} holds {found}; the record says {name}. Do not use it; find out who changed it"
            )
        return content

    def remove(self, name: str) -> None:
        """Delete the bytes of a digest, which nothing may name any more. One that is absent is no error."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def __contains__(self, name: str) -> bool:
        return bool(self._fs.exists(self._path(name)))

    def local_path(self, name: str) -> Path | None:
        """Where a file lies, when the store is a folder of this machine."""
        return Path(self._path(name)) if isinstance(self._fs, LocalFileSystem) else None

    def _path(self, name: str) -> str:
        kind, _, value = name.partition(":")
        if kind != "sha256" or len(value) != 64 or not set(value) <= HEX:
            raise InvalidInputError(f"{name!r} is not a digest; expected sha256: and 64 hexadecimal digits")
        return posixpath.join(self._root, kind, value[:2], value)
