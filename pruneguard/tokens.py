"""The acts about bearer tokens: who may call the gateway, for what, and until when.

A token is a random text of 256 bits that is shown once. The ledger keeps its SHA-256, under which nothing can be
guessed: a slow hash would only slow down every request.
"""

import secrets
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.events import Event, utc
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.ledger import Ledger, Recorded
from pruneguard.ledger.state import Act

EVERY_MODEL = "*"
_PREFIX = "pgt_"  # by which scanners find one that leaked
_SECRET_BYTES = 32
_SECRET_CHARACTERS = 43


def issue(
    ledger: Ledger,
    *,
    name: str,
    holder: str,
    acts: Collection[Act],
    models: Collection[str],
    per_second: int,
    until: datetime | timedelta,
    reason: str,
    signer: Signer,
) -> tuple[str, Recorded]:
    """An admin gives a holder a new token. Its text is the first of what is returned, and is kept nowhere.

    Raises InvalidInputError with every reason for which it may not be.
    """
    text, now = new_text(name), datetime.now(UTC)
    data = {
        "token": name,
        "holder": holder,
        "acts": sorted({act.value for act in acts}),
        "models": sorted(set(models)),
        "per_second": per_second,
        "expires": utc(now + until if isinstance(until, timedelta) else until),
        "reason": reason,
    }
    event = Event("token.issued", signer.actor, data, {"secret": digest(text)}, time=utc(now))
    return text, ledger.record(event, signer=signer)


def revoke(ledger: Ledger, *, name: str, reason: str, signer: Signer) -> Recorded:
    """A token counts no more, at every gateway as soon as it has read the ledger."""
    return ledger.record(Event("token.revoked", signer.actor, {"token": name, "reason": reason}), signer=signer)


def acts_of(names: Collection[str]) -> list[Act]:
    """Acts by their names. Raises InvalidInputError naming those there are."""
    if unknown := sorted(set(names) - set(Act)):
        raise InvalidInputError(f"unknown acts {unknown}; a token is for {', '.join(Act)}")
    return [Act(name) for name in names]


def new_text(name: str) -> str:
    """A new text for the token of this name: no two are alike, and no one can be guessed."""
    return f"{_PREFIX}{name}_{secrets.token_urlsafe(_SECRET_BYTES)}"


def name_in(text: str) -> str:
    """The name that a token's text claims, before anything is believed; empty for what is no token.

    >>> name_in("pgt_ci_nightly_" + 43 * "x"), name_in("pgt_" + 43 * "x"), name_in("secret")
    ('ci_nightly', '', '')
    """
    name = text.removeprefix(_PREFIX)[: -_SECRET_CHARACTERS - 1]
    return name if text == f"{_PREFIX}{name}_{text[-_SECRET_CHARACTERS:]}" else ""


def digest(text: str) -> str:
    """What the ledger keeps of a token's text."""
    return canonical.digest(text.encode("utf-8", "surrogatepass"))
