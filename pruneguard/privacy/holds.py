"""Legal holds: while one stands, nothing of its scope is erased or dropped. The rules of the ledger see to that."""

from pruneguard.ledger.events import Event
from pruneguard.ledger.keys import Signer
from pruneguard.ledger.ledger import Ledger


def place(ledger: Ledger, *, hold: str, scope: str, reason: str, signer: Signer) -> int:
    """Place a hold on `telemetry`, `all` or `subject:PERSON`; returns the position of the event."""
    event = Event("hold.placed", signer.actor, {"hold": hold, "scope": scope, "reason": reason})
    return ledger.record(event, signer=signer).index


def lift(ledger: Ledger, *, hold: str, reason: str, signer: Signer) -> int:
    """Lift a hold; returns the position of the event."""
    return ledger.record(Event("hold.lifted", signer.actor, {"hold": hold, "reason": reason}), signer=signer).index
