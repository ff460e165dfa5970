"""`pruneguard-recall/every_slice_at_least`: in a policy, `limit` is the last value that passes."""

from collections.abc import Mapping

from pruneguard.evidence import Estimate, Measurement
from pruneguard.gates import Gate, Parameter
from pruneguard.gates.gate import Answer, no_evidence
from pruneguard.verdict import Outcome


def every_slice_at_least(name: str, parameters: Mapping[str, float], measured: Mapping[str, Measurement]) -> Answer:
    """Pure, and what is missing or not a number is never a pass: `nan >= limit` is false."""
    limit, prefix = parameters["limit"], f"{name}.slice."
    required = f"every slice >= {limit:g}"
    slices = {key.removeprefix(prefix): m for key, m in measured.items() if key.startswith(prefix)}
    values = {label: m.value for label, m in slices.items() if isinstance(m, Estimate)}
    if not values or values.keys() != slices.keys():
        return no_evidence(f"{name} has no slices that are numbers", required)
    low = {label: value for label, value in values.items() if not value >= limit}
    worst = min(low or values, key=values.__getitem__)
    outcome = Outcome.FAILED if low else Outcome.PASSED
    flip = f"{worst} by {abs(values[worst] - limit):.3g}"
    return Answer(outcome, f"{len(low)} of {len(values)} slices below; {worst} {values[worst]:.4g}", required, flip)


def _trial(name: str, parameters: Mapping[str, float]) -> tuple[dict[str, Measurement], dict[str, Measurement]]:
    """What PruneGuard tries the gate with before it judges: evidence that passes, and evidence that must not."""
    limit = parameters["limit"]
    good = {f"{name}.slice.a": Estimate(limit), f"{name}.slice.b": Estimate(limit)}
    return good, {**good, f"{name}.slice.b": Estimate(limit - 0.05)}


EVERY_SLICE_AT_LEAST = Gate(
    "every_slice_at_least",
    "No slice of the number is below the limit.",
    Estimate,
    (Parameter("limit", "the last value that passes", above=0, below=1),),
    every_slice_at_least,
    _trial,
)
