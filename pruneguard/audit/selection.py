"""What a bundle is about: one model, one span of time, some frameworks; over a log that is always there as a whole."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pruneguard.errors import InvalidInputError
from pruneguard.ledger import notes
from pruneguard.ledger.events import Entry, Event, utc
from pruneguard.ledger.state import State


@dataclass(frozen=True, slots=True)
class Selection:
    """All that a view may read. It is the same in the export and in the verifier, so a view's bytes are too.

    `start` and `end` are RFC 3339 in UTC, half-open; None leaves that side open.
    """

    model: str
    start: str | None
    end: str | None
    log: Sequence[Entry | None]
    """Every entry by position; None where retention dropped the body. Read lazily: ask by position, do not walk it."""
    state: State
    """The fold of the whole log."""
    checkpoint: notes.Checkpoint
    frameworks: Mapping[str, bytes]
    """Name -> the framework's file, as in `policies/frameworks`; by name."""
    document: Callable[[str], bytes | None]
    """Digest -> the document, or None when this bundle has none by that name. Its bytes are checked against it."""
    positions: Sequence[int]
    """Entries about the model inside the span, and what the versions that answered in it rest on; in order."""
    kinds: Mapping[str, Sequence[int]]
    """Type of event -> where such entries stand before the end of the span: about this model, or about none.

    What broke a rule is in neither `positions` nor `kinds`: it had no effect, so it evidences nothing.
    """

    def events(self, *types: str) -> Iterator[tuple[int, Event]]:
        """Position and event of each selected entry of these types (all when none is given), in order."""
        for index in self._of(types) if types else self.positions:
            if (entry := self.log[index]) is not None:
                yield index, entry.event

    def _of(self, types: Sequence[str]) -> list[int]:
        # One search for each candidate: of a million selected entries, few are of the types that views ask for.
        found = sorted(index for name in types for index in self.kinds.get(name, ()))
        return [index for index in found if self._selected(index)]

    def _selected(self, index: int) -> bool:
        at = bisect_left(self.positions, index)
        return at < len(self.positions) and self.positions[at] == index


def moment(text: str) -> str:
    """A bound of a span, as a person writes it, in the form in which events have their time.

    >>> moment("2026-01-05"), moment("2026-01-05T10:00:00+01:00")
    ('2026-01-05T00:00:00.000000Z', '2026-01-05T09:00:00.000000Z')
    """
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None and len(text) != len("2026-01-05"):  # no zone is a guess, and guesses move the span
            raise ValueError("a time without its zone")
        return utc(found if found.tzinfo else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(
            f"{text[:80]!r} is no moment ({error}); expected a day, 2026-01-05, or a time, 2026-01-05T09:00:00Z"
        ) from error
