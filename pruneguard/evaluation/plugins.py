"""Evidence that other packages measure (`pruneguard.gates.catalogue` says how they are found and named)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

from pruneguard.errors import InvalidInputError, PruneGuardError
from pruneguard.evaluation.case import Case
from pruneguard.evaluation.family import Family
from pruneguard.evidence import Estimate, Measurement, PairedTable
from pruneguard.gates.catalogue import EVIDENCE_GROUP, entries, foreign_scales
from pruneguard.gates.measurements import Scale

Value = TypeVar("Value")


class EvidenceSource(Protocol):
    """What an entry point of `pruneguard.evidence` names: which measurements there are, and how they are made.

    Names are the package's own, without its name before them. What is heavy to import belongs
    inside `families`: a verifier reads the scales alone.
    """

    scales: Mapping[str, Scale]

    def families(self, case: Case) -> Iterable[Family]: ...


def families(case: Case) -> list[Family]:
    """What other packages measure of a case, named after them: to be made last, after everything of our own.

    Raises UnavailableError for a package that breaks its promise; InvalidInputError, then or when a family is measured,
    for whatever its code raises, and for a measurement that it has not declared or that is none.
    """
    foreign_scales()  # imports and checks what was declared
    made: list[Family] = []
    for entry, package in entries(EVIDENCE_GROUP):
        source: EvidenceSource = entry.load()
        made += (_named(family, package) for family in _asked(package, "families()", partial(_listed, source, case)))
    return made


def versions() -> dict[str, str]:
    """Which version of each such package measured, for the record."""
    return {f"package {package}": str(entry.dist and entry.dist.version) for entry, package in entries(EVIDENCE_GROUP)}


def _listed(source: EvidenceSource, case: Case) -> list[Family]:
    return list(source.families(case))


def _named(family: Family, package: str) -> Family:
    name = f"{package}/{family.name}"

    def measure() -> dict[str, Measurement]:
        found = _asked(package, f"measuring {family.name!r}", lambda: dict(family.measure()))
        return {f"{package}/{each}": _checked(package, each, value) for each, value in found.items()}

    return replace(
        family, name=name, measure=measure, lacks=partial(_asked, package, f"lacks() of {name}", family.lacks)
    )


def _checked(package: str, name: str, value: object) -> Measurement:
    scale = foreign_scales().get(f"{package}/{name.partition('.slice.')[0]}")
    if scale is None or not isinstance(value, Estimate | PairedTable) or not isinstance(value, scale.kind):
        expected = "a name out of its scales" if scale is None else f"a value of type {scale.kind.__name__}"
        raise InvalidInputError(
            f"the package {package!r} measured {name!r}, a {type(value).__name__}; expected {expected}; mend it there"
        )
    return value


def _asked(package: str, what: str, ask: Callable[[], Value]) -> Value:
    try:
        return ask()
    except PruneGuardError:
        raise  # it says already who must do what
    except Exception as error:  # the package's code may raise anything; it is the package that must change
        raise InvalidInputError(
            f"the package {package!r}: {what} failed: {type(error).__name__}: {error}; mend it there"
        ) from error
