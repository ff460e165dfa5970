"""`pruneguard-recall/recall`: the share of a class's rows that the candidate finds, class by class."""

from collections.abc import Iterator
from typing import Any

from pruneguard.evidence import Estimate, Measurement
from pruneguard.gates.measurements import Scale

scales = {"recall": Scale(Estimate, 0, 1, "mean over the classes of the share of a class's rows that are found")}


def families(case: Any) -> Iterator[Any]:
    """What costs something to import is imported here: a verifier reads the scales alone."""
    from pruneguard.evaluation.evaluate import Family
    from pruneguard.evaluation.sessions import predictions

    def measure() -> dict[str, Measurement]:
        found = predictions(case.logits[0]) == case.rows.y  # the candidate's; NaN is no answer, and never a right one
        of_class = {int(label): found[case.rows.y == label] for label in sorted(set(case.rows.y.tolist()))}
        each = {label: Estimate(float(hits.mean()), n=len(hits)) for label, hits in of_class.items()}
        mean = Estimate(sum(one.value for one in each.values()) / len(each), n=len(found))
        return {"recall": mean, **{f"recall.slice.class={label}": one for label, one in each.items()}}

    yield Family("recall", measure)
