"""From a workload to its two kinds of network: the dense twin, and candidates made of it by a recipe."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from pruneguard import canonical
from pruneguard.errors import InvalidInputError
from pruneguard.pruning import lowrank, masks, parts, phases, selecting, sharing, storage, training, weights
from pruneguard.pruning.lineage import Lineage, Part, Rows
from pruneguard.pruning.recipe import Recipe, Stage, Step
from pruneguard.pruning.shop import Known, Promising, Shop, metered
from pruneguard.pruning.transfer import Source
from pruneguard.pruning.workpiece import Workpiece
from pruneguard.reporting import Progress
from pruneguard.workload import Floats, Snapshot, Split, Workload, ask

EARLY_SHARE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A network made by a recipe; its lineage tells how. `masks` is the file that the lineage calls `stored`.

    `deployed` is the network to export: the same, its widths filled up with zeros to what onnxruntime is fast on.
    `coded` is the file of its weights, Huffman-coded, where the recipe asks for one.
    """

    model: nn.Module
    deployed: nn.Module
    lineage: Lineage
    masks: bytes | None = None
    coded: bytes | None = None
    start: bytes | None = None
    """The weights that the lineage starts from, where they are not the twin's own."""

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())


def twin(
    workload: Workload,
    snapshot: Snapshot,
    *,
    epochs: int,
    seed: int,
    early: Callable[[bytes], None] | None = None,
    progress: Progress | None = None,
) -> nn.Module:
    """The dense network, trained by the workload's own `train` if it has one, else by `training.fit`; in eval mode.

    `early` is given the weights of an early moment, for recipes that rewind. A workload's own training knows of no such
    moment, and reports its progress only when it is over.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the first weights are drawn from the global generator
        model = workload.build()
        if getattr(workload, "train", None) is None:
            training.fit(
                model,
                snapshot.train,
                epochs=epochs,
                seed=seed,
                augment=getattr(workload, "augment", None),
                schedule=getattr(workload, "schedule", training.Schedule()),
                progress=progress,
                checkpoint=None if early is None else (_early(epochs), lambda network: early(weights.dump(network))),
            )
        else:
            ask(workload, "train", model, snapshot.train, epochs=epochs, seed=seed)
            if progress is not None:
                progress(epochs, epochs)
    return model.eval()


def candidate(
    workload: Workload,
    twin: nn.Module,
    snapshot: Snapshot,
    recipe: Recipe,
    *,
    ratio: float,
    epochs: int,
    seed: int,
    round_to: int = 8,
    early: bytes | None = None,
    source: Source | None = None,
    known: Known | None = None,
    promising: Promising | None = None,
    progress: Progress | None = None,
) -> Candidate:
    """What a recipe makes of a copy of the twin, which teaches it; the twin itself is never changed.

    `ratio` is how much those steps take away that do not say it themselves; `epochs` is what all training together may
    take; `round_to` is the multiple that widths are kept at, because onnxruntime is fast on such widths only. `early`
    are the twin's weights early in its training, for recipes that rewind; `source` is what others transfer from.
    `known` remembers from one candidate of this twin to the next. `promising` may spare a candidate its training,
    which is returned as it is then.

    Raises InvalidInputError when a step cannot be done to this network, or training it comes to nothing.
    """
    work, known = Workpiece.of(twin), known or Known()
    train, rows = _rows(recipe, workload, snapshot, known, seed=seed)
    shop = Shop(
        workload=workload,
        train=train,
        gate=snapshot.gate,
        twin=twin,
        early=None if early is None else weights.read(early),
        ratio=ratio,
        seed=seed,
        round_to=round_to,
        promising=promising,
        known=known,
        source=source,
        meter=metered(progress, epochs=epochs),
    )
    todo = phases.phases(recipe.steps)
    if len(todo) > epochs:
        raise InvalidInputError(
            f"recipe {recipe.name!r} trains {len(todo)} times, and finetune_epochs is {epochs}; give it one for each"
        )
    for number, steps in enumerate(todo):
        share = phases.part_of(epochs, number, len(todo))
        work = phases.act(work, steps, shop, epochs=share, last=number == len(todo) - 1)
    coded = None
    spared = bool(todo) and not work.epochs  # nothing is coded that was not worth training
    if (encoding := _step(recipe, "encode")) is not None and not spared:
        # The network gets the values back that are stored: what is judged is what is stored.
        work = replace(work, model=sharing.share(work.model, bits=int(encoding.knobs["bits"])))
        coded = storage.encode(weights.dump(work.model))
    made = replace(work, rows=rows).lineage(recipe=recipe.to_document(), ratio=ratio, seed=seed)
    ready = phases.deployed(work, known, shop.example)
    packed = masks.pack(work.masks) if work.masks else None
    start = None if made.start == made.dense else weights.save(work.start)
    return Candidate(work.model, ready, made, packed, coded, start)


def shaped(twin: nn.Module, lineage: Lineage) -> nn.Module:
    """A network of the candidate's shape, for its weights to be loaded into."""
    kept = {lineage.source(name): axes for name, axes in lineage.kept.items()}
    model, _ = parts.cut(twin, removed=lineage.removed, kept=kept)
    return lowrank.reshape(model, lineage.factored)


def _early(epochs: int) -> int:
    """The epoch that rewinding goes back to: a few percent of the training, as Frankle et al. 2020 (1912.05671)."""
    return max(1, round(EARLY_SHARE * epochs))


def predicted(twin: nn.Module, example: Floats, recipe: Recipe, *, ratio: float, round_to: int, known: Known) -> float:
    """About what share of the twin's weights this recipe will leave that are not zero; it follows from shapes.

    Raises InvalidInputError where a step can take nothing from this network.
    """
    left = 1.0
    for step in recipe.steps:
        share = ratio if step.ratio is None else step.ratio
        if step.method.stage is Stage.STRUCTURE:
            left *= phases.left(known.find(Part(step.method.what), twin, example), twin, ratio=share, round_to=round_to)
        elif step.method.stage is Stage.WEIGHTS and step.method.searched:
            left *= 1 - share
    return left


def _rows(
    recipe: Recipe, workload: Workload, snapshot: Snapshot, known: Known, *, seed: int
) -> tuple[Split, Rows | None]:
    """The training rows that the recipe leaves, and what a lineage says of them."""
    step = _step(recipe, "select")
    if step is None:
        return snapshot.train, None
    asked = str(step.to_document())
    if asked not in known.rows:
        by, prefer = str(step.knobs["by"]), str(step.knobs["prefer"])
        keep = float(step.knobs["keep"])
        known.rows[asked] = selecting.select(workload, snapshot, by=by, keep=keep, prefer=prefer, seed=seed)
    rows = known.rows[asked]
    digest = canonical.digest(rows.astype("<i8").tobytes())
    return snapshot.train.taken(rows), Rows(len(rows), len(snapshot.train), digest)


def _step(recipe: Recipe, verb: str) -> Step | None:
    return next((step for step in recipe.steps if step.method.verb == verb), None)
