"""What an analysis looks at: the network of a manifest, trained, and the rows that it is tried on.

These are the rows of the gate split. The twin has not learnt them; its training rows it knows by heart, and answers
them so surely that a cut seems to cost less than it does. A search may look at the gate split as often as it likes.
The release split is for the final verdict alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from pruneguard import canonical, home, pruning
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation import data_quality
from pruneguard.evaluation.contender import Contender
from pruneguard.evaluation.correctness import quality
from pruneguard.evaluation.marking import Marking
from pruneguard.evidence import PairedTable
from pruneguard.lifecycle import Twin, trained
from pruneguard.manifest import Manifest
from pruneguard.pruning import deploying, matching, shop
from pruneguard.pruning.recipe import Recipe
from pruneguard.reporting import listener
from pruneguard.settings import Settings
from pruneguard.statistics import tango_lower, tango_upper
from pruneguard.workload import Floats, Snapshot, Split, Workload, ask, load

ALPHA = 0.05
"""One-sided level of each end of an interval."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A manifest, what it names, and its twin."""

    manifest: Manifest
    workload: Workload
    snapshot: Snapshot
    twin: Twin

    @property
    def rows(self) -> Split:
        return self.snapshot.gate

    @property
    def example(self) -> Floats:
        return self.snapshot.train.x[: shop.EXAMPLE_ROWS]

    @cached_property
    def right(self) -> npt.NDArray[np.bool_]:
        """Which rows the twin gets right."""
        return shop.right(self.twin.model, self.rows, Marking(self.snapshot.tolerance))

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())

    def compared(self, model: nn.Module) -> PairedTable:
        """A network, in eval mode, beside the twin on the same rows."""
        return quality.paired(shop.right(model, self.rows, Marking(self.snapshot.tolerance)), self.right)

    def recipe(self, name: str) -> Recipe:
        """Raises InvalidInputError for a recipe that the manifest has not."""
        found = next((recipe for recipe in self.manifest.recipes if recipe.name == name), None)
        return found or _refuse_recipe(self.manifest, name)


def subject(manifest: Manifest, settings: Settings) -> Subject:
    """The manifest's network with its rows; its twin is the one that a run has trained here already, or a new one.

    Raises InvalidInputError for a workload or data that cannot work.
    """
    workload = load(manifest.workload_file, manifest.workload_class)
    snapshot = ask(workload, "data", settings.data_dir)
    data_quality.require_usable(snapshot)
    matching.require_matching(workload, snapshot)
    known = _recorded(manifest, workload, snapshot, settings) if home.exists(settings) else None
    return Subject(manifest, workload, snapshot, known or _trained(manifest, workload, snapshot))


def require_recipe(manifest: Manifest, name: str) -> None:
    """As `Subject.recipe`, before anything is trained."""
    if name not in [recipe.name for recipe in manifest.recipes]:
        _refuse_recipe(manifest, name)


def require_ratios(ratios: Iterable[float]) -> tuple[float, ...]:
    """Increasing, each once. Raises InvalidInputError for none, and for one outside (0, 1)."""
    given = tuple(ratios)
    if not given or not all(0 < ratio < 1 for ratio in given):
        raise InvalidInputError(f"ratios: expected shares above 0 and below 1, found {list(given)}; change them")
    return tuple(sorted(set(given)))


def require_count(count: int, *, what: str) -> int:
    """Raises InvalidInputError for less than one."""
    if count < 1:
        raise InvalidInputError(f"{what}: expected a whole number from 1 up, found {count}; raise it")
    return count


def interval(table: PairedTable) -> tuple[float, float]:
    """Both ends of Tango's interval of the difference to the twin, each at `ALPHA`."""
    return tango_lower(table, alpha=ALPHA), tango_upper(table, alpha=ALPHA)


def difference_document(table: PairedTable | None) -> dict[str, Any]:
    """Accuracy minus the twin's, with its interval; nulls where there was no network."""
    low, high = (None, None) if table is None else interval(table)
    return {"accuracy_difference": None if table is None else table.difference, "low": low, "high": high}


def _refuse_recipe(manifest: Manifest, name: str) -> Recipe:
    known = [recipe.name for recipe in manifest.recipes]
    raise InvalidInputError(f"recipe: expected one of {known}, found {name!r}; name one that {manifest.path} has")


def _recorded(manifest: Manifest, workload: Workload, snapshot: Snapshot, settings: Settings) -> Twin | None:
    """The twin of the newest run that trained it as the manifest says, on the same rows."""
    store, wanted = home.artifacts(settings), _of_twin(manifest.to_document())
    ledger = home.read_ledger(settings)
    try:
        state = ledger.state()
        for run in reversed(state.runs.values()):
            index = state.causations.get(f"{run.id}/train")
            if index is not None and _of_twin(canonical.decode(store.get(run.manifest))) == wanted:
                event = ledger.entry(index).event
                if event.refs["data"] == snapshot.digest:
                    listener.get().say(f"the twin is the one that run {run.id} trained")
                    return trained(workload, store, event)
    finally:
        ledger.close()
    return None


def _of_twin(document: Mapping[str, Any]) -> list[Any]:
    """What of a manifest a twin depends on: neither its policy nor its recipes."""
    return [document.get(name) for name in ("model", "workload", "seed", "train_epochs")]


def _trained(manifest: Manifest, workload: Workload, snapshot: Snapshot) -> Twin:
    early: list[bytes] = []
    model = pruning.twin(
        workload,
        snapshot,
        epochs=manifest.train_epochs,
        seed=manifest.seed,
        early=early.append,
        progress=listener.get().progress("training the dense twin"),
    )
    onnx = deploying.exported(model, snapshot)
    return Twin(Contender(canonical.digest(onnx), onnx, model), early[0] if early else None)
