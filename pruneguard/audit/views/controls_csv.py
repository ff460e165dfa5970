"""controls.csv: one line for each control, for a spreadsheet (RFC 4180)."""

import csv
import io
from collections.abc import Iterator

from pruneguard.audit import bundle
from pruneguard.audit.controls import Row
from pruneguard.audit.views.assessed import NOTICE, Assessed

COLUMNS = (
    "control",
    "function",
    "class",
    "asks",
    "state",
    "service's half",
    "entries",
    "what they show",
    "missing",
    "speaks against it",
    "attached",
    "documents",
    "found in",
    "as of",
    "note",
)

FORMULA = (*"=+-@|%", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula; the last four are the first four in full width."""


def render(assessed: Assessed) -> bytes:
    """UTF-8, CRLF. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in assessed.rows:
        writer.writerow([safe(cell) for cell in _cells(row, assessed)])
    return text.getvalue().encode()


def safe(cell: str) -> str:
    """A cell that no spreadsheet evaluates, on one line.

    >>> safe("=1+1"), safe("a"), safe(" @x")
    ("'=1+1", 'a', "' @x")
    """
    flat = " ".join(cell.splitlines())
    return f"'{flat}" if flat.lstrip().startswith(FORMULA) else flat


def _cells(row: Row, assessed: Assessed) -> Iterator[str]:
    control = row.control
    yield control.id
    yield assessed.framework.function(control).id
    yield control.automation.value
    yield control.asks
    yield row.state.value
    yield row.system.value
    yield "; ".join(f"{entry.index} {entry.type} {entry.time}" for entry in row.cited) or "none"
    yield row.shown
    yield "; ".join(row.missing)
    yield " ".join(found.why for found in row.against)
    yield "; ".join(
        f"{item.index} by {item.by}: {item.title}{'' if item.current else ' (expired)'}" for item in row.attached
    )
    named = dict.fromkeys(digest for entry in row.cited for digest in entry.documents)
    named |= dict.fromkeys(item.document for item in row.attached if item.document)
    yield "; ".join(bundle.document_path(digest) for digest in named)
    yield "; ".join(dict.fromkeys(assessed.source(index) for index in row.positions))
    yield assessed.at
    yield NOTICE
