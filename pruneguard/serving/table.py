"""What the gateway serves right now: versions that are loaded and warm, in one immutable table."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from reprlib import repr as brief
from time import perf_counter
from typing import Protocol

import numpy as np

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.sessions import Session
from pruneguard.serving.batching import Batches, Joining, joinable
from pruneguard.serving.protocol import RequestError, TensorSpec
from pruneguard.serving.routing import Route, Target, describe, takes_canary

WARM_UPS = 3
ANY_SIZE = 32  # of a dimension that the model leaves open, while it warms up


class Store(Protocol):
    """Where ONNX bytes come from: `pruneguard.artifacts.Artifacts`, which checks every digest that it is asked for."""

    def get(self, name: str) -> bytes: ...


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A release that can answer: its rows go through `batches`."""

    number: int
    digest: str
    session: Session
    input: TensorSpec
    output: TensorSpec
    batches: Batches


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """One model: its route with only what is loaded, its versions by number, and why others could not be loaded."""

    model: str
    route: Route
    versions: Mapping[int, Version]
    failures: Mapping[int, str]

    def for_key(self, key: str) -> Version:
        """The version that answers the request with this key: the canary for its share of the keys, else what is live.

        Raises RequestError (503) where nothing is live and the key is not the canary's.
        """
        canary = self.route.canary
        if canary and takes_canary(key, model=self.model, number=canary.number, share=self.route.share):
            return self.versions[canary.number]
        return self.live()

    def live(self) -> Version:
        """The version that is live. Raises RequestError (503) where none is, or it could not be loaded."""
        if self.route.live is None:
            why = f"; {self.route.diverted}" if self.route.diverted else ""
            why += "".join(f"; release {number} cannot be loaded: {reason}" for number, reason in self.failures.items())
            raise RequestError(f"nothing is live: {self}{why}", status=503)
        return self.versions[self.route.live.number]

    def named(self, text: str) -> Version:
        """The version a client asks for by name. Raises RequestError (404) where it is not one of those served."""
        version = next((version for number, version in self.versions.items() if str(number) == text), None)
        if version is None:
            raise RequestError(f"version {brief(text)} is not served; {self}", status=404)
        return version

    @property
    def ready(self) -> bool:
        return self.route.live is not None

    def __str__(self) -> str:
        standing = [f"{number} ({what})" for number, what in describe(self.route).items()]
        return f"{self.model!r} serves {', '.join(standing) or 'no version yet'}"


Table = Mapping[str, Served]


def load(store: Store, target: Target, *, threads: int, joining: Joining) -> Version:
    """Load a version and run it until it is warm. `joining` says how its requests share runs, if its rows can.

    Raises what the store raises, InvalidInputError when the network does not answer with one row of finite logits for
    a row of zeros, and whatever the runtime raises for bytes that are no network.
    """
    session = Session(store.get(target.digest), threads=threads)
    row = np.zeros((1, *(ANY_SIZE if size == -1 else size for size in session.input_shape)), np.float32)
    seconds = float("inf")
    for _ in range(WARM_UPS):
        started = perf_counter()
        logits = session.logits(row)
        seconds = min(seconds, perf_counter() - started)
    if logits.shape != (1, session.width) or not np.isfinite(logits).all():
        raise InvalidInputError(
            f"{target.digest} answers a row of zeros with {logits.tolist()} of shape {list(logits.shape)}; "
            f"expected {session.said}, finite"
        )
    return Version(
        target.number,
        target.digest,
        session,
        TensorSpec("input", tuple(session.input_shape)),
        TensorSpec("number" if session.classes is None else "logits", (session.width,)),
        Batches(session, row_seconds=seconds, apart=not joinable(session, row.shape[1:]), how=joining),
    )


def targets(route: Route) -> Iterator[Target]:
    """What a route needs, most urgent first."""
    return (target for target in (route.live, route.canary, route.fallback) if target)


def table(
    wanted: Mapping[str, Route], *, loaded: Mapping[Target, Version], failures: Mapping[Target, str], before: Table
) -> dict[str, Served]:
    """The table for the routes that are `wanted`, out of what is loaded.

    A model whose live version is not loaded goes on as before; one whose traffic was taken away, by a rollback or a
    diversion, and cannot go where it should answers nothing. A canary or fallback that is not loaded is left out: a
    rollback never waits for one.
    """
    return {name: _served(name, route, loaded, failures, before.get(name)) for name, route in wanted.items()}


def _served(
    name: str,
    route: Route,
    loaded: Mapping[Target, Version],
    failures: Mapping[Target, str],
    before: Served | None,
) -> Served:
    failed = {target.number: failures[target] for target in targets(route) if target in failures}
    # What the traffic was taken away from must not answer it, even where what should cannot be loaded.
    left = before.route.live if before else None
    if route.live in failures and (route.diverted or (left and left.number in route.withdrawn)):
        return Served(name, replace(route, live=None, canary=None, fallback=None), {}, failed)
    if route.live and route.live not in loaded:
        return replace(before or Served(name, Route(None), {}, {}), failures=failed)
    usable = replace(
        route,
        canary=route.canary if route.canary in loaded else None,
        fallback=route.fallback if route.fallback in loaded else None,
    )
    return Served(name, usable, {target.number: loaded[target] for target in targets(usable)}, failed)
