"""Where a service keeps what it writes: the ledger, its key, people's keys on this machine, artefacts."""

import contextlib
import os
import socket
from collections.abc import Mapping
from types import MappingProxyType

from pruneguard.accounts import register
from pruneguard.artifacts import Artifacts
from pruneguard.errors import InvalidInputError, UnavailableError
from pruneguard.files import appearing
from pruneguard.held import Shelf
from pruneguard.ledger.keys import Signer, load_log_key, load_signer, new_log_key, new_signer
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.state import Role
from pruneguard.privacy import subjects
from pruneguard.privacy.keys import SubjectKeys
from pruneguard.privacy.openings import Openings
from pruneguard.privacy.vault import Vault
from pruneguard.settings import Settings

TEAM: Mapping[str, Role] = MappingProxyType(
    {"root": Role.ADMIN, "ada": Role.ENGINEER, "grace": Role.APPROVER, "otto": Role.OPERATOR}
)
"""Who `pruneguard init --team` makes keys for: one machine, four hats, for trying things out."""


def create(settings: Settings, *, admin: str, origin: str | None = None, team: bool = False) -> Ledger:
    """Open a new ledger whose first key is `admin`'s own; with `team`, make and register the others' keys too.

    What an interrupted call has made already is taken up. Raises InvalidInputError when there is nothing left to do.
    """
    key_file = settings.keys_dir / "log.key"
    if not key_file.exists():
        new_log_key(key_file, origin or f"{socket.gethostname()}/pruneguard")
    log_key = load_log_key(key_file)
    ledger = Ledger.create_or_open(settings.ledger, origin=log_key.name, key=log_key)
    try:
        missing = {admin: Role.ADMIN} | (dict(TEAM) if team else {})
        missing = {actor: role for actor, role in missing.items() if actor not in ledger.state().people}
        if not missing:
            raise InvalidInputError(f"{settings.home.resolve()} has a ledger, {ledger.origin!r}; nothing was changed")
        root = _signer(settings, admin)
        for actor, role in missing.items():
            register(ledger, actor=actor, public_key=_signer(settings, actor).public_key, roles=[role], signer=root)
    except BaseException:
        ledger.close()
        raise
    return ledger


def _signer(settings: Settings, actor: str) -> Signer:
    path = settings.keys_dir / f"{actor}.key"
    return load_signer(path) if path.exists() else new_signer(path, actor)


def exists(settings: Settings) -> bool:
    """Whether `create` has been here."""
    return (settings.keys_dir / "log.key").exists()


def open_ledger(settings: Settings, *, verify: bool = False) -> Ledger:
    """The service's ledger, to read and write. `verify` re-hashes every entry first.

    Raises UnavailableError where none was made, IntegrityError where bytes and checkpoint disagree or where it does
    not continue what this machine saw of it: nothing may be signed on top of another history.
    """
    _require(settings)
    ledger = Ledger.open(settings.ledger, key=load_log_key(settings.keys_dir / "log.key"), verify=verify)
    try:
        Shelf(settings.held_dir).follow(ledger)
    except BaseException:
        ledger.close()
        raise
    return _reconciled(ledger, settings)


def read_ledger(settings: Settings, *, verify: bool = False) -> Ledger:
    """The service's ledger, to read."""
    _require(settings)
    return _reconciled(Ledger.open(settings.ledger, verify=verify), settings)


def artifacts(settings: Settings) -> Artifacts:
    return Artifacts(settings.artifacts)


def vault(settings: Settings) -> Vault:
    """Personal values, sealed, and the keys that open them."""
    return Vault(Openings(settings.privacy), SubjectKeys(settings.keys_dir / "subjects"))


def observations_key(settings: Settings) -> bytes:
    """What makes the digests of inputs; made when there is none yet. Without it they say nothing and match nothing."""
    path = settings.keys_dir / "observations.key"
    if not path.exists():
        # Whoever else made one in this moment made the one that is read below.
        with contextlib.suppress(InvalidInputError), appearing(path) as partial:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(os.urandom(32))
    return path.read_bytes()


def _reconciled(ledger: Ledger, settings: Settings) -> Ledger:
    """The ledger, after what it says is erased was removed once more: a backup may have brought it back."""
    try:
        # A vault that does not answer gives nothing away; it is emptied by whoever reaches it next.
        with contextlib.suppress(UnavailableError):
            subjects.reconcile(ledger, vault(settings))
    except BaseException:
        ledger.close()
        raise
    return ledger


def _require(settings: Settings) -> None:
    if not exists(settings):
        raise UnavailableError(
            f"no ledger in {settings.home.resolve()}; make one with `pruneguard init --team`, or name its folder in "
            "PRUNEGUARD_HOME"
        )
