"""Policies as people write and sign them: YAML in, `pruneguard.policy.Policy` out, every error with its line.

A policy names its gates in the order in which a report lists them. One that `extends` another says only what differs:
rules of the same name are changed field by field, `remove` leaves rules out, each with its reason. Optional parameters
are filled in and parents resolved at loading, so that the adopted policy says everything it rests on and no later
default, and no later parent, can change it.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

from policies.terms import terms
from pruneguard import documents
from pruneguard.documents import Place, Section
from pruneguard.errors import InvalidInputError
from pruneguard.gates import GATES, objections
from pruneguard.ledger.shapes import is_name
from pruneguard.policy import Policy, Rule, Subject

SHIPPED = Path(__file__).parent / "documents"

Value = TypeVar("Value")

Refuse: TypeAlias = Callable[[str, str], NoReturn]
"""Raises InvalidInputError about a field, with the file and the line, for the reason given."""


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A file as far as it can be read: the policy, unless there are `objections`, and how to refuse each rule.

    `places` are where each rule is written and then, if that is in a parent, every `extends` on the way to this file.
    """

    policy: Policy | None
    refusing: Mapping[str, Refuse] = field(default_factory=dict)
    objections: tuple[str, ...] = ()
    places: Mapping[str, tuple[Place, ...]] = field(default_factory=dict)

    def objection(self, rule: str, key: str, why: str) -> str:
        """The sentence that refuses a field of a rule, with its line; of an inherited one, that of `extends`."""
        told: list[str] = []
        with _noting(told):
            self.refusing[rule](key, why)
        return told[0]


def shipped() -> list[str]:
    """Names of the policies that come with the service."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load_policy(reference: str | Path, *, relative_to: Path | None = None) -> Policy:
    """A policy out of a YAML file, or a shipped one by its name.

    A text that ends in .yaml or .yml or holds a slash is a path, relative to the folder `relative_to` where given.
    Raises InvalidInputError naming file, line and field for whatever is unknown, missing, doubled or impossible.
    """
    draft = read_policy(reference, relative_to=relative_to)
    if draft.policy is None:
        raise InvalidInputError(draft.objections[0])
    return draft.policy


def read_policy(reference: str | Path, *, relative_to: Path | None = None) -> Draft:
    """As `load_policy`, with everything that is wrong in the file instead of the first.

    Raises InvalidInputError where there is no such policy or file.
    """
    return _read(_path(reference, relative_to or Path()), ())


def _path(reference: str | Path, folder: Path) -> Path:
    if isinstance(reference, str) and not documents.is_path(reference):
        if reference not in shipped():
            raise InvalidInputError(
                f"no policy {reference!r} is shipped; known are {shipped()}. "
                "A policy of your own is named by its path, ending in .yaml"
            )
        return SHIPPED / f"{reference}.yaml"
    return folder / reference


def _read(path: Path, children: tuple[Path, ...]) -> Draft:
    content = documents.read_bytes(path)
    told: list[str] = []
    with _noting(told):
        section = documents.parse(content, path)
        return _draft(section, _parent(section, path, (*children, path)))
    return Draft(None, {}, tuple(told))


def _parent(section: Section, path: Path, chain: tuple[Path, ...]) -> Draft | None:
    """What a file extends. Refuses a parent that is not there, and one that extends its own child."""
    if not section.has("extends"):
        return None
    reference = section.text("extends")
    try:
        parent = _path(reference, path.parent)
    except InvalidInputError as error:
        section.refuse("extends", str(error))
    if not parent.is_file():
        section.refuse("extends", f"no such file: {parent}; give its path relative to this file, or a shipped name")
    if parent.resolve() in [child.resolve() for child in chain]:
        circle = " -> ".join(child.name for child in (*chain, parent))
        section.refuse("extends", f"a policy cannot extend itself: {circle}; end the chain at one that extends nothing")
    return _read(parent, chain)


def _draft(section: Section, parent: Draft | None) -> Draft:
    if parent is not None and parent.policy is None:
        return parent
    base = parent.policy if parent else None
    told: list[str] = []
    readers: dict[str, Callable[[], Any]] = {
        "name": partial(_name, section),
        "version": partial(section.integer, "version", 1, 1_000_000),
        "purpose": partial(section.text, "purpose"),
        **terms(section, base or Policy("", 1, "", ())),
    }
    fields: dict[str, Any] = {name: _told(told, read) for name, read in readers.items()}
    rules, own = _rules(section, base, told)
    _told(told, section.done)
    if not told and not rules:
        _told(told, partial(section.refuse, "remove", "no rule is left, and nothing passes a policy without rules"))
    policy = None if told else Policy(**fields, rules=tuple(rules.values()))
    inherited = parent.places if parent else {}
    return Draft(
        policy,
        {name: own[name].refuse if name in own else partial(_refuse_inherited, section, name) for name in rules},
        tuple(told),
        {name: (own[name].place(),) if name in own else (*inherited[name], section.place("extends")) for name in rules},
    )


def _name(section: Section) -> str:
    if not is_name(name := section.text("policy")):
        section.refuse("policy", f"expected 1 to 64 of a-z 0-9 . _ -, found {name!r}; rename it")
    return name


def _rules(section: Section, base: Policy | None, told: list[str]) -> tuple[dict[str, Rule], dict[str, Section]]:
    """Those of the parent, `base`, changed in place and without the removed, then the new; and the sections here."""
    inherited = {rule.name: rule for rule in base.rules} if base else {}
    removed = _told(told, partial(_removed, section, inherited, told)) or frozenset()
    rules = {name: rule for name, rule in inherited.items() if name not in removed}
    own: dict[str, Section] = {}
    if base is None or section.has("gates"):
        for item in _told(told, lambda: list(section.sections("gates"))) or ():
            name = _told(told, partial(_rule_name, item, own, removed))
            if name is None:
                continue
            own[name] = item
            if (rule := _rule(item, name, base, told)) is not None:
                rules[name] = rule
    return rules, own


def _refuse_inherited(section: Section, rule: str, key: str, why: str) -> NoReturn:
    section.refuse("extends", f"{key} of the inherited rule {rule!r}: {why}")


def _removed(section: Section, inherited: Mapping[str, Rule], told: list[str]) -> frozenset[str]:
    if (removing := section.section("remove")) is None:
        return frozenset()
    for name in removing.keys():  # noqa: SIM118  # a section is no mapping
        with _noting(told):
            if name not in inherited:
                removing.refuse(name, f"there is no such rule to remove{_hint(name, inherited)}")
            removing.text(name)  # why
    return frozenset(removing.keys())


def _rule_name(section: Section, own: Mapping[str, Section], removed: frozenset[str]) -> str:
    name = section.text("name") if section.has("name") else section.text("measurement")
    if name in own:
        section.refuse("name", f"a gate before this one is called {name!r} already; name them apart")
    if name in removed:
        section.refuse("name", f"{name!r} stands under `remove` too; keep one of the two")
    return name


def _rule(section: Section, name: str, base: Policy | None, told: list[str]) -> Rule | None:
    """A rule of its own, or the parent's of that name with what this section says put in its place."""
    start = len(told)
    old = next((rule for rule in base.rules if rule.name == name), None) if base else None
    if base and not old and not section.has("gate"):
        others = [rule.name for rule in base.rules]
        why = f"{base.name!r} has no rule {name!r} to change{_hint(name, others)}; a new one names its gate"
        _told(told, partial(section.refuse, "name", why))
        return None
    section.text("name", default=name)
    words = ("gate", "measurement", "because", "remedy")
    defaults = {key: getattr(old, key) if old else None for key in words}
    texts = {key: _told(told, partial(section.text, key, default=defaults[key])) or "" for key in words}
    gate, measurement = texts["gate"], texts["measurement"]
    subject = _told(told, partial(section.choice, "subject", Subject, default=old.subject if old else Subject.ANY))
    given = _told(told, section.rest)
    if given is None or not gate or not measurement:
        return None
    kept = {key: value for key, value in old.parameters.items() if _takes(gate, key)} if old else {}
    asked: dict[str, object] = {**kept, **given}
    for key, why in objections(gate, measurement, asked):
        _told(told, partial(section.refuse, key, why))
    if len(told) > start or subject is None:
        return None
    parameters = {key: float(value) for key, value in asked.items() if isinstance(value, int | float)}
    rule = Rule(name=name, parameters=GATES[gate].complete(parameters), subject=subject, **texts)
    if old and not section.has("because") and _judges(rule) != _judges(old):
        why = "missing; the rule is another than the one it comes from, so its reason is another: add it"
        _told(told, partial(section.refuse, "because", why))
    return rule


def _judges(rule: Rule) -> tuple[object, ...]:
    return rule.gate, rule.measurement, rule.parameters, rule.subject


def _takes(gate: str, parameter: str) -> bool:
    return gate in GATES and any(each.name == parameter for each in GATES[gate].parameters)


@contextmanager
def _noting(told: list[str]) -> Iterator[None]:
    """Write an objection down and go on after the block."""
    try:
        yield
    except InvalidInputError as error:
        told.append(str(error))


def _told(told: list[str], read: Callable[[], Value]) -> Value | None:
    """What was read; None, and a line more in `told`, where it is refused."""
    with _noting(told):
        return read()
    return None


def _hint(name: str, known: Mapping[str, object] | list[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; is {close[0]!r} meant?" if close else ""
