"""The framework as an OSCAL catalogue, and the rows as OSCAL assessment results (NIST OSCAL 1.2.1, JSON).

Every finding is about one control's objective. It is satisfied only where the row is evidenced; anything less is not
satisfied, and the remarks say which less.
"""

import re
import uuid
from collections.abc import Iterator
from typing import Any

from pruneguard import canonical
from pruneguard.audit import bundle
from pruneguard.audit.controls import Attached, Row, State
from pruneguard.audit.frameworks import Control, Group
from pruneguard.audit.views.assessed import NOTICE, Assessed

VERSION = "1.2.1"
REASONS = {State.EVIDENCED: "pass", State.CONTRADICTED: "fail"}


def catalog(assessed: Assessed) -> bytes:
    """oscal-catalog.json"""
    framework = assessed.framework
    tops = [group for group in framework.groups if group.parent is None]
    return canonical.encode(
        {
            "catalog": {
                "uuid": _uuid(assessed, "catalog"),
                "metadata": _metadata(framework.title, assessed, f"{framework.source} {framework.note}"),
                "groups": [_group(group, assessed) for group in tops],
            }
        }
    )


def results(assessed: Assessed) -> bytes:
    """oscal-assessment-results.json"""
    selection, framework = assessed.selection, assessed.framework
    plan = _uuid(assessed, "plan")
    observed = {row.control.id: list(_observations(row, assessed)) for row in assessed.rows}
    observations = [observation for found in observed.values() for observation in found]
    result: dict[str, Any] = {
        "uuid": _uuid(assessed, "result"),
        "title": f"{_line(framework.title)}: {selection.model}",
        "description": f"States of controls by the entries of {selection.checkpoint.origin} up to {assessed.at}.",
        "start": selection.start or _first(assessed),
        "end": assessed.at,
        "reviewed-controls": {
            "control-selections": [{"include-controls": [{"control-id": _id(row.control)} for row in assessed.rows]}]
        },
        **({"observations": observations} if observations else {}),
        "findings": [_finding(row, observed[row.control.id], assessed) for row in assessed.rows],
        "remarks": NOTICE,
    }
    rlink: dict[str, Any] = {
        "href": assessed.link(bundle.framework_path(framework.name)),
        "media-type": "application/json",
        "hashes": [{"algorithm": "SHA-256", "value": framework.digest.removeprefix("sha256:")}],
    }
    said = "Which entries speak to which control, at what age they are stale, and what speaks against it."
    return canonical.encode(
        {
            "assessment-results": {
                "uuid": _uuid(assessed, "assessment"),
                "metadata": _metadata(f"Controls of {selection.model}: {framework.title}", assessed, NOTICE),
                "import-ap": {"href": f"#{plan}", "remarks": "What is assessed is fixed by the framework's file."},
                "results": [result],
                "back-matter": {
                    "resources": [{"uuid": plan, "title": "The plan", "description": said, "rlinks": [rlink]}]
                },
            }
        }
    )


def token(name: str) -> str:
    """An OSCAL token.

    >>> token("GOVERN 1.1"), token("Art. 9"), token("Annex IV.1")
    ('govern-1.1', 'art-9', 'annex-iv.1')
    """
    token = re.sub(r"[^\w.-]+", "-", name.strip().lower().replace(". ", "-"))
    return token if re.match(r"[^\W\d]", token) else f"_{token}"


# -- the catalogue --------------------------------------------------------------------------------------------------


def _group(group: Group, assessed: Assessed) -> dict[str, Any]:
    framework = assessed.framework
    parts = [{"id": f"{token(group.id)}_ovw", "name": "overview", "prose": group.text}]
    inner = [_group(other, assessed) for other in framework.groups if other.parent == group.id]
    controls = [_control(control) for control in framework.controls if control.group == group.id]
    return {
        "id": token(group.id),
        "title": group.id,
        "parts": parts,
        **({"groups": inner} if inner else {}),
        **({"controls": controls} if controls else {}),
    }


def _control(control: Control) -> dict[str, Any]:
    return {
        "id": _id(control),
        "title": _line(control.title or control.id),
        "props": [{"name": "label", "value": control.id}],
        "parts": [
            {"id": f"{_id(control)}_smt", "name": "statement", "prose": control.asks},
            {
                "id": _objective(control),
                "name": "assessment-objective",
                "prose": f"Determine if: {control.asks}",
            },
        ],
    }


# -- the results ----------------------------------------------------------------------------------------------------


def _observations(row: Row, assessed: Assessed) -> Iterator[dict[str, Any]]:
    control = row.control
    if row.cited:
        documents = dict.fromkeys(digest for entry in row.cited for digest in entry.documents)
        yield {
            "uuid": _uuid(assessed, f"{control.id}/entries"),
            "title": f"{control.id}: entries of the log",
            "description": _line(row.shown) or "Entries of the log.",
            "methods": ["TEST-AUTOMATED"],
            "relevant-evidence": [
                *(_evidence(assessed, entry.index, f"entry {entry.index}, {entry.type}") for entry in row.cited),
                *(_document(assessed, digest) for digest in documents),
            ],
            "collected": max(entry.time for entry in row.cited),
        }
    if row.against:
        yield {
            "uuid": _uuid(assessed, f"{control.id}/against"),
            "title": f"{control.id}: counter-evidence",
            "description": _line(" ".join(found.why for found in row.against)),
            "methods": ["TEST-AUTOMATED"],
            "relevant-evidence": [_evidence(assessed, found.index, f"entry {found.index}") for found in row.against],
            "collected": assessed.at,
        }
    for item in row.attached:
        yield _examined(item, row, assessed)


def _examined(item: Attached, row: Row, assessed: Assessed) -> dict[str, Any]:
    said = f"{item.title}. {item.statement}" if item.statement else item.title
    documents = [_document(assessed, item.document)] if item.document else []
    return {
        "uuid": _uuid(assessed, f"{row.control.id}/{item.index}"),
        "title": f"{row.control.id}: attached by {_line(item.by)}",
        "description": _line(said),
        "methods": ["EXAMINE"],
        "relevant-evidence": [_evidence(assessed, item.index, f"entry {item.index}, document.attached"), *documents],
        "collected": item.time,
        **({"expires": item.expires} if item.expires else {}),
    }


def _evidence(assessed: Assessed, index: int, description: str) -> dict[str, Any]:
    return {"href": assessed.link(assessed.source(index)), "description": description}


def _document(assessed: Assessed, digest: str) -> dict[str, Any]:
    return {"href": assessed.link(bundle.document_path(digest)), "description": digest}


def _finding(row: Row, observed: list[dict[str, Any]], assessed: Assessed) -> dict[str, Any]:
    control = row.control
    why = _line(row.why) or "No entry of the log and no statement speaks to it."
    status = {
        "state": "satisfied" if row.state is State.EVIDENCED else "not-satisfied",
        "reason": REASONS.get(row.state, "other"),
        "remarks": f"{row.state.value}. {why}",
    }
    related = [{"observation-uuid": observation["uuid"]} for observation in observed]
    return {
        "uuid": _uuid(assessed, f"{control.id}/finding"),
        "title": control.id,
        "description": _line(control.asks),
        "target": {"type": "objective-id", "target-id": _objective(control), "status": status},
        **({"related-observations": related} if related else {}),
    }


# -- forms ----------------------------------------------------------------------------------------------------------


def _metadata(title: str, assessed: Assessed, remarks: str) -> dict[str, Any]:
    return {
        "title": _line(title),
        "last-modified": assessed.at,
        "version": str(assessed.selection.checkpoint.size),
        "oscal-version": VERSION,
        "remarks": _line(remarks),
    }


def _uuid(assessed: Assessed, what: str) -> str:
    """The same for the same log, selection and framework: nothing here is drawn by lot."""
    selection = assessed.selection
    about = (selection.checkpoint.root.hex(), selection.model, str(selection.start), assessed.at)
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join((*about, assessed.framework.digest, what))))


def _first(assessed: Assessed) -> str:
    opened = assessed.selection.log[0] if assessed.selection.checkpoint.size else None
    return opened.event.time if opened is not None else assessed.at


def _id(control: Control) -> str:
    return token(control.id)


def _objective(control: Control) -> str:
    return f"{_id(control)}_obj"


def _line(text: str) -> str:
    return " ".join(text.split())
