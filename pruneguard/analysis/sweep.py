"""Recipes over ratios and seeds, trained as a search trains them, and the Pareto front of what came of it.

As ShrinkBench asks (Blalock et al. 2020, arXiv 2003.03033): the same dense start for all, several operating points,
several seeds with their spread, and measured time beside counted weights. No policy judges here.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pruneguard import canonical, pruning
from pruneguard.analysis.front import front
from pruneguard.analysis.subject import Subject, difference_document, interval, require_count, require_ratios
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.contender import Contender
from pruneguard.evaluation.efficiency import latency
from pruneguard.evaluation.evaluate import Yardstick, evaluate
from pruneguard.evidence import Estimate, Evidence, PairedTable
from pruneguard.pruning import deploying
from pruneguard.pruning.recipe import Recipe
from pruneguard.pruning.shop import metered
from pruneguard.reporting import hushed, listener
from pruneguard.search import Trial

RATIOS = (0.3, 0.5, 0.7, 0.8, 0.9)
POINTS_MIN = 5
"""Operating points below which a comparison of recipes says little (ShrinkBench, section 6)."""

SEEDS = 3


@dataclass(frozen=True, slots=True)
class Made:
    """One candidate. All but the table are ratios to the twin; `stored` counts the bytes of the file that is kept."""

    seed: int
    table: PairedTable
    latency: float
    latency_b64: float
    nonzero: float
    stored: float

    def to_document(self) -> dict[str, Any]:
        ratios = {"latency_ratio": self.latency, "latency_ratio_b64": self.latency_b64}
        sizes = {"nonzero_ratio": self.nonzero, "stored_ratio": self.stored}
        return {"seed": self.seed, **difference_document(self.table), **ratios, **sizes}


@dataclass(frozen=True, slots=True)
class Point:
    """One recipe at one ratio (0 where it leaves none open), over seeds; none `made` where `reason` says why."""

    recipe: str
    ratio: float
    made: tuple[Made, ...]
    reason: str = ""

    @property
    def words(self) -> str:
        return Trial(self.recipe, self.ratio).words

    @property
    def difference(self) -> float:
        """Mean accuracy minus the twin's."""
        return statistics.fmean(each.table.difference for each in self.made)

    @property
    def spread(self) -> float | None:
        """Standard deviation of that over seeds; None for a single one."""
        values = [each.table.difference for each in self.made]
        return statistics.stdev(values) if len(values) > 1 else None

    @property
    def low(self) -> float:
        """The lower bound of the accuracy difference, of the seed where it is lowest."""
        return min(interval(each.table)[0] for each in self.made)

    @property
    def high(self) -> float:
        """The upper bound, of the seed where it is highest."""
        return max(interval(each.table)[1] for each in self.made)

    @property
    def latency(self) -> float:
        return statistics.median(each.latency for each in self.made)

    @property
    def latency_b64(self) -> float:
        return statistics.median(each.latency_b64 for each in self.made)

    @property
    def nonzero(self) -> float:
        return statistics.fmean(each.nonzero for each in self.made)

    @property
    def stored(self) -> float:
        return statistics.fmean(each.stored for each in self.made)

    @property
    def costs(self) -> tuple[float, ...]:
        """What the front weighs: accuracy that may be lost, both latencies to the percent, and weights left.

        Finer than a percent a measured latency is mostly noise, and noise would put everything on the front.
        """
        return -self.low, round(self.latency, 2), round(self.latency_b64, 2), self.nonzero

    def to_document(self) -> dict[str, Any]:
        document: dict[str, Any] = {"recipe": self.recipe, "ratio": self.ratio, "why": self.reason}
        if self.made:
            document |= {"accuracy_difference": self.difference, "sd": self.spread, "low": self.low, "high": self.high}
            document |= {"latency_ratio": self.latency, "latency_ratio_b64": self.latency_b64}
            document |= {"nonzero_ratio": self.nonzero, "stored_ratio": self.stored}
        return document | {"seeds": [each.to_document() for each in self.made]}


@dataclass(frozen=True, slots=True)
class Sweep:
    """All points; `accuracy` is the twin's, on `rows` rows."""

    model: str
    rows: int
    accuracy: float
    epochs: int
    points: tuple[Point, ...]

    @property
    def best(self) -> tuple[Point, ...]:
        """The Pareto front."""
        made = [point for point in self.points if point.made]
        return tuple(made[number] for number in front([point.costs for point in made]))

    def to_document(self) -> dict[str, Any]:
        best = self.best
        return {
            "analysis": "sweep",
            "model": self.model,
            "split": "gate",
            "rows": self.rows,
            "twin_accuracy": self.accuracy,
            "epochs": self.epochs,
            "points": [point.to_document() | {"on_front": point in best} for point in self.points],
        }


def measure(
    subject: Subject,
    *,
    recipes: Sequence[Recipe],
    ratios: Sequence[float] = RATIOS,
    seeds: int = SEEDS,
    epochs: int | None = None,
) -> Sweep:
    """Make and measure every recipe at every ratio with every seed; `epochs` instead of the manifest's fine-tuning.

    Seeds count up from the manifest's. A recipe that leaves no ratio open is one point. Raises InvalidInputError for
    ratios, seeds and epochs that cannot be, and when no point at all could be made.
    """
    manifest, ratios, seeds = subject.manifest, require_ratios(ratios), require_count(seeds, what="seeds")
    epochs = require_count(manifest.finetune_epochs if epochs is None else epochs, what="epochs")
    if len(ratios) < POINTS_MIN and any(recipe.searched for recipe in recipes):
        listener.get().say(f"{len(ratios)} ratios are few: recipes are compared on {POINTS_MIN} or more")
    todo = [(recipe, ratio) for recipe in recipes for ratio in (ratios if recipe.searched else (0.0,))]
    bar = listener.get().progress(f"making {len(todo) * seeds} candidates")
    meter = metered(bar, epochs=len(todo) * seeds * epochs)
    yardstick, points = Yardstick(), []
    for recipe, ratio in todo:
        made: list[Made] = []
        reason = ""
        for seed in range(manifest.seed, manifest.seed + seeds):
            try:
                candidate = pruning.candidate(
                    subject.workload,
                    subject.twin.model,
                    subject.snapshot,
                    recipe,
                    ratio=ratio,
                    epochs=epochs,
                    seed=seed,
                    round_to=manifest.round_to,
                    early=subject.twin.early,
                    known=subject.twin.known,
                    progress=meter(epochs),
                )
                made.append(_measured(subject, candidate, recipe, seed=seed, yardstick=yardstick))
            except InvalidInputError as error:
                reason = reason or (f"seed {seed}: {error}" if seeds > 1 else str(error))
        points.append(Point(recipe.name, ratio, tuple(made), reason))
        listener.get().say(_told(points[-1]))
    bar(1, 1)
    if not any(point.made for point in points):
        raise InvalidInputError(f"no candidate could be made: {points[0].words}: {points[0].reason}")
    return Sweep(manifest.model, len(subject.rows), subject.accuracy, epochs, tuple(points))


def _measured(
    subject: Subject, candidate: pruning.Candidate, recipe: Recipe, *, seed: int, yardstick: Yardstick
) -> Made:
    with hushed():
        onnx = deploying.artefact(candidate.deployed, recipe, subject.snapshot, seed=seed).onnx
    stored = None if candidate.coded is None else len(candidate.coded)
    evidence = evaluate(
        Contender(canonical.digest(onnx), onnx, candidate.model, stored),
        subject.twin.contender,
        subject.snapshot,
        split="gate",
        seed=seed,
        wanted=latency.BATCHES,
        all_else=False,
        yardstick=yardstick,
    )
    table = evidence.get("quality.paired")
    assert isinstance(table, PairedTable)  # it is always measured
    size = "efficiency.size_ratio" if stored is None else "efficiency.stored_ratio"
    return Made(
        seed,
        table,
        latency=_value(evidence, "efficiency.latency_ratio"),
        latency_b64=_value(evidence, "efficiency.latency_ratio_b64"),
        nonzero=_value(evidence, "efficiency.nonzero_ratio"),
        stored=_value(evidence, size),
    )


def _value(evidence: Evidence, name: str) -> float:
    found = evidence.get(name)
    assert isinstance(found, Estimate)  # it was asked for
    return found.value


def _told(point: Point) -> str:
    if not point.made:
        return f"{point.words}: no network; {point.reason}"
    lost = f"{100 * point.difference:+.2f} points, at least {100 * point.low:+.2f}"
    return f"{point.words}: {lost}; {point.latency:.0%} of the time, {point.nonzero:.0%} of the weights"
