"""Everything this project raises on purpose, sorted by who must act.

PruneGuardError
  InvalidInputError   the caller changes what they sent           exit code 2
  IntegrityError      stop and investigate: bytes and record      exit code 3
                      disagree
  UnavailableError    retry later: something we depend on         exit code 4
                      is down or taken
"""

from typing import ClassVar


class PruneGuardError(Exception):
    """Base class. A message says what was found, what was expected, and what to do next."""

    exit_code: ClassVar[int] = 1


class InvalidInputError(PruneGuardError):
    """A document, file, request or setting is malformed, or an act is not allowed to this actor."""

    exit_code = 2


class IntegrityError(PruneGuardError):
    """A digest, signature or ledger link does not match what it covers."""

    exit_code = 3


class UnavailableError(PruneGuardError):
    """A store, service or port did not answer or is taken."""

    exit_code = 4
