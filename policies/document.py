"""Policies as people write and sign them: YAML in, `pruneguard.policy.Policy` out, every error with its line.

A policy names its gates in the order in which a report lists them. Optional parameters are filled in at loading, so
that the adopted policy says everything it rests on and no later default can change it.
"""

from pathlib import Path

from pruneguard import documents
from pruneguard.errors import InvalidInputError
from pruneguard.gates import GATES, objections
from pruneguard.ledger.shapes import is_name
from pruneguard.policy import Action, Canary, Monitoring, Policy, Rule, Subject

SHIPPED = Path(__file__).parent / "documents"


def shipped() -> list[str]:
    """Names of the policies that come with the service."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load_policy(reference: str | Path, *, relative_to: Path | None = None) -> Policy:
    """A policy out of a YAML file, or a shipped one by its name.

    A text that ends in .yaml or .yml or holds a slash is a path, relative to the folder `relative_to` where given.
    Raises InvalidInputError naming file, line and field for whatever is unknown, missing, doubled or impossible.
    """
    if isinstance(reference, str) and not documents.is_path(reference):
        if reference not in shipped():
            raise InvalidInputError(
                f"no policy {reference!r} is shipped; known are {shipped()}. "
                "A policy of your own is named by its path, ending in .yaml"
            )
        return _policy(documents.read(SHIPPED / f"{reference}.yaml"))
    return _policy(documents.read((relative_to or Path()) / reference))


def _policy(section: documents.Section) -> Policy:
    if not is_name(name := section.text("policy")):
        section.refuse("policy", f"expected 1 to 64 of a-z 0-9 . _ -, found {name!r}; rename it")
    policy = Policy(
        name=name,
        version=section.integer("version", 1, 1_000_000),
        purpose=section.text("purpose"),
        rules=_rules(section),
        approvals_min=section.integer("approvals_min", 1, 10, default=1),
        canary=_canary(section.section("canary")),
        monitoring=_monitoring(section.section("monitoring")),
        on_decay=section.choice("on_decay", Action, default=Action.ROLL_BACK),
        server_attested=section.flag("server_attested", default=True),
        waivers=section.flag("waivers", default=True),
        on_lapse=section.choice("on_lapse", Action, default=Action.NOTIFY),
    )
    section.done()
    return policy


def _rules(section: documents.Section) -> tuple[Rule, ...]:
    rules: dict[str, Rule] = {}
    for item in section.sections("gates"):
        rule = _rule(item)
        if rule.name in rules:
            item.refuse("name", f"a gate before this one is called {rule.name!r} already; name them apart")
        rules[rule.name] = rule
    return tuple(rules.values())


def _rule(section: documents.Section) -> Rule:
    gate, measurement = section.text("gate"), section.text("measurement")
    name = section.text("name", default=measurement)
    because, remedy = section.text("because"), section.text("remedy")
    subject = section.choice("subject", Subject, default=Subject.ANY)
    given = section.rest()
    for field, why in objections(gate, measurement, given):
        section.refuse(field, why)
    parameters = {key: float(value) for key, value in given.items() if isinstance(value, int | float)}
    return Rule(name, gate, measurement, GATES[gate].complete(parameters), because, remedy, subject)


def _canary(section: documents.Section | None) -> Canary:
    default = Canary()
    if section is None:
        return default
    canary = Canary(
        share=section.number("share", _is_share, "a share above 0, at most 1", default=default.share),
        requests_min=section.integer("requests_min", 1, 1_000_000_000, default=default.requests_min),
    )
    section.done()
    return canary


def _monitoring(section: documents.Section | None) -> Monitoring:
    default = Monitoring()
    if section is None:
        return default
    monitoring = Monitoring(
        twin_share=section.number("twin_share", _is_share, "a share above 0, at most 1", default=default.twin_share),
        alpha=section.number("alpha", lambda a: 0 < a <= 0.5, "a rate above 0, at most 0.5", default=default.alpha),
        tolerance=section.number(
            "tolerance", lambda t: 0 < t < 1, "a loss of accuracy above 0 and below 1", default=default.tolerance
        ),
    )
    section.done()
    return monitoring


def _is_share(value: float) -> bool:
    return 0 < value <= 1
