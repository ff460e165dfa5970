"""How often each statistical gate is wrong where it is hardest to be right: on models that lie just on the limit.

Every scene draws what a run would measure of such a model, by the interval that evaluation uses, and asks the real
gate. A scene on the margin counts passes that should not be; one off it counts the passes that should, the power.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from statistics import NormalDist

import numpy as np

from pruneguard.evaluation.correctness import quality
from pruneguard.evaluation.efficiency import latency
from pruneguard.evaluation.estimates import share
from pruneguard.evaluation.reliability import calibration
from pruneguard.evaluation.reliability.detection import Ranking
from pruneguard.evidence import Estimate, Measurement, PairedTable
from pruneguard.gates import GATES
from pruneguard.statistics import betting_upper, clopper_pearson, rows_needed
from pruneguard.verdict import Outcome

Draw = Callable[[np.random.Generator], Mapping[str, Measurement]]

NAME = "measured"

_POWER = 0.89
"""What `rows_needed` promises is 90 %, by a normal approximation."""


@dataclass(frozen=True, slots=True)
class Scene:
    """`draw` gives what is measured of one model. `power` says that it is no model on the margin but a good one, and
    `promised` with what chance it has to pass, where somebody says so. `dear` are bootstraps.
    """

    gate: str
    words: str
    parameters: Mapping[str, float]
    draw: Draw
    power: bool = False
    promised: float = 0
    dear: bool = False

    def passes(self, random: np.random.Generator) -> bool:
        return _passes(self.gate, tuple(sorted(self.parameters.items())), tuple(sorted(self.draw(random).items())))


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a scene passed, with an exact 95 % interval."""

    scene: Scene
    passed: int
    of: int

    @property
    def value(self) -> float:
        return self.passed / self.of

    @property
    def ends(self) -> tuple[float, float]:
        return clopper_pearson(self.passed, self.of, alpha=0.05)

    def __str__(self) -> str:
        return f"{self.scene.gate} {self.scene.words}: {100 * self.value:.2f} %"


def rate(scene: Scene, *, repetitions: int, seed: int) -> Rate:
    random = np.random.default_rng(seed)
    return Rate(scene, sum(scene.passes(random) for _ in range(repetitions)), repetitions)


@cache
def _passes(
    gate: str, parameters: tuple[tuple[str, float], ...], measured: tuple[tuple[str, Measurement], ...]
) -> bool:
    """The same table is drawn many times, and judged once."""
    answer = GATES[gate].check(NAME, GATES[gate].complete(dict(parameters)), dict(measured))
    return answer.outcome is Outcome.PASSED


def scenes() -> Iterator[Scene]:
    yield from _paired()
    yield from _slices()
    yield from _bounds()


# -- paired answers ---------------------------------------------------------------------------------------------------


def _paired() -> Iterator[Scene]:
    """Rows, discordance and margin as in the shipped policies; the margin itself is a loss that must not pass."""
    for rows, discordance, margin, alpha in (
        (300, 0.05, 0.03, 0.05),
        (1000, 0.1, 0.03, 0.05),
        (1000, 0.25, 0.05, 0.05),
        (1713, 0.02, 0.01, 0.05),
        (4282, 0.05, 0.01, 0.05),
        (10_000, 0.1, 0.01, 0.05),
        (21_015, 0.05, 0.005, 0.025),
    ):
        words = f"{100 * margin:g} points at {100 * alpha:g} %, n {rows}, discordance {100 * discordance:g} %"
        parameters = {"margin": margin, "alpha": alpha}
        enough = rows >= rows_needed(discordance=discordance, margin=margin, alpha=alpha)
        yield Scene("non_inferior", words, parameters, partial(_table, rows, discordance, margin))
        yield Scene(
            "non_inferior",
            words,
            parameters,
            partial(_table, rows, discordance, 0.0),
            power=True,
            promised=_POWER if enough else 0,
        )


def _table(rows: int, discordance: float, loss: float, random: np.random.Generator) -> Mapping[str, Measurement]:
    return {NAME: _drawn(rows, discordance, loss, random)}


def _drawn(rows: int, discordance: float, loss: float, random: np.random.Generator) -> PairedTable:
    won, lost = (discordance - loss) / 2, (discordance + loss) / 2
    counts = random.multinomial(rows, [0.9 * (1 - discordance), won, lost, 0.1 * (1 - discordance)])
    return PairedTable(*counts.tolist())


# -- slices -----------------------------------------------------------------------------------------------------------


def _slices() -> Iterator[Scene]:
    """Ten slices that all lie on the margin are not shown to be below it: here the error is a refusal.

    The power is to refuse where one of ten lies five points below the margin, so those scenes ought not to pass.
    """
    for rows in (100, 300, 1000):
        parameters = {"margin": 0.03, "alpha": 0.05, "rows_min": 50}
        on = partial(_ten, rows, [0.03] * 10)
        yield Scene("slices_non_inferior", f"ten slices of {rows} on the margin of 3 points", parameters, on)
        one = partial(_ten, rows, [0.08] + [0.0] * 9)
        yield Scene("slices_non_inferior", f"one of ten slices of {rows} 8 points down", parameters, one, power=True)


def _ten(rows: int, losses: list[float], random: np.random.Generator) -> Mapping[str, Measurement]:
    return {
        f"{NAME}.slice.s={number}": _drawn(rows, max(0.1, loss), loss, random) for number, loss in enumerate(losses)
    }


# -- bounds on numbers ------------------------------------------------------------------------------------------------


def _bounds() -> Iterator[Scene]:
    """`at_most_surely` by each kind of interval, where the truth is the limit itself."""
    for words, limit, good, draw in (
        ("share of flips (Clopper-Pearson), n 2,000", 0.1, 0.07, partial(_flips, 2000)),
        ("divergence (betting), n 500", 0.1, 0.05, partial(_divergence, 500)),
        ("AUROC drop (DeLong), 1,000 rows and 300 outliers", 0.02, 0.0, partial(_auroc_drop, 1000, 300)),
        ("latency ratio (bootstrap of medians), 60 rounds", 1.0, 0.95, partial(_latency, 60)),
        ("calibration error increase (bootstrap), n 300", 0.05, 0.01, partial(_calibration, 300, "ece")),
        ("Brier increase (bootstrap), n 300", 0.02, 0.005, partial(_calibration, 300, "brier")),
    ):
        dear = "bootstrap" in words
        yield Scene("at_most_surely", words, {"limit": limit}, partial(draw, limit), dear=dear)
        yield Scene(
            "at_most_surely",
            f"{words}, truth {good:g} of {limit:g}",
            {"limit": limit},
            partial(draw, good),
            power=True,
            dear=dear,
        )


def _flips(rows: int, truth: float, random: np.random.Generator) -> Mapping[str, Measurement]:
    return {NAME: share(int(random.binomial(rows, truth)), rows, alpha=2 * quality.ALPHA_CERTIFICATE)}


def _divergence(rows: int, truth: float, random: np.random.Generator) -> Mapping[str, Measurement]:
    """Most answers agree, some do not at all: the shape that a bounded mean is hardest to bound for."""
    values = random.beta(0.2, 0.2 * (1 - truth) / truth, size=rows)
    return {NAME: Estimate(float(values.mean()), 0.0, _betting(tuple(values.tolist())), rows)}


def _betting(values: tuple[float, ...]) -> float:
    return betting_upper(values, alpha=quality.ALPHA_CERTIFICATE)


def _auroc_drop(inside: int, outside: int, truth: float, random: np.random.Generator) -> Mapping[str, Measurement]:
    """Two models whose scores share most of their luck; the areas follow from how far apart the groups lie."""
    shared = [random.standard_normal(size) for size in (inside, outside)]
    rankings = []
    for area in (0.9 - truth, 0.9):
        own = [0.9 * each + math.sqrt(1 - 0.81) * random.standard_normal(len(each)) for each in shared]
        rankings.append(Ranking(own[0] + math.sqrt(2) * NormalDist().inv_cdf(area), own[1]))
    ours, theirs = rankings
    return {NAME: theirs.auroc_minus(ours)}


def _latency(rounds: int, truth: float, random: np.random.Generator) -> Mapping[str, Measurement]:
    """Rounds whose moods both models share, with a tail of slow ones."""
    mood = random.lognormal(0, 0.1, size=(rounds, 1))
    own = random.lognormal(0, 0.05, size=(rounds, 2)) + (random.random((rounds, 2)) < 0.05)
    taken = 1e-4 * mood * own * np.array([[truth, 1.0]])
    return {NAME: latency.ratio_of_medians(taken, seed=int(random.integers(2**31)))}


def _calibration(rows: int, score: str, truth: float, random: np.random.Generator) -> Mapping[str, Measurement]:
    """Two classes, a twin that is right as often as it says, a candidate that says more by a constant.

    Then the candidate's calibration error is the constant, and its Brier score is higher by twice its square.
    """
    more = truth if score == "ece" else math.sqrt(truth / 2)
    stated = random.uniform(0.55, 0.95 - more, size=rows)
    y = (random.random(rows) > stated).astype(np.int64)  # class 0 is what both answer
    candidate, twin = _logits(stated + more), _logits(stated)
    measured = calibration.measure(candidate, twin, y, seed=int(random.integers(2**31)))
    return {NAME: measured[f"calibration.{score}_increase"]}


def _logits(first: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.stack([np.log(first), np.log1p(-first)], axis=1).astype(np.float32)
