"""A validation as JUnit XML, as continuous integration reads it: one test case a rule. Pure."""

import xml.etree.ElementTree as ET

from pruneguard.validation.result import Validation
from pruneguard.verdict import Finding, Outcome


def render(validation: Validation) -> bytes:
    """A refusal is a failure, a rule without evidence an error, one that was left out is skipped."""
    findings, left_out = validation.findings, validation.left_out
    errors = sum(finding.outcome is Outcome.NO_EVIDENCE for finding in findings)
    counts = {
        "tests": str(len(findings) + len(left_out)),
        "failures": str(len(validation.verdict.objections) - errors),
        "errors": str(errors),
        "skipped": str(len(left_out)),
    }
    name = f"{validation.name('model')}: policy {validation.policy.name} {validation.policy.version}"
    root = ET.Element("testsuites", {"name": "pruneguard", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": _legal(name), **counts})
    told = ET.SubElement(suite, "properties")
    for source in validation.sources:
        ET.SubElement(told, "property", {"name": source.role, "value": _legal(f"{source.name} {source.digest}")})
    policy = validation.policy.name
    for finding in findings:
        _case(suite, finding, policy)
    for rule in left_out:
        case = ET.SubElement(suite, "testcase", {"name": _legal(rule.name), "classname": f"{policy}.{rule.gate}"})
        ET.SubElement(case, "skipped", {"message": "left out by whoever ran this"})
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _case(suite: ET.Element, finding: Finding, policy: str) -> None:
    case = ET.SubElement(suite, "testcase", {"name": _legal(finding.rule), "classname": f"{policy}.{finding.gate}"})
    words = f"observed: {finding.observed}\nrequired: {finding.required}\nwould turn it: {finding.flip}"
    if finding.allows:
        ET.SubElement(case, "system-out").text = _legal(words)
        return
    kind = "error" if finding.outcome is Outcome.NO_EVIDENCE else "failure"
    message = f"{finding.outcome.value}: {finding.observed}; required {finding.required}"
    told = ET.SubElement(case, kind, {"message": _legal(message), "type": finding.outcome.value})
    told.text = _legal(f"{words}\nremedy: {finding.remedy}")


def _legal(text: str) -> str:
    """Without the control characters that XML 1.0 has no way to write."""
    return "".join(c for c in text if c in "\t\n" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff")
