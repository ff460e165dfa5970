"""Gates that hold a number against a limit; the limit itself passes, and what is not a finite number never does."""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from pruneguard.evidence import Estimate, Measurement
from pruneguard.gates.gate import Answer, Check, Gate, Parameter, no_evidence
from pruneguard.verdict import Outcome

Holds: TypeAlias = Callable[[float, float], bool]


def _value_gate(sign: str, holds: Holds) -> Check:
    """A gate on the value alone."""

    def check(name: str, parameters: Mapping[str, float], measured: Mapping[str, Measurement]) -> Answer:
        limit = parameters["limit"]
        required = f"{sign} {limit:g}"
        estimate = _estimate(name, measured)
        if isinstance(estimate, str):
            return no_evidence(estimate, required)
        outcome = Outcome.PASSED if holds(estimate.value, limit) else Outcome.FAILED
        return Answer(outcome, _shown(estimate, limit), required, _flip(sign, estimate.value, limit))

    return check


def _sure_gate(sign: str, holds: Holds, end: Literal["low", "high"]) -> Check:
    """A gate on the far end of the interval: a value that passes with an interval that does not is underpowered."""

    def check(name: str, parameters: Mapping[str, float], measured: Mapping[str, Measurement]) -> Answer:
        limit = parameters["limit"]
        required = f"{sign} {limit:g} with the whole interval"
        estimate = _estimate(name, measured)
        if isinstance(estimate, str):
            return no_evidence(estimate, required)
        judged = _finite(estimate.high if end == "high" else estimate.low)
        if judged is None:
            return no_evidence(f"{name} has no {end} end of its interval", required)
        if not holds(estimate.value, limit):
            outcome = Outcome.FAILED
        else:
            outcome = Outcome.PASSED if holds(judged, limit) else Outcome.UNDERPOWERED
        flip = f"the {end} end {_flip(sign, judged, limit)}"
        if outcome is Outcome.UNDERPOWERED:
            flip += "; more rows narrow the interval"
        return Answer(outcome, _shown(estimate, limit), required, flip)

    return check


def _estimate(name: str, measured: Mapping[str, Measurement]) -> Estimate | str:
    """The number to judge, or why there is none."""
    match measured.get(name):
        case None:
            return f"{name} was not measured"
        case Estimate() as estimate:
            return estimate if math.isfinite(estimate.value) else f"{name} is not a finite number"
        case _:
            return f"{name} is a paired table; this gate judges a number"


def _finite(end: float | None) -> float | None:
    """An end of an interval as the record keeps it, where NaN is missing: in memory and read back, one finding."""
    return end if end is not None and math.isfinite(end) else None


def _shown(estimate: Estimate, limit: float) -> str:
    value = f"{estimate.value:.6g}"
    if float(value) == limit != estimate.value:
        value = repr(float(estimate.value))  # rounded, it would read as if it stood on the limit
    unit = "" if estimate.unit == "1" else f" {estimate.unit}"
    low, high = _finite(estimate.low), _finite(estimate.high)
    measured = low is not None and high is not None and low < high  # what was counted has no interval to show
    interval = [f"{low:.4g} to {high:.4g}"] if measured else []
    details = interval + ([f"n {estimate.n}"] if estimate.n else [])
    return f"{value}{unit}" + (f" ({', '.join(details)})" if details else "")


def _flip(sign: str, judged: float, limit: float) -> str:
    """How far the judged number would have to move to turn the outcome."""
    distance = f"{abs(judged - limit):.3g}"
    if judged == limit:
        return "higher by anything" if sign == "<=" else "lower by anything"
    if judged > limit:
        return f"lower by {distance}" if sign == "<=" else f"lower by more than {distance}"
    return f"higher by more than {distance}" if sign == "<=" else f"higher by {distance}"


_LIMIT = (Parameter("limit", "the last value that passes"),)

LIMITS = (
    Gate("at_most", "The measured value is the limit or less.", Estimate, _LIMIT, _value_gate("<=", operator.le)),
    Gate("at_least", "The measured value is the limit or more.", Estimate, _LIMIT, _value_gate(">=", operator.ge)),
    Gate(
        "at_most_surely",
        "The upper end of the interval is the limit or less; underpowered when only the value is.",
        Estimate,
        _LIMIT,
        _sure_gate("<=", operator.le, "high"),
    ),
    Gate(
        "at_least_surely",
        "The lower end of the interval is the limit or more; underpowered when only the value is.",
        Estimate,
        _LIMIT,
        _sure_gate(">=", operator.ge, "low"),
    ),
)
