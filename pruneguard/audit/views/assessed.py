"""What every view of controls is made from, and where in a bundle an entry or a document is found."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pruneguard.audit import bundle
from pruneguard.audit.controls import Row
from pruneguard.audit.frameworks import Framework
from pruneguard.audit.selection import Selection
from pruneguard.audit.views.story import Course
from pruneguard.ledger import tiles

NOTICE = "An index for people who assess. Neither a certification nor legal advice, and no score: missing is missing."


@dataclass(frozen=True)
class Assessed:
    """A framework's rows for one selection, as of `at`."""

    framework: Framework
    rows: tuple[Row, ...]
    at: str
    selection: Selection
    courses: Sequence[Course]
    """The selected releases, the newest first, without their documents."""

    @cached_property
    def _proven(self) -> frozenset[int]:
        return frozenset(bundle.decisions(self.selection))

    def source(self, index: int) -> str:
        """The file that shows an entry to be in the log: its own proof, or the tile that holds its bytes."""
        if index in self._proven:
            return bundle.proof_path(index)
        size = self.selection.checkpoint.size
        number = index // tiles.WIDTH
        return bundle.ledger_path(tiles.Tile(None, number, min(tiles.WIDTH, size - number * tiles.WIDTH)))

    def link(self, path: str) -> str:
        """A file of the bundle, from the folder in which the views of this framework lie."""
        return f"../../{path}"
