"""Which version answers: out of the ledger's state, purely."""

import hashlib
from dataclasses import dataclass

from pruneguard.ledger.state import Model, Release, State, Status


@dataclass(frozen=True, slots=True)
class Target:
    """A release that may answer: its number, which clients call the version, and the digest of its ONNX bytes."""

    number: int
    digest: str


@dataclass(frozen=True, slots=True)
class Route:
    """What one model's traffic goes to. `share` of it goes to the canary; `fallback` is kept warm for a rollback.

    `diverted` says by whom and why all of it was taken away from what is live: then `live` is what stands in, if
    anything does, and no other version can be asked for by its number either.
    """

    live: Target | None
    canary: Target | None = None
    share: float = 0.0
    fallback: Target | None = None
    diverted: str = ""
    withdrawn: frozenset[int] = frozenset()
    """Numbers of releases that were rolled back: none of them answers again, even where nothing else can."""


def routes(state: State) -> dict[str, Route]:
    """The route of every model that has a live version or a canary."""
    return {name: _route(model) for name, model in state.models.items() if model.live or model.canary}


def takes_canary(key: str, *, model: str, number: int, share: float) -> bool:
    """Whether the request with this key goes to the canary `number`: the same key always gets the same answer.

    A key that is in stays in when the share grows, and another release draws its own keys.

    >>> takes_canary("anna", model="digits", number=2, share=1.0)
    True
    >>> takes_canary("anna", model="digits", number=2, share=0.0)
    False
    """
    drawn = hashlib.blake2b(f"{model}/{number}/{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(drawn, "big") < share * 2**64


def describe(route: Route) -> dict[int, str]:
    """Every version that can be asked for, and as what it stands.

    >>> describe(Route(Target(2, "sha256:b"), Target(3, "sha256:c"), 0.1, Target(1, "sha256:a")))
    {2: 'live', 3: 'canary 10 %', 1: 'fallback'}
    """
    live = "live" if not route.diverted else route.diverted
    stands = ((route.live, live), (route.canary, f"canary {100 * route.share:.3g} %"), (route.fallback, "fallback"))
    return {target.number: standing for target, standing in stands if target}


def takes_copy(request: str, *, model: str, number: int, share: float) -> bool:
    """Whether the shadow `number` answers this request as well. Drawn apart from the canary's keys."""
    return takes_canary(request, model=f"{model} copied", number=number, share=share)


def _route(model: Model) -> Route:
    if (diverted := model.diverted) is not None:
        stand_in = model.releases[diverted.to] if diverted.to is not None else None
        return Route(_target(stand_in), diverted=f"diverted by {diverted.by}: {diverted.reason}")
    canary = model.canary
    return Route(
        _target(model.live),
        _target(canary),
        canary.share if canary else 0.0,
        _target(model.fallback),
        withdrawn=frozenset(r.number for r in model.releases.values() if r.status is Status.ROLLED_BACK),
    )


def _target(release: Release | None) -> Target | None:
    return Target(release.number, release.digest) if release else None
