"""What a person says about a control of a framework: a statement, a document, or both, signed with their own key."""

from datetime import UTC, date, datetime

from pruneguard.artifacts import Artifacts
from pruneguard.audit.bundle import DOCUMENT_BYTES_MAX
from pruneguard.audit.frameworks import Framework
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.events import Event, utc
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.ledger import Ledger, Recorded


def attach(
    ledger: Ledger,
    artifacts: Artifacts,
    *,
    framework: Framework,
    control: str,
    title: str,
    statement: str = "",
    document: bytes | None = None,
    expires: datetime | None = None,
    model: str | None = None,
    signer: Signer,
) -> Recorded:
    """Record it, and store the document under its digest; it stays there for as long as the log names it.

    Raises InvalidInputError for a control that the framework does not have, a model that the ledger does not know,
    nothing to say, a document that no bundle would carry, and an end that has passed.
    """
    found = framework.control(control)
    known = ledger.state().models
    if model is not None and model not in known:
        raise InvalidInputError(f"no model {model!r}; this ledger knows {sorted(known) or 'none yet'}")
    if document is None and not statement.strip():
        raise InvalidInputError("nothing to attach; name a file, or write a --statement")
    if document is not None and not 0 < len(document) <= DOCUMENT_BYTES_MAX:
        raise InvalidInputError(
            f"the document has {len(document)} bytes; a bundle carries 1 to {DOCUMENT_BYTES_MAX}. Attach a shorter "
            "one that says where the long one is kept, with its SHA-256"
        )
    if expires is not None and expires <= datetime.now(UTC):
        raise InvalidInputError(f"{utc(expires)} has passed; name a day on which this still holds")
    data = {
        "framework": framework.name,
        "control": found.id,
        "title": title.strip() or (statement.strip().splitlines() or [found.id])[0][:100],
        "statement": statement.strip(),
        **({"expires": utc(expires)} if expires else {}),
        **({"model": model} if model else {}),
    }
    refs = {} if document is None else {"document": artifacts.put(document)}
    return ledger.record(Event("document.attached", signer.actor, data, refs), signer=signer)


def day(text: str) -> datetime:
    """The first moment of a day in UTC, from which on what expires then does not hold any more.

    >>> day("2027-03-01").isoformat()
    '2027-03-01T00:00:00+00:00'
    """
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise InvalidInputError(f"{text!r} is no day; write it as 2027-03-01") from None
    return datetime(found.year, found.month, found.day, tzinfo=UTC)
