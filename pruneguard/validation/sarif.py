"""A validation as SARIF 2.1.0 (OASIS), for code scanning: every rule of the policy, and a result for each refusal.

A rule that passed has no result: code scanning shows whatever is listed as an alert, whatever its `kind`. Pure.
"""

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from pruneguard import __version__
from pruneguard.documents import Place
from pruneguard.policy import Rule
from pruneguard.validation.result import Source, Validation
from pruneguard.verdict import Finding

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def render(validation: Validation, *, places: Mapping[str, Place]) -> bytes:
    """The log. Names of files are taken as they were given: code scanning wants them relative to the repository.

    `places` are where a policy's rules are written; a result about another points at the policy's first line.
    """
    rules = [*validation.policy.rules, *validation.left_out]
    index = {rule.name: place for place, rule in enumerate(rules)}
    policy = Place(Path(validation.name("policy")), 1)
    known = {_uri(source.name): number for number, source in enumerate(validation.sources) if source.role == "policy"}
    results = [
        _result(finding, index[finding.rule], _where(places.get(finding.rule, policy), known))
        for finding in validation.findings
        if not finding.allows
    ]
    driver = {
        "name": "PruneGuard",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_rule(rule, left_out=rule in validation.left_out) for rule in rules],
    }
    run = {
        "tool": {"driver": driver},
        "artifacts": [_artifact(source) for source in validation.sources],
        "results": results,
        "columnKind": "unicodeCodePoints",
        "properties": {"passed": validation.passed, "headline": validation.headline},
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return (json.dumps(log, indent=2, ensure_ascii=False) + "\n").encode()


def _rule(rule: Rule, *, left_out: bool) -> dict[str, Any]:
    parameters = ", ".join(f"{name} {value:g}" for name, value in sorted(rule.parameters.items()))
    return {
        "id": rule.name,
        "shortDescription": {"text": f"{rule.measurement}: {rule.gate}, {parameters}"},
        "fullDescription": {"text": rule.because},
        "help": {"text": rule.remedy},
        "defaultConfiguration": {"enabled": not left_out, "level": "error"},
    }


def _where(place: Place, known: Mapping[str, int]) -> dict[str, Any]:
    """A line of a file; of one in the log's own list, with its number there."""
    uri = _uri(str(place.file))
    file = {"uri": uri, "index": known[uri]} if uri in known else {"uri": uri}
    return {"physicalLocation": {"artifactLocation": file, "region": {"startLine": place.line}}}


def _result(finding: Finding, index: int, where: dict[str, Any]) -> dict[str, Any]:
    message = (
        f"{finding.outcome.value}: {finding.observed}; required {finding.required}. "
        f"Would turn it: {finding.flip}. {finding.remedy}"
    )
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "kind": "fail",  # underpowered and no evidence refuse as well; "open" would allow no level but "none"
        "level": "error",
        "message": {"text": message},
        "locations": [where],
        "partialFingerprints": {"rule/v1": finding.rule},
        "properties": {"outcome": finding.outcome.value, "gate": finding.gate},
    }


def _artifact(source: Source) -> dict[str, Any]:
    roles = {"model": ["analysisTarget"], "policy": ["policy"]}.get(source.role, ["referencedOnCommandLine"])
    said, digest = {"text": f"{source.role}: {source.name}"}, source.digest.removeprefix("sha256:")
    return {
        "location": {"description": said} if source.role == "data" else {"uri": _uri(source.name)},
        "roles": roles,
        "description": said,
        # What names policy and data is no hash of a file: the same rules or rows in another file have the same name.
        **(
            {"hashes": {"sha-256": digest}} if source.role in ("model", "twin") else {"properties": {"sha-256": digest}}
        ),
    }


def _uri(name: str) -> str:
    path = PurePath(name)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
