"""Personal values at rest: sealed openings and their keys, as one thing that can be filled, read and emptied."""

import fcntl
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag

from pruneguard.errors import IntegrityError
from pruneguard.privacy.commitments import Opening
from pruneguard.privacy.keys import SubjectKeys
from pruneguard.privacy.openings import Openings, Sealed


@dataclass(frozen=True, slots=True)
class Kept:
    """One thing that is known of a person, and the commitment to it that stands in the ledger."""

    name: str
    value: str = field(repr=False)
    commitment: str


@dataclass(frozen=True, slots=True)
class Vault:
    openings: Openings
    keys: SubjectKeys

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the only process that describes or forgets somebody; waits for another one to end."""
        self.keys.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.keys.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def keep(self, subject: str, fields: Mapping[str, Opening]) -> None:
        """Seal openings under the subject's key; a new one where there is none, or none any more."""
        keys = (row.key for row in self.openings.of(subject) if self.keys.exists(row.key))
        key = next(keys, None) or self.keys.new()
        rows = []
        for name, opening in fields.items():
            sealed = self.keys.seal(key, opening.encode(), about=_about(opening.commitment, subject, name))
            rows.append(Sealed(opening.commitment, subject, name, key, sealed))
        self.openings.add(rows)

    def read(self, subject: str) -> list[Kept]:
        """The subject's values, by field; those whose key is gone are not among them.

        Raises IntegrityError when a row opens as something other than what its commitment says.
        """
        found = []
        for row in self.openings.of(subject):
            try:
                content = self.keys.open(row.key, row.sealed, about=_about(row.commitment, row.subject, row.field))
            except InvalidTag as error:
                raise self._changed(row) from error
            if content is None:
                continue
            opening = Opening.decode(content)
            if opening.commitment != row.commitment:
                raise self._changed(row)
            found.append(Kept(row.field, opening.value, row.commitment))
        return found

    def forget(self, commitments: Collection[str]) -> int:
        """Destroy the keys of these openings, then the openings; returns how many there were.

        In this order: whatever is left when this is cut short is still found by its row, and cannot be read.
        """
        rows = self.openings.all()
        gone = [row for row in rows if row.commitment in commitments]
        for key in {row.key for row in gone} - {row.key for row in rows if row.commitment not in commitments}:
            self.keys.destroy(key)
        if gone:
            self.openings.remove([row.commitment for row in gone])
        return len(gone)

    def _changed(self, row: Sealed) -> IntegrityError:
        return IntegrityError(
            f"{self.openings.place}: the value behind {row.commitment} does not open as what the ledger committed to; "
            "somebody changed it or its key. Restore both from a backup"
        )


def _about(commitment: str, subject: str, field: str) -> bytes:
    return "\n".join((commitment, subject, field)).encode()
