"""A network as the file that answers: exported, and in 8 bits where its recipe says so."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from torch import nn

from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.pruning import export, quantising
from pruneguard.pruning.recipe import Recipe
from pruneguard.reporting import listener, working
from pruneguard.workload import Snapshot

COMPARED_ROWS = 1000
"""Rows on which an exported file has to answer as its network does."""


def exported(model: nn.Module, snapshot: Snapshot) -> bytes:
    """ONNX bytes, compared with the network on rows of the gate split; errors are those of `export.to_onnx`."""
    with working("exporting to ONNX"):
        return export.to_onnx(model, snapshot.gate.x[:COMPARED_ROWS], classes=snapshot.classes)


@dataclass(frozen=True, slots=True)
class Artefact:
    """The file that answers, and what was done to it beside exporting, for the record.

    `unrounded` is the exported file, where the one that answers was made from it in 8 bits.
    """

    onnx: bytes
    unrounded: bytes | None = None
    told: Mapping[str, str] = field(default_factory=dict)


def artefact(model: nn.Module, recipe: Recipe, snapshot: Snapshot, *, seed: int) -> Artefact:
    """The file of a candidate that this recipe made; layers that stay in 32 bits are told to the listener too.

    Raises InvalidInputError where no file can be made that answers as the network does: then there is no candidate.
    """
    step = next((step for step in recipe.steps if step.method.verb == "quantise"), None)
    try:
        onnx = exported(model, snapshot)
        if step is None:
            return Artefact(onnx)
        asked, rows = str(step.knobs["kind"]), int(step.knobs["rows"])
        kind = None if asked == "auto" else cast("quantising.Kind", asked)
        made = quantising.int8(onnx, snapshot.train.x, kind=kind, calibration=rows, seed=seed)
    except IntegrityError as error:
        raise InvalidInputError(f"recipe {recipe.name!r} made no file to deploy: {error}") from error
    for layer, why in made.untouched.items():
        listener.get().say(f"{layer} stays in 32 bits: {why}")
    told = {"int8": made.kind, "agreement": f"{made.agreement:.4f}", "in_32_bits": ", ".join(sorted(made.untouched))}
    return Artefact(made.content, onnx, {name: text for name, text in told.items() if text})
