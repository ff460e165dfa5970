"""What a peer is to the contest."""

from typing import Protocol

from torch import nn

from benchmarks.contest.dense import Dense


class Unable(Exception):  # noqa: N818  # an answer, not a fault of ours
    """The peer cannot do it; the text is the reason that its row tells."""


class Peer(Protocol):
    """`ratios` are its operating points, in its own unit: of channels where it cuts, of weights where it masks."""

    @property
    def name(self) -> str: ...

    @property
    def ratios(self) -> tuple[float, ...]: ...

    def prune(self, dense: Dense, *, ratio: float) -> nn.Module:
        """A pruned and fine-tuned copy of the dense network, ready to be exported. Raises Unable."""
        ...
