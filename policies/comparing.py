"""What changes from one policy to another, rule by rule: laxer, stricter, new, gone, or neither."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from pruneguard.policy import Action, Policy, Rule, Step, Subject


class Change(StrEnum):
    LAXER = "laxer"
    STRICTER = "stricter"
    NEW = "new"
    GONE = "gone"
    CHANGED = "changed"  # judges otherwise: neither lets all pass that the other does
    WORDS = "words"  # judges the same


@dataclass(frozen=True, slots=True)
class Difference:
    """One rule or term, what became of it, and from what to what."""

    name: str
    change: Change
    detail: str

    @property
    def lets_more_pass(self) -> bool:
        return self.change in (Change.LAXER, Change.GONE, Change.CHANGED)

    def to_document(self) -> dict[str, str]:
        return {"name": self.name, "change": self.change.value, "detail": self.detail}


_UP, _DOWN = 1, -1
LAXER: Mapping[tuple[str, str], int] = MappingProxyType(
    {
        ("at_most", "limit"): _UP,
        ("at_most_surely", "limit"): _UP,
        ("at_least", "limit"): _DOWN,
        ("at_least_surely", "limit"): _DOWN,
        ("non_inferior", "margin"): _UP,
        ("non_inferior", "alpha"): _UP,  # less confidence is asked for
        ("slices_non_inferior", "margin"): _UP,
        ("slices_non_inferior", "alpha"): _DOWN,  # a slice is called worse less easily
        ("slices_non_inferior", "rows_min"): _UP,  # fewer slices are tested
    }
)
"""Which way a parameter of ours has to move for more models to pass; of other packages' gates nobody here knows."""

_TERMS: Mapping[str, int] = MappingProxyType(
    {
        "approvals_min": _DOWN,
        "canary.alpha": _DOWN,
        "canary.worse_max": _UP,
        "canary.slower_max": _UP,
        "monitoring.twin_share": _DOWN,
        "monitoring.alpha": _DOWN,
        "monitoring.tolerance": _UP,
        "on_decay": _UP,
        "server_attested": _UP,
        "waivers": _UP,
        "on_lapse": _UP,
        "evidence_days_max": _UP,
    }
)


def differences(old: Policy, new: Policy) -> list[Difference]:
    """Terms first, then the rules in the order of `new`, then those that are gone. Empty where both decide the same."""
    before = {rule.name: rule for rule in old.rules}
    after = {rule.name: rule for rule in new.rules}
    found = [*_terms(old, new)]
    for name, rule in after.items():
        if name not in before:
            found.append(Difference(name, Change.NEW, _told(rule)))
        elif (difference := _rule(before[name], rule)) is not None:
            found.append(difference)
    found += (Difference(name, Change.GONE, _told(rule)) for name, rule in before.items() if name not in after)
    return found


def _terms(old: Policy, new: Policy) -> Iterator[Difference]:
    before, after = _term_values(old), _term_values(new)
    for name, laxer in _TERMS.items():
        if before[name] != after[name]:
            way = _rank(after[name]) - _rank(before[name])
            change = Change.LAXER if way * laxer > 0 else Change.STRICTER
            yield Difference(name, change, f"{_shown(before[name])} -> {_shown(after[name])}")
    if old.canary.steps != new.canary.steps:
        told = f"{_ladder(old.canary.steps)} -> {_ladder(new.canary.steps)}"
        yield Difference("canary.steps", _climb(old.canary.steps, new.canary.steps), told)
    if old.purpose != new.purpose:
        yield Difference("purpose", Change.WORDS, new.purpose)


def _term_values(policy: Policy) -> dict[str, object]:
    parts = {"canary": policy.canary, "monitoring": policy.monitoring}
    return {name: getattr(parts.get(name.partition(".")[0], policy), name.rpartition(".")[2]) for name in _TERMS}


def _climb(old: Sequence[Step], new: Sequence[Step]) -> Change:
    """Stricter where a release begins no larger, and stands no shorter before each share that it comes to."""
    ends = sorted({step.share for step in (*old, *new)} | {1.0})
    before, after = ([_patience(steps, end) for end in ends] for steps in (old, new))
    if all(late[i] >= early[i] for early, late in zip(before, after, strict=True) for i in (0, 1)):
        return Change.STRICTER
    if all(late[i] <= early[i] for early, late in zip(before, after, strict=True) for i in (0, 1)):
        return Change.LAXER
    return Change.CHANGED


def _patience(steps: Sequence[Step], share: float) -> tuple[int, int]:
    """Requests and seconds before a release has this share or more."""
    below = [step for step in steps if step.share < share]
    return sum(step.requests_min for step in below), sum(step.seconds_min for step in below)


def _ladder(steps: Sequence[Step]) -> str:
    return ", ".join(f"{step.share:g} for {step.requests_min} requests and {step.seconds_min} s" for step in steps)


def _rank(value: Any) -> float:
    """Larger is more, for what is no number too: to notify is laxer than to roll back, and no limit than any."""
    return math.inf if value is None else float(value is Action.NOTIFY if isinstance(value, Action) else value)


def _rule(old: Rule, new: Rule) -> Difference | None:
    changes, details = set(), []
    for key in sorted(old.parameters.keys() | new.parameters.keys()):
        before, after = old.parameters.get(key), new.parameters.get(key)
        if before == after:
            continue
        details.append(f"{key} {_shown(before)} -> {_shown(after)}")
        if before is not None and after is not None:
            changes.add(_direction((after - before) * LAXER.get((new.gate, key), 0)))
    if old.gate != new.gate:
        details.insert(0, f"{old.gate} -> {new.gate}")
        changes.add(_of_gates(old.gate, new.gate))
    if old.measurement != new.measurement:
        details.insert(0, f"{old.measurement} -> {new.measurement}")
        changes.add(Change.CHANGED)
    if old.subject != new.subject:
        details.append(f"for {old.subject} models -> for {new.subject} models")
        changes.add(Change.LAXER if new.subject is Subject.PRUNED else Change.STRICTER)
    if changes:
        return Difference(new.name, changes.pop() if len(changes) == 1 else Change.CHANGED, ", ".join(details))
    if (old.because, old.remedy) != (new.because, new.remedy):
        return Difference(new.name, Change.WORDS, new.because if old.because != new.because else new.remedy)
    return None


def _direction(way: float) -> Change:
    return Change.LAXER if way > 0 else Change.STRICTER if way < 0 else Change.CHANGED


def _of_gates(old: str, new: str) -> Change:
    """A gate on the whole interval lets nothing pass that its fellow on the value does not."""
    if new == f"{old}_surely":
        return Change.STRICTER
    return Change.LAXER if old == f"{new}_surely" else Change.CHANGED


def _told(rule: Rule) -> str:
    parameters = ", ".join(f"{key} {value:g}" for key, value in sorted(rule.parameters.items()))
    return f"{rule.gate} on {rule.measurement}" + (f" ({parameters})" if parameters else "")


def _shown(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value).lower()


def summary(found: Sequence[Difference]) -> str:
    """How many of each kind, most telling first."""
    counted = {change: sum(difference.change is change for difference in found) for change in Change}
    return ", ".join(f"{count} {change}" for change, count in counted.items() if count) or "they decide the same"
