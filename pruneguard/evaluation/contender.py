"""The two who are compared, loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.sessions import Session
from pruneguard.workload import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """A model as it is deployed and as it is attacked: `digest` names `onnx`, `model` is the network it came from."""

    digest: str
    onnx: bytes
    model: nn.Module


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Candidate and twin with their sessions. A twin that is judged itself stands on both sides and runs once."""

    candidate: Contender
    twin: Contender
    candidate_session: Session
    twin_session: Session

    @classmethod
    def load(cls, candidate: Contender, twin: Contender, *, classes: int) -> "Pair":
        """Raises InvalidInputError when an artefact does not load or does not give `classes` logits."""
        first = _session(candidate, classes)
        return cls(candidate, twin, first, first if candidate.digest == twin.digest else _session(twin, classes))

    @property
    def same(self) -> bool:
        return self.candidate.digest == self.twin.digest

    def logits(self, x: Floats) -> tuple[Floats, Floats]:
        """Both answers to the same rows, the candidate's first."""
        first = self.candidate_session.logits(x)
        return first, first if self.same else self.twin_session.logits(x)


def _session(contender: Contender, classes: int) -> Session:
    session = Session(contender.onnx)
    if session.classes != classes:
        raise InvalidInputError(
            f"the model {contender.digest} gives {session.classes} logits, the data have {classes} classes; "
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
