"""The JSON Schema of a policy document, for editors: made from the gates and measurements that there are.

It knows what a name, a number and a gate's parameters can be. What it cannot know (two rules of one name, what a parent
has) `pruneguard policy check` tells.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from enum import StrEnum
from typing import Any

from policies.document import shipped
from policies.terms import DAYS_MAX
from pruneguard.evidence import Estimate
from pruneguard.gates import GATES, MEASUREMENTS, Gate, Parameter
from pruneguard.gates.measurements import Scale
from pruneguard.policy import Action, Canary, Monitoring, Policy, Subject

Schema = dict[str, Any]

_DOCS = {
    "policy": "the policy's name; verdicts and releases are recorded under it",
    "version": "raised with every change that is to come into force",
    "extends": "another policy, a shipped name or a path relative to this file, of which this file says what differs",
    "purpose": "what the policy is for, in a sentence that whoever signs it agrees to",
    "approvals_min": "how many people must approve a release",
    "canary": "how a release comes to answer everything, and when it is stopped on the way",
    "monitoring": "what the twin monitor may spend and how often it may be wrong",
    "on_decay": "what follows when the monitor calls a release decayed",
    "server_attested": "whether an approval may be a click that the service attests",
    "waivers": "whether a person may take on a failed rule, for one candidate and 90 days at most",
    "on_lapse": "what follows when a waiver ends while the release takes traffic",
    "evidence_days_max": "how many days old evidence may be when it is judged; any age where it is left out",
    "remove": "rules of the extended policy that do not hold here, each with the reason",
    "gates": "the rules; under `extends`, one of an inherited name says only what changes",
}
_RULE_DOCS = {
    "name": "what findings call the rule; the measurement's name where it is left out",
    "gate": "how the measurement is judged",
    "measurement": "what is judged",
    "because": "why the numbers are what they are",
    "remedy": "what a person can do when the rule is not passed",
    "subject": "which models it is for: the dense twin is judged too, but cannot be faster than itself",
}


def schema() -> Schema:
    """A JSON Schema (draft 2020-12) that holds for what `load_policy` takes."""
    default = Policy("", 1, "", ())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A PruneGuard policy",
        "description": "What a pruned model must prove before it is released.",
        "type": "object",
        "properties": _described(
            _DOCS,
            policy={"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"},
            version=_whole(1, 1_000_000),
            extends=_text() | {"examples": shipped()},
            purpose=_text(),
            approvals_min=_whole(1, 10) | {"default": default.approvals_min},
            canary=_section(
                steps={"type": "array", "minItems": 1, "items": _step()},
                alpha=_number(above=0) | {"maximum": 0.5},
                worse_max=_margin(),
                slower_max=_margin(),
                of=Canary(),
            ),
            monitoring=_section(
                twin_share=_share(),
                alpha=_number(above=0) | {"maximum": 0.5},
                tolerance=_number(above=0, below=1),
                of=Monitoring(),
            ),
            on_decay=_one_of(Action) | {"default": default.on_decay.value},
            server_attested={"type": "boolean", "default": default.server_attested},
            waivers={"type": "boolean", "default": default.waivers},
            on_lapse=_one_of(Action) | {"default": default.on_lapse.value},
            evidence_days_max=_whole(1, DAYS_MAX),
            remove={"type": "object", "additionalProperties": _text()},
            gates={"type": "array", "minItems": 1},
        ),
        "required": ["policy", "version", "purpose"],
        "additionalProperties": False,
        "if": {"required": ["extends"]},
        "then": {"properties": {"gates": {"items": {"$ref": "#/$defs/change"}}}},
        "else": {
            "required": ["gates"],
            "properties": {"gates": {"items": {"$ref": "#/$defs/rule"}}, "remove": False},
        },
        "$defs": {
            "rule": {"$ref": "#/$defs/change", "required": ["gate", "measurement", "because", "remedy"]},
            "change": _change(),
        },
    }


def _change() -> Schema:
    """What any rule can say, in an `extends` or not: with a gate, that gate's parameters and no others."""
    parameters = {p.name: {"type": "number", "description": p.doc} for g in GATES.values() for p in g.parameters}
    own = _described(
        _RULE_DOCS,
        name=_text(),
        gate=_listed((gate.name, gate.doc) for gate in GATES.values()),
        measurement=_listed((name, _told(scale)) for name, scale in MEASUREMENTS.items()),
        because=_text(),
        remedy=_text(),
        subject=_one_of(Subject) | {"default": Subject.ANY.value},
    )
    return {
        "type": "object",
        "properties": own | parameters,
        "additionalProperties": False,
        "anyOf": [{"required": ["name"]}, {"required": ["measurement"]}],
        "allOf": [*map(_of_gate, GATES.values()), *_ranges()],
    }


def _of_gate(gate: Gate) -> Schema:
    fitting = [name for name, scale in MEASUREMENTS.items() if scale.kind is gate.judges]
    return {
        "if": {"properties": {"gate": {"const": gate.name}}, "required": ["gate", "measurement"]},
        "then": {
            "properties": {"measurement": {"enum": fitting}} | {p.name: _parameter(p) for p in gate.parameters},
            "propertyNames": {"enum": [*_RULE_DOCS, *(p.name for p in gate.parameters)]},
            "required": [p.name for p in gate.parameters if p.default is None],
        },
    }


def _ranges() -> Iterator[Schema]:
    """A limit outside of what a measurement can be would decide nothing."""
    scales = [scale for scale in MEASUREMENTS.values() if scale.kind is Estimate]
    for low, high in sorted({(scale.low, scale.high) for scale in scales}):
        names = [n for n, s in MEASUREMENTS.items() if s.kind is Estimate and (s.low, s.high) == (low, high)]
        ends = {key: end for key, end in (("minimum", low), ("maximum", high)) if abs(end) < float("inf")}
        yield {
            "if": {"properties": {"measurement": {"enum": names}}, "required": ["measurement"]},
            "then": {"properties": {"limit": ends}},
        }


def _parameter(parameter: Parameter) -> Schema:
    default = {} if parameter.default is None else {"default": parameter.default}
    return {"description": parameter.doc} | _number(above=parameter.above, below=parameter.below) | default


def _told(scale: Scale) -> str:
    return f"{scale.doc} ({scale.low:g} to {scale.high:g})" if scale.kind is Estimate else f"{scale.doc} (paired table)"


def _described(docs: dict[str, str], **properties: Schema) -> Schema:
    return {name: {"description": docs[name]} | schema for name, schema in properties.items()}


def _section(*, of: Canary | Monitoring, **properties: Schema) -> Schema:
    defaults = {field.name: getattr(of, field.name) for field in fields(of)}
    if isinstance(of, Canary):
        defaults["steps"] = [asdict(step) for step in of.steps]
    return {
        "type": "object",
        "properties": {name: schema | {"default": defaults[name]} for name, schema in properties.items()},
        "additionalProperties": False,
    }


def _listed(known: Iterable[tuple[str, str]]) -> Schema:
    """Editors show the second list beside the first; validators leave it alone."""
    names, docs = zip(*known, strict=True)
    return {"enum": list(names), "markdownEnumDescriptions": list(docs)}


def _one_of(kind: type[StrEnum]) -> Schema:
    return {"enum": [member.value for member in kind]}


def _text() -> Schema:
    return {"type": "string", "pattern": r"\S"}


def _whole(low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


def _share() -> Schema:
    return _number(above=0) | {"maximum": 1}


def _step() -> Schema:
    """Shares that grow from step to step: that they do, a schema cannot say."""
    return {
        "type": "object",
        "properties": {
            "share": _number(above=0, below=1),
            "requests_min": _whole(1, 1_000_000_000),
            "seconds_min": _whole(0, 10_000_000) | {"default": 0},
        },
        "required": ["share", "requests_min"],
        "additionalProperties": False,
    }


def _margin() -> Schema:
    return {"type": "number", "minimum": 0, "exclusiveMaximum": 1}


def _number(*, above: float | None = None, below: float | None = None) -> Schema:
    ends = {"exclusiveMinimum": above, "exclusiveMaximum": below}
    return {"type": "number"} | {key: end for key, end in ends.items() if end is not None}
