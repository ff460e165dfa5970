"""Recipe and twin in, candidate and lineage out.

What is offered here is what `making` has, fetched at first use: a lineage is checked by auditors who have no torch,
and `lineage`, `recomputing` and `tensors` must be importable there.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pruneguard.pruning.making import Candidate, candidate, predicted, shaped, twin

__all__ = ["Candidate", "candidate", "predicted", "shaped", "twin"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from pruneguard.pruning import making

        return getattr(making, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
