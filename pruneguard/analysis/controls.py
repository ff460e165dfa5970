"""Does the recipe earn its keep? It is set beside what needs no criterion, or no pruning at all.

as asked            the recipe itself
random              the same steps, and chance says what leaves (ShrinkBench, Blalock et al. 2020, arXiv 2003.03033);
                    where all groups are ranked together it says how much of each as well
from scratch        the shape that the recipe found, its weights drawn anew, trained as long as the twin
                    (Scratch-E of Liu et al. 2019, 1810.05270)
from scratch, long  the same for as much computation as the twin took, at most twice as many epochs, and no fewer than
                    the pruned network has learnt in all (their Scratch-B)
dense, longer       the twin, trained on as long as the recipe may

Everything but the twin learns from the same rows under the same teacher and schedule: what differs is what is asked.
Steps that choose rows, quantise or code are left out, and what is compared is networks in 32 bits.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from pruneguard import pruning
from pruneguard.analysis.bench import LONGER_MAX, Bench, Control
from pruneguard.analysis.subject import Subject, require_count, require_ratios
from pruneguard.errors import InvalidInputError
from pruneguard.pruning.recipe import Recipe, Schedule, Stage, Step
from pruneguard.pruning.shop import metered
from pruneguard.reporting import listener

RATIOS = (0.75,)
SEEDS = 3
SIGNIFICANT = 0.05
ASKED, RANDOM, SCRATCH, SCRATCH_LONG, DENSE = (
    "as asked",
    "random",
    "from scratch",
    "from scratch, long",
    "dense, longer",
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The recipe against one control, seed by seed.

    `p` and `p_worse` are those of the sign test, one-sided: small where it is better, or worse, with nearly every seed.
    """

    control: str
    gain: float
    wins: int
    losses: int
    seeds: int
    p: float
    p_worse: float

    @property
    def words(self) -> str:
        """
        >>> compared("random", (0.0, -0.01, -0.02), (-0.02, -0.03, -0.02)).words
        'against random: +1.33 points, better with 2 of 3 seeds and worse with 0; not shown'
        """
        counts = f"better with {self.wins} of {self.seeds} seeds and worse with {self.losses}"
        shown = next((f"shown {w} (p = {p:.2g})" for w, p in self._odds if p <= SIGNIFICANT), "not shown")
        few = "; it takes 5 seeds or more" if shown == "not shown" and self.seeds in (self.wins, self.losses) else ""
        return f"against {self.control}: {100 * self.gain:+.2f} points, {counts}; {shown}{few}"

    @property
    def _odds(self) -> tuple[tuple[str, float], tuple[str, float]]:
        return ("better", self.p), ("worse", self.p_worse)

    def to_document(self) -> dict[str, Any]:
        counts = {"wins": self.wins, "losses": self.losses, "seeds": self.seeds}
        return {
            "control": self.control,
            "gain": self.gain,
            **counts,
            "p": self.p,
            "p_worse": self.p_worse,
            "words": self.words,
        }


def compared(control: str, ours: Sequence[float], theirs: Sequence[float]) -> Comparison:
    """Two sides with the same seeds. Ties count for neither (sign test)."""
    gains = [a - b for a, b in zip(ours, theirs, strict=True)]
    wins, losses = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    n = wins + losses
    p, p_worse = (sum(math.comb(n, k) for k in range(least, n + 1)) / 2**n for least in (wins, losses))
    return Comparison(control, statistics.fmean(gains), wins, losses, len(gains), p, p_worse)


@dataclass(frozen=True, slots=True)
class Level:
    """All sides at one ratio (0 where the recipe leaves none open)."""

    ratio: float
    controls: tuple[Control, ...]

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The recipe against every control of which there is one with every seed."""
        ours, *others = self.controls
        whole = [other for other in others if ours.differences and len(other.differences) == len(ours.differences)]
        return tuple(compared(other.name, ours.differences, other.differences) for other in whole)

    def to_document(self) -> dict[str, Any]:
        return {
            "ratio": self.ratio,
            "controls": [control.to_document() for control in self.controls],
            "comparisons": [comparison.to_document() for comparison in self.comparisons],
        }


@dataclass(frozen=True, slots=True)
class Controls:
    """One recipe at each ratio; `accuracy` is the twin's, on `rows` rows."""

    model: str
    recipe: str
    rows: int
    accuracy: float
    seeds: tuple[int, ...]
    levels: tuple[Level, ...]

    def to_document(self) -> dict[str, Any]:
        return {
            "analysis": "controls",
            "model": self.model,
            "recipe": self.recipe,
            "split": "gate",
            "rows": self.rows,
            "twin_accuracy": self.accuracy,
            "seeds": list(self.seeds),
            "levels": [level.to_document() for level in self.levels],
        }


def measure(
    subject: Subject,
    recipe: Recipe,
    *,
    ratios: Sequence[float] = RATIOS,
    seeds: int = SEEDS,
    epochs: int | None = None,
) -> Controls:
    """Every control of one recipe at every ratio; `epochs` instead of the manifest's fine-tuning.

    Seeds count up from the manifest's; a seed draws what is random, the order of rows and fresh weights. Raises
    InvalidInputError for ratios, seeds and epochs that cannot be, and for a recipe that changes no network.
    """
    manifest, ratios, seeds = subject.manifest, require_ratios(ratios), require_count(seeds, what="seeds")
    epochs = require_count(manifest.finetune_epochs if epochs is None else epochs, what="epochs")
    bare = bared(recipe)
    levels = ratios if bare.searched else (0.0,)
    drawn = tuple(range(manifest.seed, manifest.seed + seeds))
    # What the longer training from scratch takes is known only when there is a shape: the bar counts it at its most.
    each = 2 * epochs + manifest.train_epochs + max(manifest.train_epochs + epochs, LONGER_MAX * manifest.train_epochs)
    bar = listener.get().progress(f"training {recipe.name} and its controls")
    bench = Bench(subject, epochs, metered(bar, epochs=seeds * (epochs + len(levels) * each)))
    dense = bench.control(DENSE, drawn, bench.longer)
    found = tuple(Level(ratio, (*_pruned(bench, bare, ratio, drawn), dense)) for ratio in levels)
    bar(1, 1)
    return Controls(manifest.model, recipe.name, len(subject.rows), subject.accuracy, drawn, found)


def bared(recipe: Recipe) -> Recipe:
    """The steps that change the network. Raises InvalidInputError where there are none."""
    steps = tuple(step for step in recipe.steps if step.method.stage in (Stage.STRUCTURE, Stage.WEIGHTS))
    if not steps:
        raise InvalidInputError(f"recipe {recipe.name!r} ({recipe.words}) removes nothing; name one that prunes")
    return Recipe(recipe.name, steps)


def randomised(recipe: Recipe) -> Recipe | None:
    """The same recipe with chance for its criterion; None where no step has one.

    Schedules that let training choose the weights (gradual, splicing) become one-shot: there is no chance in them.
    """
    if not any("criterion" in step.knobs for step in recipe.steps):
        return None
    return Recipe(recipe.name, tuple(_random(step) for step in recipe.steps))


def _random(step: Step) -> Step:
    if "criterion" not in step.knobs:
        return step
    knobs = {**step.knobs, "criterion": "random"}
    if knobs["schedule"] in (Schedule.GRADUAL, Schedule.SPLICING):
        knobs["schedule"] = Schedule.ONE_SHOT.value
    return replace(step, knobs=knobs)


def _pruned(bench: Bench, recipe: Recipe, ratio: float, seeds: Sequence[int]) -> tuple[Control, ...]:
    made: dict[int, pruning.Candidate] = {}

    def asked(seed: int) -> tuple[nn.Module, int]:
        made[seed] = bench.candidate(recipe, ratio, seed)
        return made[seed].model, bench.epochs

    ours = bench.control(ASKED, seeds, asked)
    chance = randomised(recipe)
    if chance is None:
        random = Control(RANDOM, 0, 0.0, (), f"{recipe.words} has no criterion that chance could stand in for")
    else:
        random = bench.control(RANDOM, seeds, lambda seed: (bench.candidate(chance, ratio, seed).model, bench.epochs))
    if len(made) < len(seeds):
        none = (Control(name, 0, 0.0, (), "the recipe made no network") for name in (SCRATCH, SCRATCH_LONG))
        return (ours, random, *none)
    short = bench.control(SCRATCH, seeds, lambda seed: bench.scratch(made[seed], seed, long=False))
    return (
        ours,
        random,
        short,
        bench.control(SCRATCH_LONG, seeds, lambda seed: bench.scratch(made[seed], seed, long=True)),
    )
