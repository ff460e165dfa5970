"""A witness's own key and the file it lies in: JSON with mode 0600, written once and never overwritten."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from pruneguard.errors import InvalidInputError, UnavailableError
from pruneguard.files import appearing
from pruneguard.ledger import notes

if TYPE_CHECKING:
    from pruneguard.ledger.notes import CosigningKey

ALGORITHMS = ("ed25519", "ml-dsa-44")
_KIND = "witness-key/v1"


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """What a witness signs with, and the name it goes by."""

    name: str
    key: "CosigningKey"

    @property
    def verifier(self) -> notes.Verifier:
        return notes.cosigner_of(self.name, self.key)


def new(path: Path, name: str, *, algorithm: str = "ed25519") -> WitnessKey:
    """Make a key and keep it at `path`, where nothing may be yet.

    Ed25519 is checked by every tool; ML-DSA-44 withstands quantum computers too, and is what the format recommends.
    """
    if algorithm not in ALGORITHMS:
        raise InvalidInputError(f"a witness's key is one of {', '.join(ALGORITHMS)}; found {algorithm!r}")
    made = WitnessKey(name, Ed25519PrivateKey.generate() if algorithm == "ed25519" else notes.new_mldsa_key())
    document = {
        "kind": _KIND,
        "vkey": made.verifier.vkey,
        "private_key": made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    }
    with (
        appearing(path) as partial,
        os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file,
    ):
        file.write(json.dumps(document, indent=1) + "\n")
    return made


def load(path: Path) -> WitnessKey:
    """Raises UnavailableError when absent, InvalidInputError when it is no such key or not private to its owner."""
    try:
        mode, content = path.stat().st_mode & 0o777, path.read_bytes()
    except OSError as error:
        raise UnavailableError(
            f"no key can be read at {path}: {error.strerror}; make one with `pruneguard witness new`"
        ) from error
    if mode & 0o077:
        raise InvalidInputError(f"{path} has mode {mode:04o}: others can read this key; run `chmod 600 {path}`")
    try:
        document = json.loads(content)
        if document["kind"] != _KIND:
            raise InvalidInputError(f"{path} is a {document['kind']!r} file; expected {_KIND!r}")
        told = notes.Verifier.parse(document["vkey"])
        key = load_pem_private_key(document["private_key"].encode(), None)
        loaded = WitnessKey(told.name, key)  # type: ignore[arg-type]  # the comparison below refuses other kinds
        if loaded.verifier != told:
            raise InvalidInputError(f"{path}: the private key is not the one of the verifier key beside it")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidInputError(f"{path} is no witness's key: {type(error).__name__} {error}") from error
    except UnsupportedAlgorithm as error:
        raise UnavailableError(f"{path}: the installed `cryptography` cannot use this key: {error}") from error
    return loaded
