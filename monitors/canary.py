"""A canary beside the live version, answer by answer: the counts that decide whether it goes on. No clock.

Answers of both are taken in blocks, in the order in which they came: one of the canary and as many of the live version
as its share of the traffic makes likely. So both are compared at the same times of the day, on the same kinds of
requests, whatever these do; which answers enter a block depends on how many came, never on what they were.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pruneguard.comparison import Aspect, Comparison, Twin
from pruneguard.ledger.state import Model, Release
from pruneguard.serving.observing import Answer
from pruneguard.streams import Tally

RATIO_MAX = 19
"""Answers of the live version to one of the canary, at most: more hardly sharpen the test."""
WAITING_BLOCKS = 8
"""So many blocks' worth of one stream wait for the other; older outcomes leave uncompared."""
UNHEARD = Twin(runs=0, flips=0, evalue=1.0, threshold=math.inf)
"""The counters of a twin that cannot be asked: the canary waits."""
SLOW_QUANTILE = 0.95
SLOW_FROM = 100
"""Answers of the live version before it is known what is slow."""


class Speed:
    """How long the live version takes: the newest answers, from which a threshold is read when a canary comes."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=1_000)

    def take(self, seconds: float) -> None:
        self._seconds.append(seconds)

    @property
    def slow_s(self) -> float | None:
        """What a twentieth of the answers took longer than; None while too few were seen."""
        if len(self._seconds) < SLOW_FROM:
            return None
        return sorted(self._seconds)[int(SLOW_QUANTILE * len(self._seconds))]


@dataclass(slots=True)
class Blocks:
    """Outcomes of two streams, counted in blocks of `ratio` old ones and one new one."""

    ratio: int
    blocks: int = 0
    bad_old: int = 0
    bad_new: int = 0
    old: deque[bool] = field(init=False)
    new: deque[bool] = field(init=False)

    def __post_init__(self) -> None:
        self.old, self.new = deque(maxlen=WAITING_BLOCKS * self.ratio), deque(maxlen=WAITING_BLOCKS)

    def take(self, bad: bool, *, new: bool) -> None:
        """
        >>> blocks = Blocks(ratio=2)
        >>> for bad, new in ((False, False), (True, True), (True, False), (False, False)):
        ...     blocks.take(bad, new=new)
        >>> blocks.tally
        Tally(ratio=2, blocks=1, old=1, new=1)
        """
        (self.new if new else self.old).append(bad)
        while self.new and len(self.old) >= self.ratio:
            self.bad_old += sum(self.old.popleft() for _ in range(self.ratio))
            self.bad_new += self.new.popleft()
            self.blocks += 1

    @property
    def tally(self) -> Tally:
        return Tally(self.ratio, self.blocks, self.bad_old, self.bad_new)


class Trial:
    """One canary at one share. `before` is what allowed that share: its tallies count on."""

    def __init__(self, canary: Release, *, live: int, slow_s: float | None, before: Comparison | None = None) -> None:
        self.number, self.share, self.live = canary.number, canary.share, live
        self._canary, self._requests = canary, 0
        if before is not None and before.live != live:
            before = None  # what was compared with another version says nothing about this one
        self._before = dict(before.tallies) if before else {}
        kept = before.slow_ms if before else None
        self._slow_s = slow_s if kept is None else kept / 1000
        ratio = max(1, min(round((1 - canary.share) / canary.share), RATIO_MAX)) if canary.share else 1
        self._blocks = {test: Blocks(ratio) for test in Aspect}

    def fits(self, canary: Release | None, *, live: int) -> bool:
        """Whether this is still the trial of that canary at that share, beside that live version."""
        return canary is not None and (canary.number, canary.share, live) == (self.number, self.share, self.live)

    def answered(self, answer: Answer, *, slow_s: float | None) -> None:
        """Take an answer of either version, in the order in which they were given. `slow_s` counts until one is known.

        Those of other versions are left alone.
        """
        self._requests += answer.version == self.number
        self.saw(Aspect.FAILED, False, version=answer.version)
        if self._slow_s is None:
            self._slow_s = slow_s
        else:
            self.saw(Aspect.SLOW, answer.seconds > self._slow_s, version=answer.version)

    def failed(self, version: int) -> None:
        """A request that a version took and could not answer."""
        self._requests += version == self.number
        self.saw(Aspect.FAILED, True, version=version)

    def labelled(self, version: int, *, wrong: bool) -> None:
        self.saw(Aspect.WRONG, wrong, version=version)

    def saw(self, test: Aspect, bad: bool, *, version: int) -> None:
        if version in (self.number, self.live):
            self._blocks[test].take(bad, new=version == self.number)

    def comparison(self, *, seconds: float, twin: Twin | None) -> Comparison:
        """Everything counted by now, `seconds` after the canary was given its share."""
        return Comparison(
            self._canary.model,
            self.number,
            self.live,
            self._canary.policy,
            self.share,
            self._requests,
            max(0, int(seconds)),
            None if self._slow_s is None else round(self._slow_s * 1000, 3),
            {test: (*self._before.get(test, ()), self._blocks[test].tally) for test in Aspect},
            twin,
        )


class Trials:
    """The trial of every model's canary, and how long its live version takes. `read` gives a document by its digest."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._trials: dict[str, Trial] = {}
        self._speeds: dict[str, Speed] = {}
        self._labelled: dict[tuple[str, int], tuple[int, int]] = {}

    def find(self, model: Model) -> Trial | None:
        """The trial of the canary that a model has now; another one when its share or the live version has changed.

        One that is begun anew, by another process too, counts on from what allowed the share. What was counted at the
        share itself is then counted again from nothing: it can only be late.
        """
        canary, live = model.canary, model.live.number if model.live else 0
        trial = self._trials.get(model.name)
        if canary is None:
            self._trials.pop(model.name, None)
            return None
        if trial is None or not trial.fits(canary, live=live):
            before = Comparison.decode(self._read(canary.comparison)) if canary.comparison else None
            slow_s = self._speed(model.name).slow_s
            trial = self._trials[model.name] = Trial(canary, live=live, slow_s=slow_s, before=before)
        return trial

    def answered(self, model: Model, answers: Sequence[Answer]) -> None:
        """Answers of one model, in the order in which they were given."""
        trial, speed = self.find(model), self._speed(model.name)
        for answer in answers:
            if trial is not None:
                trial.answered(answer, slow_s=speed.slow_s)
            if model.live is not None and answer.version == model.live.number:
                speed.take(answer.seconds)

    def failed(self, model: Model, version: int) -> None:
        if (trial := self.find(model)) is not None:
            trial.failed(version)

    def labelled(self, model: Model, version: int, *, count: int, wrong: int) -> None:
        """How many answers of a version have labels by now, over its whole life, and how many of these were wrong."""
        key = (model.name, version)
        before, wrong_before = self._labelled.get(key, (count, wrong))
        self._labelled[key] = (count, wrong)
        new, bad = count - before, wrong - wrong_before
        if (trial := self.find(model)) is None or not new >= bad >= 0:
            return
        outcomes = [True] * bad + [False] * (new - bad)
        # Where not all find a block, which of them do must not depend on what they are.
        random.Random(f"{key} {count}").shuffle(outcomes)  # noqa: S311  # an order, no secret
        for outcome in outcomes:
            trial.labelled(version, wrong=outcome)

    def _speed(self, model: str) -> Speed:
        return self._speeds.setdefault(model, Speed())
