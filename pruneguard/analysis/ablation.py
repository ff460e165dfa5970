"""What the network loses without one component, without any training after it.

Heads, blocks and experts leave one at a time, as in Michel et al. 2019 (arXiv 1905.10650). A group of channels, neurons
or units is silenced as a whole instead: everything that it owns becomes zero, and what it stood beside answers alone.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from pruneguard.analysis.kinds import Team, asked, require_any, teams
from pruneguard.analysis.subject import Subject, difference_document
from pruneguard.errors import InvalidInputError
from pruneguard.evidence import PairedTable
from pruneguard.pruning import parts, surgery
from pruneguard.pruning.budgets import ROUNDED
from pruneguard.pruning.recipe import Recipe
from pruneguard.reporting import listener


@dataclass(frozen=True, slots=True)
class Component:
    """What was left out. `share` is what it has of the network's weights; `table` is None where `reason` says why."""

    kind: str
    name: str
    share: float
    table: PairedTable | None
    reason: str = ""

    def to_document(self) -> dict[str, Any]:
        facts = {"kind": self.kind, "component": self.name, "share_of_weights": self.share}
        return facts | difference_document(self.table) | {"why": self.reason}


@dataclass(frozen=True, slots=True)
class Ablation:
    """All components in the order of the network; `accuracy` is the twin's, on `rows` rows."""

    model: str
    rows: int
    accuracy: float
    components: tuple[Component, ...]
    untouched: Mapping[str, str]

    def to_document(self) -> dict[str, Any]:
        return {
            "analysis": "ablation",
            "model": self.model,
            "split": "gate",
            "rows": self.rows,
            "twin_accuracy": self.accuracy,
            "components": [component.to_document() for component in self.components],
            "untouched": dict(self.untouched),
        }


@dataclass(frozen=True, slots=True)
class _Absence:
    """A component, and how the network without it is made."""

    kind: str
    name: str
    share: float
    without: Callable[[], nn.Module]


def measure(subject: Subject, *, recipe: Recipe | None = None) -> Ablation:
    """Leave out each component of the kinds that the recipe prunes, or of every kind that there is.

    Raises InvalidInputError where there is none.
    """
    found, untouched = teams(subject, asked(recipe))
    absences = [absence for team in found for absence in _absences(subject, team, untouched)]
    require_any(absences, untouched, network=subject.manifest.model)
    bar = listener.get().progress("leaving out one component at a time")
    components = []
    for done, absence in enumerate(absences, start=1):
        components.append(_component(subject, absence))
        bar(done, len(absences))
    return Ablation(subject.manifest.model, len(subject.rows), subject.accuracy, tuple(components), untouched)


def _component(subject: Subject, absence: _Absence) -> Component:
    try:
        table = subject.compared(absence.without())
    except InvalidInputError as error:
        return Component(absence.kind, absence.name, absence.share, None, str(error))
    return Component(absence.kind, absence.name, absence.share, table)


def _absences(subject: Subject, team: Team, untouched: dict[str, str]) -> Iterator[_Absence]:
    twin, kind = subject.twin.model, team.part.value
    if team.part in ROUNDED:
        for group in team.groups:  # each alone: what is silent keeps its shape
            every = {0: range(group.width)}
            left = surgery.share_left(twin, surgery.consequence(twin, [group], every))
            where = "" if team.alone(group) else f" {group.numbers[0][0]} to {group.numbers[-1][-1]}"
            yield _Absence(kind, group.root + where, 1 - left, partial(surgery.silenced, twin, [group], every))
        return
    for number, group in enumerate(team.groups):
        if group.width <= group.least:
            untouched[group.root] = f"{group.width} {kind}, of which {group.least} must stay"
            continue
        for part, numbers in enumerate(group.numbers):
            chosen = {number: (part,)}
            left = surgery.share_left(twin, surgery.consequence(twin, team.groups, chosen))
            name = f"{group.root} {', '.join(map(str, numbers))}"
            yield _Absence(kind, name, 1 - left, _cutting(subject, team, chosen))


def _cutting(subject: Subject, team: Team, chosen: surgery.Chosen) -> Callable[[], nn.Module]:
    def without() -> nn.Module:
        twin = subject.twin.model
        kept = surgery.consequence(twin, team.groups, chosen)
        model, _ = parts.cut(twin, removed=surgery.removal(team.groups, chosen), kept=kept)
        surgery.require_alive(twin, model, subject.example)
        return model

    return without
