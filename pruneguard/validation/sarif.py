"""A validation as SARIF 2.1.0 (OASIS), for code scanning: every rule of the policy, and a result for each refusal.

A rule that passed has no result: code scanning shows whatever is listed as an alert, whatever its `kind`. Pure.
"""

import json
import re
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from pruneguard import __version__
from pruneguard.policy import Rule
from pruneguard.validation.result import Source, Validation
from pruneguard.verdict import Finding

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def render(validation: Validation, *, policy_text: str = "") -> bytes:
    """The log. Names of files are taken as they were given: code scanning wants them relative to the repository.

    `policy_text` is the policy's file: with it a result points at the line that names its rule.
    """
    rules = [*validation.policy.rules, *validation.left_out]
    index = {rule.name: place for place, rule in enumerate(rules)}
    place = next(place for place, source in enumerate(validation.sources) if source.role == "policy")
    where = {"uri": _uri(validation.name("policy")), "index": place}
    results = [
        _result(finding, index[finding.rule], where, line=line_of(finding.rule, policy_text))
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


def line_of(rule: str, text: str) -> int:
    """The line of a policy's YAML that names a rule, by its name or else its measurement; 1 where none does.

    >>> line_of("ood.auroc_drop", "policy: mine\\ngates:\\n  - measurement: ood.auroc_drop  # as for images")
    3
    """
    lines = text.splitlines()
    for key in ("name", "measurement"):
        named = re.compile(rf"\b{key}:\s*[\"']?{re.escape(rule)}[\"']?\s*([,}}#]|$)")
        if (
            found := next((number for number, line in enumerate(lines, start=1) if named.search(line)), None)
        ) is not None:
            return found
    return 1


def _rule(rule: Rule, *, left_out: bool) -> dict[str, Any]:
    parameters = ", ".join(f"{name} {value:g}" for name, value in sorted(rule.parameters.items()))
    return {
        "id": rule.name,
        "shortDescription": {"text": f"{rule.measurement}: {rule.gate}, {parameters}"},
        "fullDescription": {"text": rule.because},
        "help": {"text": rule.remedy},
        "defaultConfiguration": {"enabled": not left_out, "level": "error"},
    }


def _result(finding: Finding, index: int, where: dict[str, Any], *, line: int) -> dict[str, Any]:
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
        "locations": [{"physicalLocation": {"artifactLocation": where, "region": {"startLine": line}}}],
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
