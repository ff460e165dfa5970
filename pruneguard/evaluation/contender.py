"""The two who are compared, loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.sessions import Session
from pruneguard.evaluation.yardstick import Yardstick
from pruneguard.workload import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """A model as it is deployed and as it is attacked: `digest` names `onnx`, `network` is what it was exported from.

    `network` is None where somebody has the file alone: then nothing is measured that takes gradients.
    `stored_bytes` is the size of the file that its weights are stored in, where there is one beside `onnx`.
    `unrounded` is the file that `onnx` was made from by rounding to 8 bits, where it was.
    """

    digest: str
    onnx: bytes
    network: nn.Module | None
    stored_bytes: int | None = None
    unrounded: bytes | None = None

    @property
    def model(self) -> nn.Module:
        """The network. Raises InvalidInputError where there is none; a family that needs it `lacks` it before."""
        if self.network is None:
            raise InvalidInputError(f"{self.digest} is known as a file alone; this needs the network it came from")
        return self.network


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Candidate and twin with their sessions. A twin that is judged itself stands on both sides and runs once.

    `yardstick` keeps what the twin answered; give the same one to all candidates of a twin.
    """

    candidate: Contender
    twin: Contender
    candidate_session: Session
    twin_session: Session
    yardstick: Yardstick = field(default_factory=Yardstick)

    @classmethod
    def load(
        cls, candidate: Contender, twin: Contender, *, classes: int | None, yardstick: Yardstick | None = None
    ) -> "Pair":
        """Raises InvalidInputError when an artefact does not load or does not give `classes` logits; None, a number."""
        first = _session(candidate, classes)
        second = first if candidate.digest == twin.digest else _session(twin, classes)
        return cls(candidate, twin, first, second, yardstick or Yardstick())

    @property
    def same(self) -> bool:
        return self.candidate.digest == self.twin.digest

    def logits(self, x: Floats) -> tuple[Floats, Floats]:
        """Both answers to the same rows, the candidate's first."""
        asked = f"logits of {self.twin.digest}"
        theirs = self.yardstick.once(asked, x, compute=lambda: self.twin_session.logits(x))
        return theirs if self.same else self.candidate_session.logits(x), theirs


def _session(contender: Contender, classes: int | None) -> Session:
    session = Session(contender.onnx)
    if session.classes != classes:
        raise InvalidInputError(
            f"the model {contender.digest} gives {session.said}, the data have {classes or 'no'} classes; "
            "change the network's last layer or the snapshot's `classes`"
        )
    return session


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, every module's own mode restored afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def device_of(model: nn.Module) -> torch.device:
    """Where the network's parameters are; the CPU when it has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
