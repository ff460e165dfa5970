"""A released version taken out of the ledger to be used by other means than a gateway: under the same admission."""

from dataclasses import dataclass

from pruneguard.errors import InvalidInputError
from pruneguard.ledger.ledger import Ledger
from pruneguard.ledger.state import Release, State, Status
from pruneguard.releases import find_model, find_release
from pruneguard.serving.admission import Admission
from pruneguard.serving.routing import routes
from pruneguard.serving.table import Store, targets


@dataclass(frozen=True, slots=True)
class Chosen:
    """A release that may be used, its ONNX bytes, and the position of the ledger that says so."""

    release: Release
    onnx: bytes
    origin: str
    size: int
    """Entries of the ledger by which it was admitted."""


def answering(ledger: Ledger, store: Store, *, model: str, number: int | None = None) -> Chosen:
    """The version that answers a model's requests now, or the one of those that do with this number.

    Raises InvalidInputError where a gateway would not answer from it, with every reason.
    """
    state = ledger.state()
    known = find_model(state, model)
    served = [target.number for target in targets(route)] if (route := routes(state).get(model)) else []
    if number is None:
        if route is None or route.live is None:
            raise InvalidInputError(f"nothing of {known.name} is live; release a version, or name one that answers")
        number = route.live.number
    if number not in served:
        raise InvalidInputError(f"{model} {number} answers no requests; what does is {served or 'nothing'}")
    return _admitted(state, store, find_release(state, model=model, number=number))


def released(ledger: Ledger, store: Store, *, model: str, number: int | None = None) -> Chosen:
    """The live version, or the one with this number if it is approved, in canary or live.

    Raises InvalidInputError where there is none or it may not be used, with every reason.
    """
    state = ledger.state()
    if number is None:
        live = find_model(state, model).live
        if live is None:
            raise InvalidInputError(f"nothing of {model} is live; name an approved release by its number")
        number = live.number
    release = find_release(state, model=model, number=number)
    if release.status not in (Status.APPROVED, Status.CANARY, Status.LIVE):
        raise InvalidInputError(f"{model} {number} is {release.status}; only what is approved, canary or live goes out")
    return _admitted(state, store, release)


def _admitted(state: State, store: Store, release: Release) -> Chosen:
    if why := Admission(store).objections(state, release.model, release.number):
        raise InvalidInputError(f"{release.model} {release.number} may not be used: {'; '.join(why)}")
    return Chosen(release, store.get(release.digest), state.origin, state.size)
