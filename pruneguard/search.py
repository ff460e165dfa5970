"""The policy is the constraint: which candidate to try next, and which one is the best that passed.

Every recipe has levels from mild to bold, and two things are taken to hold along them: what a cut breaks, a bolder cut
breaks too, and what is too large or too slow, a milder cut is as well. Then a recipe's passing levels lie together,
and a bisection finds the boldest. Recipes compete in three acts:

1. nothing has passed yet   every recipe tries the middle of what is open to it, whoever has tried least first
2. something has passed     its recipe is bisected to the end: the better the best, the less is open to the others
3. then the challengers     each tries the mildest level that would beat the best. A failure ends it at the price of one
                            trial; a success makes it the best, and act 2 begins again. Where K recipes come in no
                            particular order that happens about ln K times (Chan 1999, doi:10.1007/PL00009478).

A level that is predicted to be no better than the best is never tried. Predictions cost no training: sizes follow from
the cut. A level milder than one that passed should pass, and is tried only where it is predicted to be better, which
is what odd widths do to latency.

Surprises: what fails below a level that passed is passed over, for the bolder one stands; what is open begins above
the boldest that passed and ends below the mildest failure above it. What is too large although a milder level was not
rules out only itself. Nothing is tried twice.

Pure: the same results, in any order, give the same next trial, so a search that was killed goes on from its record.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from pruneguard.errors import InvalidInputError

LEVELS = (*(step / 20 for step in range(1, 20)), 0.98)
"""What a recipe may cut, if nobody says otherwise: 20 shares, 5 % to 98 %."""

EVALUATIONS_MAX, TRIALS_MAX = 8, 24


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate to make: a recipe, and the share that it shall take away."""

    recipe: str
    ratio: float

    @property
    def words(self) -> str:
        """As people say it; a ratio of 0 is that of a recipe that leaves nothing open.

        >>> Trial("narrow", 0.5).words, Trial("int8", 0).words
        ('narrow at 50 %', 'int8')
        """
        return f"{self.recipe} at {100 * self.ratio:g} %" if self.ratio else self.recipe


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a trial.

    `objective` is what the search makes small (parameters, latency, bytes, as ratios to the twin's), None where no
    network could be made. `full` says that everything was measured; `stopped_by` names the rule at whose certain
    failure the trial was stopped, or says why there is no network. `too_mild`: refused for being too large or too
    slow, which a bolder cut mends and a milder one does not.
    """

    trial: Trial
    objective: float | None
    passed: bool
    full: bool
    stopped_by: str | None = None
    too_mild: bool = False


@dataclass(frozen=True, slots=True)
class Space:
    """What may be tried: for every recipe its ratios, increasing, and the budget that all of them share.

    `evaluations_max` bounds the full evaluations, `trials_max` all trials, those that were stopped early included.
    `predicted` holds objectives that are known before anything is trained. Raises InvalidInputError for levels that do
    not increase.
    """

    levels: Mapping[str, tuple[float, ...]]
    evaluations_max: int = EVALUATIONS_MAX
    trials_max: int = TRIALS_MAX
    predicted: Mapping[Trial, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for recipe, ratios in self.levels.items():
            if any(after <= before for before, after in pairwise(ratios)):
                raise InvalidInputError(f"the ratios of {recipe} are {list(ratios)}; expected them to increase")


def next_trial(space: Space, results: Collection[Result]) -> Trial | None:
    """What to try now; None when nothing better can be found, or the budget is spent."""
    if sum(result.full for result in results) >= space.evaluations_max or len(results) >= space.trials_max:
        return None
    leader = best(results)
    courses = [_Course.of(recipe, place, space, results, leader) for place, recipe in enumerate(space.levels)]
    going = [course for course in courses if course.upwards or course.beside]
    return min(going, key=lambda course: course.turn).next if going else None


def remaining(space: Space, results: Collection[Result]) -> tuple[int, int]:
    """How many trials are still to come, at least and at most: for an estimate of the time.

    At least what is left when from now on everything passes, or everything fails; at most what every recipe needs that
    learns nothing from the others.
    """
    if next_trial(space, results) is None:
        return 0, 0
    leader = best(results)
    courses = [_Course.of(recipe, place, space, results, leader) for place, recipe in enumerate(space.levels)]
    most = min(sum(course.trials_most for course in courses), space.trials_max - len(results))
    return min(most, *(_played(space, results, passing=passing) for passing in (True, False))), most


def best(results: Collection[Result]) -> Result | None:
    """The passing candidate with the best objective, the mildest of several; None when none passed."""
    return min(
        (result for result in results if result.passed),
        key=lambda r: (_worth(r), r.trial.ratio, r.trial.recipe),
        default=None,
    )


def best_refused(results: Collection[Result]) -> Result | None:
    """The candidate that came nearest when none passed: measured in full, cut the least; None when all passed.

    Of those that were refused as too large or too slow, the boldest is nearest.
    """

    def distance(result: Result) -> tuple[bool, bool, bool, float, str]:
        ratio = -result.trial.ratio if result.too_mild else result.trial.ratio
        return result.objective is None, not result.full, result.too_mild, ratio, result.trial.recipe

    return min((result for result in results if not result.passed), key=distance, default=None)


@dataclass(frozen=True, slots=True)
class _Course:
    """Where one recipe stands.

    `upwards` are the untried levels that might pass and would be the best, from mild to bold; `beside` those that lie
    below one that passed and are predicted to be better all the same, the best first.
    """

    recipe: str
    upwards: tuple[Trial, ...]
    beside: tuple[Trial, ...]
    challenges: bool
    trials_most: int
    turn: tuple[float, ...]

    @classmethod
    def of(cls, recipe: str, place: int, space: Space, results: Collection[Result], leader: Result | None) -> "_Course":
        own = sorted((r for r in results if r.trial.recipe == recipe), key=lambda r: r.trial.ratio)
        passed = max((r.trial.ratio for r in own if r.passed), default=-math.inf)
        mildest = min((r.trial.ratio for r in own if r.passed), default=math.inf)
        floor = max((r.trial.ratio for r in own if r.too_mild and r.trial.ratio < mildest), default=-math.inf)
        ceiling = min(
            (r.trial.ratio for r in own if not (r.passed or r.too_mild) and r.trial.ratio > passed), default=math.inf
        )
        tried = {r.trial for r in own}
        trials = (trial for ratio in space.levels[recipe] if (trial := Trial(recipe, ratio)) not in tried)
        hopeful = [t for t in trials if floor < t.ratio < ceiling and _may_win(t, space, own, leader)]
        upwards = tuple(t for t in hopeful if t.ratio > passed)
        beside = sorted(
            (t for t in hopeful if t.ratio < passed), key=lambda t: (space.predicted.get(t, math.inf), t.ratio)
        )
        leads = leader is not None and leader.trial.recipe == recipe
        promise = min((space.predicted.get(t, math.inf) for t in _middle(upwards) or beside), default=math.inf)
        fresh = passed == floor == -math.inf
        return cls(
            recipe,
            upwards,
            tuple(beside),
            challenges=leader is not None and fresh and all(t in space.predicted for t in upwards),
            trials_most=math.ceil(math.log2(len(upwards) + 1)) + len(beside) + (fresh and len(space.levels) > 1),
            turn=(not leads, 0 if leader else len(own), promise, place),
        )

    @property
    def next(self) -> Trial:
        if not self.upwards:
            return self.beside[0]
        return self.upwards[0] if self.challenges else _middle(self.upwards)[0]


def _may_win(trial: Trial, space: Space, own: Sequence[Result], leader: Result | None) -> bool:
    """Whether this level, if it passed, would be the best."""
    if leader is None:
        return True
    if (predicted := space.predicted.get(trial)) is not None:
        return predicted < _worth(leader)
    # Nothing is predicted: then what is milder than a level that is no better is no better either.
    weighed = (r for r in own if r.passed or r.objective is not None)
    return all(r.trial.ratio < trial.ratio for r in weighed if _worth(r) >= _worth(leader))


def _middle(trials: Sequence[Trial]) -> Sequence[Trial]:
    half = len(trials) // 2
    return trials[half : half + 1]


def _worth(result: Result) -> float:
    """The objective as something that can be compared: what is no number is worse than all others."""
    objective = math.inf if result.objective is None else result.objective
    return math.inf if math.isnan(objective) else objective


def _played(space: Space, results: Collection[Result], *, passing: bool) -> int:
    """How many trials follow when all of them go one way."""
    so_far = list(results)
    while (trial := next_trial(space, so_far)) is not None:
        so_far.append(Result(trial, space.predicted.get(trial), passed=passing, full=passing))
    return len(so_far) - len(results)
