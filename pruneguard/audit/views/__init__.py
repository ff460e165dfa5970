"""Views: files of a bundle that are pure functions of what it selects.

Export writes them; the verifier makes them again and compares byte for byte. So nothing in them rests on anybody's
word, and none can be changed or left out unseen. A view knows no clock, no chance and no order of a set, and raises
nothing but InvalidInputError on hostile content.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from pruneguard.audit import bundle
from pruneguard.audit.selection import Selection
from pruneguard.audit.views import bom, card, croissant
from pruneguard.audit.views.attestations import attestations
from pruneguard.audit.views.compliance import compliance
from pruneguard.audit.views.people import people
from pruneguard.audit.views.versions import versions

View: TypeAlias = Callable[[Selection], Mapping[str, bytes]]
"""Path in the bundle -> content."""

Statements: TypeAlias = Callable[[Selection], Mapping[str, Sequence[bytes]]]
"""Path in the bundle -> payloads of in-toto statements, one for each line. The log's key signs each at export."""

VERSION = 1
"""Of what the views make. A manifest names it, and a verifier that makes another says so."""

VIEWS: tuple[View, ...] = (people, bom.bills, card.cards, croissant.cards, compliance)
STATEMENTS: tuple[Statements, ...] = (attestations,)


def signed_models(selection: Selection) -> dict[str, str]:
    """Path of a model-signing signature -> digest of the model that it is about: every selected version has one."""
    digests = (version.release.digest for version in versions(selection))
    return {bundle.signature_path(digest): digest for digest in digests}
