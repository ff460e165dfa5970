"""A Croissant 1.0 description of each snapshot of data, with the RAI vocabulary, out of the evidence on its admission.

http://mlcommons.org/croissant/1.0, http://mlcommons.org/croissant/RAI/1.0. The rows themselves are in no bundle and
have no address, so there is no distribution. What nobody recorded (a licence, a creator) is left out, not guessed.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from pruneguard import canonical
from pruneguard.audit.selection import Selection
from pruneguard.audit.views import vocabulary as words
from pruneguard.evidence import Estimate, Evidence
from pruneguard.ledger.events import Event

CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def cards(selection: Selection) -> dict[str, bytes]:
    """data/<digest>/croissant.json; of several admissions of the same rows the first tells when, the last what."""
    found: dict[str, list[Event]] = {}
    for _, event in selection.events("data.admitted"):
        found.setdefault(event.refs["data"], []).append(event)
    return {path(data): canonical.encode(_card(selection, data, events)) for data, events in found.items()}


def path(data: str) -> str:
    return f"data/{words.hexadecimal(data)}/croissant.json"


def _card(selection: Selection, data: str, events: list[Event]) -> dict[str, Any]:
    digest = events[-1].refs["evidence"]
    content = selection.document(digest)
    evidence = None if content is None else Evidence.decode(content)
    return {
        "@context": dict(CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": f"{selection.model} data {words.hexadecimal(data)[:12]}",
        "description": f"The rows that versions of {selection.model} were trained on and judged by, in three splits: "
        "train, gate, release. They are known by the digest of their arrays and are not part of this bundle.",
        "identifier": data,
        "datePublished": events[0].time[:10],
        **({} if evidence is None else _measured(evidence, digest)),
    }


def _measured(evidence: Evidence, digest: str) -> dict[str, Any]:
    known = {name: m for name, m in sorted(evidence.measurements.items()) if isinstance(m, Estimate)}
    values = {name: format(m.value, ".6g") for name, m in known.items() if isfinite(m.value)}
    card: dict[str, Any] = {
        "variableMeasured": [
            {"@type": "sc:PropertyValue", "name": name, "value": value} for name, value in values.items()
        ],
        "rai:dataCollection": "Not recorded.",
        "rai:dataPreprocessingProtocol": ["Made by the workload's own code; the run's manifest names its digest."],
        "rai:personalSensitiveInformation": [_personal(values)],
    }
    if "data.imbalance" in values:
        card["rai:dataBiases"] = [f"The largest class has {values['data.imbalance']} times the rows of the smallest."]
    limits = {
        "data.expectations_failed": "critical expectations failed",
        "data.warnings": "expectations failed that only warn",
        "data.leakage": "of the rows that judge stand among those that train, as a share",
        "data.duplicates": "of the rows that train stand there more than once, as a share",
        "data.missing": "of the values are missing, as a share",
        "data.near_leakage": "of the rows that judge have a near copy among those that train, as a share",
        "data.contamination": "of the release rows stand in gate too, as a share",
        "data.label_noise": "of the labels are doubtful, as a share",
    }
    told = [f"{values[name]} {meaning} ({name})." for name, meaning in limits.items() if name in values]
    return card | {"rai:dataLimitations": [*told, f"Evidence: {digest}."]}


def _personal(values: dict[str, str]) -> str:
    """What was looked for and found; nothing here says that a row is about nobody."""
    if "data.personal_values" not in values:
        return "Not assessed."
    columns = values.get("data.personal_columns", "0")
    return (
        f"{values['data.personal_values']} texts look like personal data, and {columns} columns hold some or are named "
        "for it: patterns and names of columns, in slice columns and the card's fields."
    )
