"""The kinds of parts that an analysis looks at, and what there is of them in a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pruneguard.analysis.subject import Subject
from pruneguard.errors import InvalidInputError
from pruneguard.pruning import budgets, criteria
from pruneguard.pruning.group import Group, Part
from pruneguard.pruning.recipe import Recipe

WEIGHTS = "weights"


@dataclass(frozen=True, slots=True)
class Team:
    """Groups that can only be cut together: one, or all of a recurrent layer's level; `criterion` orders the parts."""

    part: Part
    criterion: str
    groups: tuple[Group, ...]

    @property
    def name(self) -> str:
        return " + ".join(dict.fromkeys(group.root for group in self.groups))

    def alone(self, group: Group) -> bool:
        """Whether no other group here stands under the same name."""
        return [each.root for each in self.groups].count(group.root) == 1

    @property
    def width(self) -> int:
        """Parts of each group."""
        return max(group.width for group in self.groups)


def asked(recipe: Recipe | None) -> dict[str, str]:
    """Kind -> criterion: those that a recipe prunes, or all there are. Movement is learnt, so magnitude stands in.

    >>> from pruneguard.pruning.recipe import recipe, step
    >>> asked(recipe("wide", [step({"prune": "channels", "criterion": "taylor"})]))
    {'channels': 'taylor'}
    """
    if recipe is None:
        return {part.value: criteria.default(part) for part in Part} | {WEIGHTS: "magnitude"}
    kinds = {step.method.what: str(step.knobs["criterion"]) for step in recipe.steps if step.method.verb == "prune"}
    if not kinds:
        raise InvalidInputError(f"recipe {recipe.name!r} prunes nothing: {recipe.words}; name one with a step `prune`")
    return {kind: "magnitude" if criterion == "movement" else criterion for kind, criterion in kinds.items()}


def teams(subject: Subject, kinds: Mapping[str, str]) -> tuple[list[Team], dict[str, str]]:
    """All groups of these kinds in the network, in their order, and why each layer that no kind reaches is in none.

    Neurons that stand among the channels already are left out.
    """
    found: list[Team] = []
    untouched: dict[str, str] = {}
    seen: set[frozenset[tuple[str, int]]] = set()
    for kind, criterion in kinds.items():
        if kind == WEIGHTS:
            continue
        part = Part(kind)
        try:
            parts = subject.twin.known.find(part, subject.twin.model, subject.example)
        except InvalidInputError as error:
            untouched[kind] = str(error)
            continue
        untouched |= parts.untouched
        for members in budgets.together(parts.groups):
            groups = tuple(parts.groups[number] for number in members)
            owned = frozenset((each.tensor, each.dim) for group in groups for each in group.owned)
            if not owned or owned not in seen:
                seen.add(owned)
                found.append(Team(part, criterion, groups))
    reached = {group.root for team in found for group in team.groups}
    return found, {layer: why for layer, why in untouched.items() if layer not in reached}


def require_any(found: Sequence[object], untouched: Mapping[str, str], *, network: str) -> None:
    """Raises InvalidInputError where there is nothing to look at."""
    if not found:
        why = "; ".join(f"{layer}: {reason}" for layer, reason in untouched.items())
        raise InvalidInputError(f"{network} has nothing that could leave{': ' + why if why else ''}; take other kinds")
