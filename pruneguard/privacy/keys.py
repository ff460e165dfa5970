"""The keys under which personal values lie. A value is forgotten when its key is: copies of it elsewhere stay shut.

They are files, wherever the values are, so that no backup and no write-ahead log of a database ever holds one: a backup
leaves this folder out, or keeps it for days only.
"""

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pruneguard.files import appearing

_KEY_BYTES = 32
_NONCE_BYTES = 12


class SubjectKeys:
    """A folder of AES-256-GCM keys, one file each, mode 0600, with names that say nothing of whose they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new(self) -> str:
        """Make a key, durably, and return its name."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = secrets.token_hex(16)
        with appearing(self._path(name)) as partial:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(os.urandom(_KEY_BYTES))
        return name

    def exists(self, name: str) -> bool:
        return self._path(name).exists()

    def seal(self, name: str, content: bytes, *, about: bytes) -> bytes:
        """`content` under a key, bound to `about`: it opens as nothing else. The key must be there."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self._path(name).read_bytes()).encrypt(nonce, content, about)

    def open(self, name: str, sealed: bytes, *, about: bytes) -> bytes | None:
        """What was sealed, or None where the key is gone. Raises InvalidTag when key, content or `about` is another."""
        try:
            key = self._path(name).read_bytes()
        except FileNotFoundError:
            return None
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about)

    def destroy(self, name: str) -> None:
        """Overwrite a key and remove it. One that is gone already is no error."""
        try:
            # Zeros first, synced: should a power cut bring the name back, the key is not behind it.
            with self._path(name).open("r+b") as file:
                file.write(bytes(_KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            self._path(name).unlink()
        except FileNotFoundError:
            return

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.key"
