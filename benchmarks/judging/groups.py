"""Intervals of rates by group: ours against fairlearn's bootstrap, on the same answers with as many resamples."""

import json
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.peers import environments
from pruneguard.evaluation.fairness.groups import rates
from pruneguard.workload import Integers

PACKAGES = ("fairlearn==0.15.0",)
RATES = ("selection_rate", "tpr", "fpr", "accuracy")


@dataclass(frozen=True, slots=True)
class Answers:
    """Labels and answers of 0 and 1, and the group of each row."""

    y: Integers
    predicted: Integers
    groups: npt.NDArray[np.str_]

    @classmethod
    def drawn(cls, *, rows: int, groups: int, seed: int) -> "Answers":
        """Groups of unequal size that are answered unequally well."""
        random = np.random.default_rng(seed)
        group = random.choice(groups, size=rows, p=np.arange(1, groups + 1) / (groups * (groups + 1) / 2))
        y = (random.random(rows) < 0.3 + 0.4 * group / groups).astype(np.int64)
        wrong = random.random(rows) < 0.05 + 0.1 * group / groups
        return cls(y, np.where(wrong, 1 - y, y), np.array([f"g{number:02}" for number in group]))


@dataclass(frozen=True, slots=True)
class Compared:
    """`ours` and `theirs` are seconds; `apart` the largest distance between two ends of an interval, in standard errors
    of such a difference: each end is itself a quantile of few resamples."""

    ours: float
    theirs: float
    apart: float
    intervals: int


def compare(*, rows: int, groups: int, resamples: int, seed: int) -> Compared:
    """Raises Unable where fairlearn cannot be installed or does not run."""
    answers = Answers.drawn(rows=rows, groups=groups, seed=seed)
    theirs, intervals = _fairlearn(answers, resamples=resamples, seed=seed)
    start = time.perf_counter()
    ours = rates(answers.y, answers.predicted, answers.groups, resamples=resamples, seed=seed)
    seconds = time.perf_counter() - start
    apart = []
    for name, (low, high) in intervals.items():
        mine = ours[name]
        if mine.low is None or mine.high is None:
            continue
        error = (high - low) / (2 * 1.96) * _QUANTILE_ERROR / np.sqrt(resamples)
        apart += [abs(mine.low - low) / error, abs(mine.high - high) / error]
    return Compared(seconds, theirs, float(max(apart)), len(apart) // 2)


_QUANTILE_ERROR = np.sqrt(2 * 0.025 * 0.975) / 0.0584
"""Standard error of the difference of two 2.5 % quantiles of a normal distribution, each of one resample, in its sd."""


def _fairlearn(answers: Answers, *, resamples: int, seed: int) -> tuple[float, dict[str, tuple[float, float]]]:
    others = [f"{name}=={version(name)}" for name in ("numpy", "pandas", "scikit-learn")]
    interpreter = environments.python("fairlearn", [*PACKAGES, *others])
    with tempfile.TemporaryDirectory(prefix="pruneguard-fairlearn-") as name:
        given, made = Path(name) / "answers.npz", Path(name) / "intervals.json"
        np.savez(given, y=answers.y, predicted=answers.predicted, groups=answers.groups)
        arguments = [str(given), str(made), str(resamples), str(seed)]
        environments.call(interpreter, "benchmarks.peers.fairlearn_child", arguments, environment={})
        told = json.loads(made.read_text())
    return told["seconds"], {name: (low, high) for name, (low, high) in told["intervals"].items()}
