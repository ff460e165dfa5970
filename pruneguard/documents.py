"""YAML that people write, read so that every error names file, line, field, what was expected and what to do.

A file becomes a `Section`; its getters take one key each, and `done` refuses every key that nobody asked for. Scalars
are built here from YAML's node graph, so that no tag constructs anything and the line of every value is known.
"""

import difflib
import math
import unicodedata
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NoReturn, TypeAlias, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pruneguard.errors import InvalidInputError

BYTES_MAX = 1_000_000

Scalar: TypeAlias = "str | int | float | bool | None"
Choice = TypeVar("Choice", bound=StrEnum)

_TAG = "tag:yaml.org,2002:"
_FLOATS = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, counted from 1."""

    file: Path
    line: int


def read(path: Path) -> "Section":
    """The mapping that the file holds.

    Raises InvalidInputError when it is missing, unaskedable, over 1 MB, not UTF-8, not YAML, empty, or no mapping, and
    when a key occurs twice.
    """
    return parse(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """The content of a document that people write. Raises InvalidInputError when it cannot be one."""
    try:
        if path.stat().st_size > BYTES_MAX:
            raise InvalidInputError(f"{path}: {path.stat().st_size} bytes; such a file has at most {BYTES_MAX}")
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"{path}: cannot be read: {error.strerror}; give the path of a readable file"
        ) from error


def is_path(reference: str) -> bool:
    """Tell the path of a YAML file from the name of a shipped document.

    >>> is_path("policy.yaml"), is_path("standard")
    (True, False)
    """
    return reference.endswith((".yaml", ".yml")) or "/" in reference


def parse(content: bytes, path: Path) -> "Section":
    """The mapping in `content`; `path` is what errors call it."""
    try:
        node = YAML(typ="safe", pure=True).compose(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidInputError(f"{path}:{line}: not UTF-8 ({error.reason}); save the file as UTF-8") from error
    except RecursionError as error:
        raise InvalidInputError(f"{path}: nested too deeply to be meant; flatten it") from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else f"{path}"
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InvalidInputError(f"{place}: not YAML: {problem}; fix the line or the one above it") from error
    if node is None:
        raise InvalidInputError(f"{path}: empty; expected keys and values in YAML")
    return Section(path, "", node)


class Section:
    """One mapping of a document. Every getter takes a key, which is required unless a default is given."""

    def __init__(self, path: Path, place: str, node: Node) -> None:
        self._path, self._place, self._line = path, place, node.start_mark.line + 1
        if not isinstance(node, MappingNode):
            name = place.rstrip(".") or "the document"
            raise InvalidInputError(f"{path}:{self._line}: {name}: expected keys and values, found {_shown(node)}")
        self._nodes: dict[str, Node] = {}
        self._lines: dict[str, int] = {}
        self._asked: set[str] = set()
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in self._lines:
                self._fail(line, name, f"stands on line {self._lines[name]} already; keep one of the two")
            self._nodes[name], self._lines[name] = value, line

    def keys(self) -> tuple[str, ...]:
        """Every key, in the order of the file."""
        return tuple(self._nodes)

    def has(self, key: str) -> bool:
        """Whether the key is there; asking is no reason to take it."""
        return key in self._nodes

    def place(self, key: str = "") -> Place:
        """Where a key stands; where the section begins, if it lacks the key."""
        return Place(self._path, self._lines.get(key, self._line))

    def refuse(self, key: str, why: str) -> NoReturn:
        """Raise InvalidInputError about a key of this section, or about the section where it lacks the key."""
        self._fail(self.place(key).line, key, why)

    def text(self, key: str, *, default: str | None = None) -> str:
        """A text that is not blank, in Unicode NFC, its outer white space stripped."""
        if default is not None and self._lacks(key):
            return default
        value = self._scalar(key, "a text")
        if not isinstance(value, str):
            self.refuse(key, f"expected a text, found {value!r}; put it in quotes if it is meant as one")
        if not value.strip():
            self.refuse(key, "expected a text, found a blank one; write it out")
        if not unicodedata.is_normalized("NFC", value):
            self.refuse(key, "the text is not in Unicode NFC, so two readers could see different bytes; type it anew")
        return value.strip()

    def choice(self, key: str, kind: type[Choice], *, default: Choice | None = None) -> Choice:
        """One of the values of an enumeration."""
        text = self.text(key, default=default.value if default is not None else None)
        known = [member.value for member in kind]
        if text not in known:
            self.refuse(key, f"expected one of {known}, found {text!r}{_hint(text, known)}")
        return kind(text)

    def number(self, key: str, fits: Callable[[float], bool], expected: str, *, default: float | None = None) -> float:
        """A finite number for which `fits` holds; `expected` says in words which ones do."""
        if default is not None and self._lacks(key):
            return default
        return self._checked(key, self._scalar(key, expected), fits, expected)

    def integer(self, key: str, low: int, high: int, *, default: int | None = None) -> int:
        """A whole number from `low` to `high`."""
        if default is not None and self._lacks(key):
            return default
        expected = f"a whole number from {low} to {high}"
        value = self._scalar(key, expected)
        if type(value) is not int or not low <= value <= high:
            self.refuse(key, f"expected {expected}, found {value!r}; change it")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """true or false."""
        if self._lacks(key):
            return default
        value = self._scalar(key, "true or false")
        if not isinstance(value, bool):
            self.refuse(key, f"expected true or false, found {value!r}; change it")
        return value

    def numbers(self, key: str, fits: Callable[[float], bool], expected: str) -> tuple[float, ...]:
        """A list of at least one finite number, each of which fits."""
        values = [self._value(key, node, expected) for node in self._items(key, "numbers")]
        return tuple(self._checked(key, value, fits, expected) for value in values)

    def section(self, key: str) -> "Section | None":
        """The mapping under a key, or None without the key."""
        if self._lacks(key):
            return None
        return Section(self._path, f"{self._place}{key}.", self._take(key, "keys and values"))

    def sections(self, key: str) -> Iterator["Section"]:
        """The mappings in the list under a key; the list has at least one."""
        for number, node in enumerate(self._items(key, "sections"), start=1):
            yield Section(self._path, f"{self._place}{key}[{number}].", node)

    def rest(self) -> dict[str, Scalar]:
        """Every key that was not asked for yet, for somebody else to check; `refuse` reports what they find."""
        return {key: self._scalar(key, "a value") for key in self._nodes if key not in self._asked}

    def done(self) -> None:
        """Refuse the keys that nobody asked for."""
        for key in self._nodes:
            if key not in self._asked:
                self.refuse(key, f"unknown key{_hint(key, self._asked) or f'; known are {sorted(self._asked)}'}")

    def _fail(self, line: int, key: str, why: str) -> NoReturn:
        raise InvalidInputError(f"{self._path}:{line}: {self._place}{key}: {why}")

    def _lacks(self, key: str) -> bool:
        self._asked.add(key)
        return key not in self._nodes

    def _take(self, key: str, expected: str) -> Node:
        if self._lacks(key):
            unasked = [name for name in self._nodes if name not in self._asked]
            close = difflib.get_close_matches(key, unasked, n=1)
            meant = f"; is {close[0]!r} on line {self._lines[close[0]]} meant?" if close else "; add it"
            self.refuse(key, f"missing; expected {expected}{meant}")
        return self._nodes[key]

    def _scalar(self, key: str, expected: str) -> Scalar:
        return self._value(key, self._take(key, expected), expected)

    def _value(self, key: str, node: Node, expected: str) -> Scalar:
        if not isinstance(node, ScalarNode):
            self.refuse(key, f"expected {expected}, found {_shown(node)}")
        try:
            return _scalar(node)
        except ValueError:
            self.refuse(key, f"expected {expected}, found {node.value!r}; write it as a plain one")

    def _checked(self, key: str, value: Scalar, fits: Callable[[float], bool], expected: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(key, f"expected {expected}, found {value!r}; write a plain number")
        if not math.isfinite(value) or not fits(value):
            self.refuse(key, f"expected {expected}, found {value!r}; change it")
        return float(value)

    def _items(self, key: str, expected: str) -> list[Node]:
        node = self._take(key, f"a list of {expected}")
        if not isinstance(node, SequenceNode) or not node.value:
            self.refuse(key, f"expected a list of {expected} with at least one, found {_shown(node)}")
        items: list[Node] = node.value
        return items


def _scalar(node: ScalarNode) -> Scalar:
    """The value of a scalar by YAML 1.2's core schema; ValueError where its text fits no type, or no JSON number."""
    text: str = node.value
    match str(node.tag).removeprefix(_TAG):
        case "int" if abs(value := int(text, 0)) < 2**53:
            return value
        case "float":
            return _FLOATS[text.lower()] if text.lower() in _FLOATS else float(text)
        case "bool":
            return text.lower() == "true"
        case "null":
            return None
        case "str" | "timestamp":  # a date without quotes is the text that was written
            return text
        case other:
            raise ValueError(other)


def _shown(node: Node) -> str:
    match node:
        case MappingNode():
            return "keys and values"
        case SequenceNode():
            return f"a list of {len(node.value)}"
        case _:
            return repr(node.value) if node.value else "nothing"


def _hint(word: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
