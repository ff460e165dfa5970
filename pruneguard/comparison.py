"""A canary beside the live version, in counts: whether it goes on, waits or is stopped.

The counts are recorded where they decide something, so that anybody decides it again from them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from pruneguard import canonical
from pruneguard.policy import Canary
from pruneguard.streams import Tally, evalue

LEANING = 3.0
"""Odds against a canary from which on it gets no larger share, until they have gone down again."""


class Aspect(StrEnum):
    """What may be more often so of the canary's answers than of the live version's."""

    FAILED = "failed"
    SLOW = "slow"
    WRONG = "wrong"  # by the labels that have come


class Outcome(StrEnum):
    GO_ON = "go on"
    WAIT = "wait"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Judgement:
    outcome: Outcome
    reason: str
    test: Aspect | None = None
    """The one that stopped it."""


@dataclass(frozen=True, slots=True)
class Twin:
    """What the twin monitor's counters read: it is unlike its twin where `evalue` has reached `threshold`."""

    runs: int
    flips: int
    evalue: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Comparison(canonical.Document):
    """Version `number` at `share` beside the version `live`; 0 where nothing is.

    `requests` and `seconds` count since it has that share; `tallies`, by test, since it is a canary, one for each
    share. An answer is slow after `slow_ms`, which the live version's answers gave before the first of these.
    """

    model: str
    number: int
    live: int
    policy: str
    share: float
    requests: int
    seconds: int
    slow_ms: float | None = None
    tallies: Mapping[Aspect, tuple[Tally, ...]] = field(default_factory=dict)
    twin: Twin | None = None
    """None where the twin itself is the canary."""

    def evalues(self, canary: Canary) -> dict[Aspect, float]:
        """By test, the evidence that the canary is worse than the policy lets it be."""
        margins = {Aspect.FAILED: canary.worse_max, Aspect.SLOW: canary.slower_max, Aspect.WRONG: canary.worse_max}
        return {test: evalue(self.tallies.get(test, ()), tolerance=margins[test]) for test in Aspect}

    def to_document(self) -> dict[str, Any]:
        twin = self.twin
        return {
            "kind": "canary-comparison/v1",
            "model": self.model,
            "number": self.number,
            "live": self.live,
            "policy": self.policy,
            "share": f"{self.share:g}",
            "requests": self.requests,
            "seconds": self.seconds,
            "slow_ms": None if self.slow_ms is None else f"{self.slow_ms:.6g}",
            "tallies": {test.value: [asdict(tally) for tally in self.tallies.get(test, ())] for test in Aspect},
            "twin": twin
            and {
                "runs": twin.runs,
                "flips": twin.flips,
                "evalue": f"{twin.evalue:.6g}",
                "threshold": f"{twin.threshold:.6g}",
            },
        }

    @classmethod
    def decode(cls, content: bytes) -> "Comparison":
        """Raises InvalidInputError for another kind of document, and for counts that cannot be."""
        with canonical.opened(content, "canary-comparison/v1") as document:
            slow, twin = document["slow_ms"], document["twin"]
            return cls(
                document["model"],
                document["number"],
                document["live"],
                document["policy"],
                float(document["share"]),
                document["requests"],
                document["seconds"],
                None if slow is None else float(slow),
                {test: tuple(Tally(**tally) for tally in document["tallies"][test.value]) for test in Aspect},
                twin and Twin(twin["runs"], twin["flips"], float(twin["evalue"]), float(twin["threshold"])),
            )


def decide(seen: Comparison, canary: Canary) -> Judgement:
    """What follows from the counts, and why. Pure.

    Stopped where a test shows the canary worse, each at its part of `canary.alpha`: so a canary that is not is stopped
    with a chance of at most `alpha`, however often this is asked. It goes on once its step is over, where its twin was
    heard and does not call it decayed, and no test leans against it.
    """
    level = len(Aspect) / canary.alpha
    evalues = seen.evalues(canary)
    worst = max(evalues, key=lambda test: evalues[test])
    told = f"{worst.value} answers beside version {seen.live}'s: {_counted(seen, worst)}, e-value {evalues[worst]:.3g}"
    if evalues[worst] >= level:
        return Judgement(Outcome.STOP, f"more {told} against {level:.3g}", worst)
    step = next((step for step in canary.steps if step.share == seen.share), None)
    if step is None:
        return Judgement(Outcome.WAIT, f"its policy has no step at {seen.share:g}")
    if seen.requests < step.requests_min or seen.seconds < step.seconds_min:
        left = f"{seen.requests} of {step.requests_min} requests, {seen.seconds} of {step.seconds_min} s"
        return Judgement(Outcome.WAIT, f"{left} at {seen.share:g} of the traffic")
    if seen.twin is not None and not seen.twin.runs:
        return Judgement(Outcome.WAIT, "its twin was not heard yet; silence is no health")
    if seen.twin is not None and seen.twin.evalue >= seen.twin.threshold:
        return Judgement(Outcome.WAIT, f"its twin disagrees: e-value {seen.twin.evalue:.3g}")
    if evalues[worst] >= LEANING:
        return Judgement(Outcome.WAIT, f"it may have more {told}; {level:.3g} stop it, below {LEANING:g} it goes on")
    return Judgement(Outcome.GO_ON, f"no worse than version {seen.live} in {seen.requests} requests")


def _counted(seen: Comparison, test: Aspect) -> str:
    tallies = seen.tallies.get(test, ())
    old, of_old = sum(t.old for t in tallies), sum(t.ratio * t.blocks for t in tallies)
    return f"{sum(t.new for t in tallies)} of {sum(t.blocks for t in tallies)} against {old} of {of_old}"
