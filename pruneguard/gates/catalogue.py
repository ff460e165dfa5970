"""Gates and measurements by name: our own, and those that other packages bring by their entry points.

    [project.entry-points."pruneguard.gates"]
    at_least_median = "my_package.gates:AT_LEAST_MEDIAN"     a pruneguard.gates.Gate with a `trial`
    [project.entry-points."pruneguard.evidence"]
    letters = "my_package.evidence"                          what has `scales` and `families(case)`

What a package brings is called by the package, a slash and its own name, `my-package/at_least_median`: so nothing of
ours can be replaced, no two packages get in each other's way, and whoever signs a policy reads whose code decides.
Packages are imported once, when such a name is first looked up. One that cannot be imported is an UnavailableError that
names it, never a gate that is missing.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from pruneguard.errors import UnavailableError
from pruneguard.evidence import Measurement
from pruneguard.gates.gate import Answer, Check, Gate, Trial, Tried, no_evidence
from pruneguard.gates.measurements import Scale
from pruneguard.verdict import Outcome

GATES_GROUP = "pruneguard.gates"
EVIDENCE_GROUP = "pruneguard.evidence"

Value = TypeVar("Value")


class Catalogue(Mapping[str, Value], Generic[Value]):
    """What PruneGuard brings, `own`, and what other packages bring, by name. Only a name with a slash imports them."""

    def __init__(self, own: Mapping[str, Value], foreign: Callable[[], Mapping[str, Value]]) -> None:
        self.own, self._foreign = own, foreign

    def __getitem__(self, name: str) -> Value:
        return self.own[name] if package(name) is None else self._foreign()[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from self._foreign()

    def __len__(self) -> int:
        return len(self.own) + len(self._foreign())


def package(name: str) -> str | None:
    """The package that brings this gate or measurement; None for PruneGuard's own.

    >>> package("my-package/letters.f2"), package("quality.flips")
    ('my-package', None)
    """
    before, slash, _ = name.partition("/")
    return before if slash else None


def absent(name: str) -> str:
    """Why a name with a slash is not known here, and what to do."""
    brought_by = str(package(name))
    try:
        found = distribution(brought_by).version
    except (PackageNotFoundError, ValueError):  # ValueError: the name is empty
        return f"it comes with the package {brought_by!r}, which is not installed here; install it and try again"
    return f"the package {brought_by!r} is installed here as {found} and does not bring it; install one that does"


@cache
def entries(group: str) -> tuple[tuple[EntryPoint, str], ...]:
    """The entry points of a group with the package of each, always in one order."""
    found = [(entry, _normal(entry)) for entry in entry_points(group=group)]
    return tuple(sorted(found, key=lambda pair: (pair[1], pair[0].name)))


def _normal(entry: EntryPoint) -> str:
    """A package's name in the one spelling that package indexes know (PEP 503)."""
    assert entry.dist is not None  # that of whatever was found among installed packages is known
    return re.sub(r"[-_.]+", "-", entry.dist.name).lower()


@cache
def foreign_gates() -> Mapping[str, Gate]:
    """The gates of all installed packages. Raises UnavailableError naming the package that breaks its promise."""
    return _collected(GATES_GROUP, _gate)


@cache
def foreign_scales() -> Mapping[str, Scale]:
    """The measurements of all installed packages. Raises UnavailableError as `foreign_gates` does."""
    return _collected(EVIDENCE_GROUP, _scales)


def _gate(place: str, gate: Any) -> Iterator[tuple[str, Gate]]:
    if not isinstance(gate, Gate):
        raise UnavailableError(f"{place} is a {type(gate).__name__}; expected a pruneguard.gates.Gate")
    if gate.trial is None:
        raise UnavailableError(
            f"{place} has no `trial`; a gate of a package brings evidence that it passes and evidence that it refuses, "
            "to be tried with before it judges"
        )
    trial = _named_trial(gate.trial, place)
    yield gate.name, replace(gate, check=_guarded(gate.check), trial=trial)


def _scales(place: str, source: Any) -> Iterator[tuple[str, Scale]]:
    scales = getattr(source, "scales", None)
    if not isinstance(scales, Mapping) or not callable(getattr(source, "families", None)):
        raise UnavailableError(f"{place} lacks `scales`, a mapping, or `families`, a function of the case")
    for name, scale in scales.items():
        if not isinstance(scale, Scale):
            raise UnavailableError(f"{place}: the scale of {name!r} is a {type(scale).__name__}; expected a Scale")
        yield name, scale


def _collected(group: str, read: Callable[[str, Any], Iterator[tuple[str, Value]]]) -> Mapping[str, Value]:
    collected: dict[str, Value] = {}
    places: dict[str, str] = {}
    for entry, brought_by in entries(group):
        place = f"entry point {entry.name!r} ({entry.value}) of the package {brought_by!r}"
        try:
            loaded = entry.load()
        except Exception as error:  # the package's code may raise anything at its import
            raise UnavailableError(
                f"{place} cannot be imported: {type(error).__name__}: {error}; mend the package or remove it"
            ) from error
        for own_name, value in read(place, loaded):
            name = f"{brought_by}/{own_name}"
            if name in collected:
                raise UnavailableError(f"{place} brings {name!r}, and so does {places[name]}; name them apart")
            collected[name] = replace(value, name=name) if isinstance(value, Gate) else value
            places[name] = place
    return MappingProxyType(collected)


def _guarded(check: Check) -> Check:
    """The check, whose every failure is an answer: no evidence, and never a pass or the end of the other rules."""

    def guarded(name: str, parameters: Mapping[str, float], measured: Mapping[str, Measurement]) -> Answer:
        try:
            answer = check(name, parameters, measured)
        except Exception as error:  # noqa: BLE001  the package's code may raise anything, and the rule must not vanish
            return no_evidence(f"the gate failed: {type(error).__name__}: {error}", "an answer of the gate")
        if not isinstance(answer, Answer) or answer.outcome not in set(Outcome) - {Outcome.WAIVED}:
            return no_evidence(f"the gate answered {answer!r:.60}", "an answer of the gate")
        return replace(answer, outcome=Outcome(answer.outcome))

    return guarded


def _named_trial(trial: Trial, place: str) -> Trial:
    """The trial, whose every failure names the package."""

    def named(name: str, parameters: Mapping[str, float]) -> Tried:
        try:
            return trial(name, parameters)
        except Exception as error:  # the package's code may raise anything; it is the package that must change
            raise UnavailableError(f"{place}: its trial failed: {type(error).__name__}: {error}") from error

    return named
