"""What a gate is: a name, the parameters it takes, and a pure check that answers with reasons."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pruneguard.evidence import Estimate, Measurement, PairedTable
from pruneguard.verdict import Outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gate says of one measurement: the part of a finding that the gate knows."""

    outcome: Outcome
    observed: str
    required: str
    flip: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number a gate takes. Optional where it has a default; `above` and `below` are not allowed themselves."""

    name: str
    doc: str
    default: float | None = None
    above: float | None = None
    below: float | None = None

    def objection(self, value: object) -> str | None:
        """Why this value cannot be; None when it can."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{self.name} is {value!r}; expected a number"
        fits = (self.above is None or value > self.above) and (self.below is None or value < self.below)
        return None if fits and value - value == 0 else f"{self.name} is {value:g}; expected {self.range}"

    @property
    def range(self) -> str:
        ends = [f"above {self.above:g}"] if self.above is not None else []
        ends += [f"below {self.below:g}"] if self.below is not None else []
        return "a number " + " and ".join(ends) if ends else "a finite number"


Check: TypeAlias = Callable[[str, Mapping[str, float], Mapping[str, Measurement]], Answer]
"""Name of the measurement, the parameters (complete), and everything measured -> answer."""

Tried: TypeAlias = tuple[Mapping[str, Measurement], Mapping[str, Measurement]]
Trial: TypeAlias = Callable[[str, Mapping[str, float]], Tried]
"""Name of the measurement and the parameters (complete) -> what the gate lets pass with them, and what it refuses."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One kind of rule. `judges` is the type of measurement that it can look at.

    A gate of another package (`catalogue`) brings its own `trial`; ours are tried by `selftest`.
    """

    name: str
    doc: str
    judges: type[Estimate] | type[PairedTable]
    parameters: tuple[Parameter, ...]
    check: Check
    trial: Trial | None = None

    def complete(self, given: Mapping[str, float]) -> dict[str, float]:
        """The parameters with defaults filled in."""
        defaults = {p.name: p.default for p in self.parameters if p.default is not None}
        return {**defaults, **given}

    def objections(self, given: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        """Pairs of parameter and reason for which this gate cannot work with these parameters."""
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in sorted(given.keys() - known.keys()):
            yield name, f"gate {self.name!r} takes no {name!r}; it takes {sorted(known)}"
        for parameter in self.parameters:
            if parameter.name not in given:
                if parameter.default is None:
                    yield parameter.name, f"gate {self.name!r} needs {parameter.name!r}: {parameter.doc}"
            elif reason := parameter.objection(given[parameter.name]):
                yield parameter.name, reason


def no_evidence(why: str, required: str) -> Answer:
    return Answer(Outcome.NO_EVIDENCE, why, required, "a valid measurement")


def points(share: float) -> str:
    """A difference of shares as people say it.

    >>> points(-0.0123)
    '-1.23 points'
    """
    return f"{100 * share:+.2f} points"
