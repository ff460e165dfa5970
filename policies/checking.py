"""What is wrong with a policy although every line of it can be read: rules that no model can pass."""

from collections.abc import Iterator
from itertools import combinations

from policies.document import Draft
from pruneguard.policy import Policy, Rule, Subject


def objections(draft: Draft) -> Iterator[str]:
    """Every reason for which a policy cannot be used, with file and line: what cannot be read, else what no model can
    pass. What the gates of other packages let pass is not known here.
    """
    if draft.policy is None:
        yield from draft.objections
        return
    yield from _exclusions(draft, draft.policy)
    for rule in draft.policy.rules:
        if _refuses_the_twin(rule):
            why = (
                f"the dense twin is judged too, and its {rule.measurement} is 1: no model has a first release under "
                "this; add `subject: pruned`"
            )
            yield draft.objection(rule.name, "limit", why)


def _exclusions(draft: Draft, policy: Policy) -> Iterator[str]:
    """Two rules on one number of which one allows no more than less than the other asks for."""
    for pair in combinations(policy.rules, 2):
        if pair[0].measurement != pair[1].measurement:
            continue
        upper = next((rule for rule in pair if _is_upper(rule)), None)
        lower = next((rule for rule in pair if _is_lower(rule)), None)
        if upper and lower and (most := upper.parameters["limit"]) < (least := lower.parameters["limit"]):
            why = (
                f"{lower.name!r} asks for {least:g} or more, {upper.name!r} for {most:g} or less, and both judge "
                f"{upper.measurement}; no model passes both: change one of the limits"
            )
            yield draft.objection(pair[1].name, "limit", why)


def _refuses_the_twin(rule: Rule) -> bool:
    is_ratio = rule.measurement.startswith("efficiency.") and "_ratio" in rule.measurement
    return is_ratio and rule.subject is Subject.ANY and _is_upper(rule) and rule.parameters["limit"] < 1


def _is_upper(rule: Rule) -> bool:
    return rule.gate in ("at_most", "at_most_surely")


def _is_lower(rule: Rule) -> bool:
    return rule.gate in ("at_least", "at_least_surely")
