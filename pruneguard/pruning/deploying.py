"""A network as the file that answers: exported, and in 8 bits where its recipe says so."""

from typing import cast

from torch import nn

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


def artefact(model: nn.Module, recipe: Recipe, snapshot: Snapshot, *, seed: int) -> bytes:
    """The file of a candidate that this recipe made; layers that stay in 32 bits are told to the listener."""
    onnx = exported(model, snapshot)
    for step in recipe.steps:
        if step.method.verb == "quantise":
            asked, rows = str(step.knobs["kind"]), int(step.knobs["rows"])
            kind = None if asked == "auto" else cast("quantising.Kind", asked)
            made = quantising.int8(onnx, snapshot.train.x, kind=kind, calibration=rows, seed=seed)
            for layer, why in made.untouched.items():
                listener.get().say(f"{layer} stays in 32 bits: {why}")
            onnx = made.content
    return onnx
