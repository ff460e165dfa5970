"""HTML out of values: whatever comes from a log or a document is text, and is escaped here and nowhere else."""

import html
from collections.abc import Iterable, Sequence
from typing import TypeAlias


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Content: TypeAlias = "str | Iterable[Content]"


def tag(name: str, *content: Content, **attributes: str | float | None) -> Markup:
    """An element. Strings that are no Markup are escaped; an attribute of None is left out.

    >>> tag("p", "a < b ", tag("b", "c"), class_="x")
    '<p class="x">a &lt; b <b>c</b></p>'
    """
    given = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    opening = "".join(f' {key}="{html.escape(_plain(value))}"' for key, value in given)
    return Markup(f"<{name}{opening}>{joined(content)}</{name}>")


def joined(parts: Iterable[Content]) -> Markup:
    """Several pieces of content, one after the other."""
    return Markup("".join(_escaped(part) if isinstance(part, str) else joined(part) for part in parts))


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Content]]) -> Markup:
    """A table whose first column names each row."""
    cells = (tag("tr", tag("th", row[0], scope="row"), [tag("td", cell) for cell in row[1:]]) for row in rows)
    top = tag("thead", tag("tr", [tag("th", name, scope="col") for name in head]))
    return tag("div", tag("table", tag("caption", caption), top, tag("tbody", cells)), class_="wide")


def _escaped(text: str) -> str:
    return text if isinstance(text, Markup) else html.escape(text)


def _plain(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.5g}"
