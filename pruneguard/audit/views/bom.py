"""A CycloneDX 1.6 ML-BOM for each version: what it is, what it was cut from, what it was measured to be.

https://cyclonedx.org/docs/1.6/json/. What nobody recorded (a licence, say) is left out, not guessed.
"""

from collections.abc import Iterator
from math import isfinite
from typing import Any

from pruneguard import canonical
from pruneguard.audit.selection import Selection
from pruneguard.audit.views import vocabulary as words
from pruneguard.audit.views.versions import LIBRARIES, Version, told, versions
from pruneguard.evidence import Estimate, Measurement

TASK = "classification"
"""The one task that this service takes models for."""


def bills(selection: Selection) -> dict[str, bytes]:
    """models/<digest>/mlbom.cdx.json"""
    return {path(v.release.digest): canonical.encode(_bill(selection, v)) for v in versions(selection)}


def path(model: str) -> str:
    return f"models/{words.hexadecimal(model)}/mlbom.cdx.json"


def _bill(selection: Selection, version: Version) -> dict[str, Any]:
    release = version.release
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": "urn:uuid:" + words.identifier("bom", selection.checkpoint.origin, release.digest),
        "version": release.number,
        "metadata": {"timestamp": release.proposed_at, "component": _model(version)},
        "components": [_data(version), *_libraries(version)],
        "dependencies": [{"ref": release.digest, "dependsOn": [version.given.data]}],
    }


def _model(version: Version) -> dict[str, Any]:
    release = version.release
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": release.digest,
        "name": version.model,
        "version": str(release.number),
        "purl": words.model_uri(version.model, release.digest),
        "hashes": _hashes(release.digest),
        "modelCard": _card(version),
    }
    if version.pruned:
        twin = {
            "type": "machine-learning-model",
            "bom-ref": release.twin,
            "name": version.model,
            "version": "dense twin",
            "purl": words.model_uri(version.model, release.twin),
            "hashes": _hashes(release.twin),
        }
        component["pedigree"] = {"ancestors": [twin], **_notes(version)}
    return component


def _notes(version: Version) -> dict[str, str]:
    if version.cut is None:
        return {}
    recipe = ", ".join(f"{name} {value}" for name, value in sorted(version.cut.data["recipe"].items()))
    return {"notes": f"pruned: {recipe}; lineage {version.cut.refs['lineage']}"}


def _card(version: Version) -> dict[str, Any]:
    card: dict[str, Any] = {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": TASK,
            "datasets": [{"ref": version.given.data}],
        },
        "properties": [
            _property("policy", version.given.policy),
            _property("verdict", version.given.digest),
            _property("score", version.score),
            _property("status", version.release.status.value),
        ],
    }
    if version.evidence is not None:
        metrics = [_metric(name, m) for name, m in sorted(version.evidence.measurements.items())]
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    if considerations := _considerations(version):
        card["considerations"] = considerations
    return card


def _considerations(version: Version) -> dict[str, Any]:
    """What did not pass, and who took it on: the limitations that are known and not only feared."""
    open_ = [f for f in version.findings if f.rule in version.given.objections]
    found: dict[str, Any] = {}
    if open_:
        found["technicalLimitations"] = [
            f"{f.rule}: {version.outcome(f)} (observed {f.observed}, required {f.required})" for f in open_
        ]
    if version.waivers:
        found["ethicalConsiderations"] = [
            {
                "name": f"{waiver.rule}, {told(waiver, version.clock)}: {waiver.reason}",
                "mitigationStrategy": waiver.control,
            }
            for waiver in version.waivers.values()
        ]
    return found


def _metric(name: str, measurement: Measurement) -> dict[str, Any]:
    kind, _, part = name.partition(".slice.")
    metric: dict[str, Any] = {"type": kind, **({"slice": part} if part else {})}
    if not isinstance(measurement, Estimate):
        return metric | {"type": f"{kind}.difference", "value": number(measurement.difference)}
    metric["value"] = number(measurement.value)
    if measurement.low is not None and measurement.high is not None:
        interval = {"lowerBound": number(measurement.low), "upperBound": number(measurement.high)}
        metric["confidenceInterval"] = interval
    return metric


def number(value: float) -> str:
    """A measured number as text.

    >>> number(0.12345678), number(float("nan"))
    ('0.123457', 'not measured')
    """
    return format(value, ".6g") if isfinite(value) else "not measured"


def _data(version: Version) -> dict[str, Any]:
    measured = version.data.measurements if version.data else {}
    properties = [_property(name, number(m.value)) for name, m in sorted(measured.items()) if isinstance(m, Estimate)]
    return {
        "type": "data",
        "bom-ref": version.given.data,
        "name": f"{version.model} data",
        "version": version.given.data,
        "data": [{"type": "dataset", "name": "snapshot", "contents": {"properties": properties}}],
    }


def _libraries(version: Version) -> Iterator[dict[str, Any]]:
    known = version.context
    for library in LIBRARIES:
        if library in known:
            name = library.replace("_", "-")
            purl = f"pkg:pypi/{name}@{known[library]}"
            yield {"type": "library", "bom-ref": purl, "name": name, "version": known[library], "purl": purl}
    if "python" in known:
        yield {"type": "platform", "bom-ref": "python", "name": "python", "version": known["python"]}


def _hashes(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": words.hexadecimal(digest)}]


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"pruneguard:{name}", "value": value}
