"""What its owner says of the data: a data card, and expectations of their own.

A workload may name both, as attributes, relative to its file:

    class Digits:
        data_card = "croissant.json"         JSON-LD, http://mlcommons.org/croissant/1.0, with the RAI vocabulary
        expectations = "expectations.json"   a Great Expectations suite, as `suite.to_json_dict()` writes it
"""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.estimates import exact
from pruneguard.evidence import Measurement
from pruneguard.workload import Workload

BYTES_MAX = 10_000_000

QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "what it is": ("description",),
    "who made it": ("creator", "publisher"),
    "where it is from": ("url", "sameAs", "citeAs", "isBasedOn", "wasDerivedFrom"),
    "which state it is in": ("version", "datePublished", "dateModified", "dateCreated"),
    "licence": ("license",),
    "how it was collected": ("dataCollection",),
    "consent and terms of use": ("usageInfo", "conditionsOfAccess"),
    "personal data": ("personalSensitiveInformation",),
}
"""What a card must answer, and the properties of which one must: schema.org's, Croissant's or its RAI vocabulary's."""

_SILENCE = {"", "-", "?", "n/a", "na", "none given", "noassertion", "not recorded", "tbd", "todo", "unknown"}


@dataclass(frozen=True, slots=True)
class Papers:
    """The files as they were given."""

    card: bytes | None = None
    expectations: bytes | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """A data card, read: what it answers of QUESTIONS, the texts as they stand there, and the names of its fields."""

    digest: str
    answers: Mapping[str, str]
    fields: tuple[str, ...]

    @property
    def gaps(self) -> tuple[str, ...]:
        return tuple(question for question in QUESTIONS if question not in self.answers)

    def measure(self) -> dict[str, Measurement]:
        """`data.card_gaps`: questions without an answer. What the card says is not checked, only that it says it."""
        return {"data.card_gaps": exact(len(self.gaps), n=len(QUESTIONS))}


def papers(workload: Workload) -> Papers:
    """What the workload names. Raises InvalidInputError for a file that is missing, too large or no JSON object."""
    return Papers(_named(workload, "data_card"), _named(workload, "expectations"))


def read_card(content: bytes) -> Card:
    """Raises InvalidInputError for what is no JSON-LD of a data set."""
    document = json_object(content, "the data card")
    kinds = document.get("@type")
    if not any(_local(kind) == "Dataset" for kind in (kinds if isinstance(kinds, list) else [kinds])):
        raise InvalidInputError(f"the data card has the @type {kinds!r:.60}; expected sc:Dataset, as Croissant has it")
    said = {_local(name): _text(value) for name, value in document.items()}
    answers = {}
    for question, properties in QUESTIONS.items():
        if given := [said[name] for name in properties if said.get(name, "").strip(" .").lower() not in _SILENCE]:
            answers[question] = given[0]
    return Card(canonical.digest(content), answers, tuple(_fields(document)))


def json_object(content: bytes, what: str) -> dict[str, Any]:
    """Raises InvalidInputError, with the line, for what is no JSON object."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{what} is no JSON: {error}; write it again") from error
    if not isinstance(document, dict):
        raise InvalidInputError(f"{what} is a JSON {type(document).__name__}; expected an object")
    return document


def _named(workload: Workload, attribute: str) -> bytes | None:
    name = getattr(workload, attribute, None)
    if name is None:
        return None
    place = f"{type(workload).__name__}.{attribute}"
    if not isinstance(name, str):
        raise InvalidInputError(f"{place} is a {type(name).__name__}; expected the path of a JSON file, as a text")
    file = Path(inspect.getfile(type(workload))).parent / name
    if not file.is_file():
        raise InvalidInputError(
            f"{place} names {name!r}, and there is no file {file}; write it, or leave {attribute} out"
        )
    if (size := file.stat().st_size) > BYTES_MAX:
        raise InvalidInputError(f"{file} has {size} bytes; at most {BYTES_MAX} are read; shorten it")
    content = file.read_bytes()
    json_object(content, str(file))
    return content


def _local(name: object) -> str:
    """A property's name without its vocabulary: `license` of sc:license, or of https://schema.org/license."""
    text = name if isinstance(name, str) else ""
    return text.rstrip("/").replace("#", "/").rpartition("/")[2].rpartition(":")[2]


def _text(value: object) -> str:
    """What a property says, in words: of an object its name or address, of a list everything."""
    match value:
        case str() | int() | float():
            return str(value)
        case list():
            return "; ".join(filter(None, map(_text, value)))
        case dict():
            return next((text for key in ("name", "@value", "url", "@id") if (text := _text(value.get(key)))), "")
    return ""


def _fields(document: Mapping[str, Any]) -> list[str]:
    """Names of the fields of its record sets."""
    names = []
    for sets in _listed(document, "recordSet"):
        for field in _listed(sets, "field"):
            if name := _text({_local(key): value for key, value in field.items()}.get("name")):
                names.append(name.rpartition("/")[2])
    return names


def _listed(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found: Any = next((value for key, value in document.items() if _local(key) == name), [])
    return [each for each in (found if isinstance(found, list) else [found]) if isinstance(each, dict)]
