"""Control frameworks that come with the service: the files, by name. `pruneguard.audit.frameworks` reads them."""

from collections.abc import Sequence
from pathlib import Path

from pruneguard.errors import IntegrityError, InvalidInputError

SHIPPED = Path(__file__).parent / "frameworks"


def shipped() -> list[str]:
    """Names of the frameworks that come with the service."""
    return sorted(path.stem for path in SHIPPED.glob("*.json"))


def load_frameworks(names: Sequence[str] | None = None) -> dict[str, bytes]:
    """The files of these frameworks, or of all, by name. Raises InvalidInputError for a name that is not shipped."""
    known = shipped()
    if unknown := sorted(set(names or ()) - set(known)):
        raise InvalidInputError(f"no framework {unknown[0]!r} is shipped; known are {known}")
    try:
        return {name: (SHIPPED / f"{name}.json").read_bytes() for name in sorted(set(names or known))}
    except OSError as error:
        raise IntegrityError(f"{SHIPPED}: {error}; restore the file from the release") from error
