"""Candidate and twin on the same rows of one split: everything a policy can ask about a model, measured once.

Families of measurements stand in the order of their price: what follows from the structure, latency, answers to clean
rows, to damaged rows, to attacks. A search asks only for what its policy judges and stops at the first certain failure
(`pruneguard.gates.stopping`); what is left out stands in the evidence with the reason.
"""

import platform
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version
from typing import TypeAlias

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation import attacks, calibration, corruptions, footprint, latency, ood, quality
from pruneguard.evaluation.contender import Contender, Pair
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.sessions import NO_ANSWER, predictions
from pruneguard.evaluation.yardstick import Yardstick
from pruneguard.evidence import Evidence, Measurement
from pruneguard.reporting import Progress
from pruneguard.workload import Floats, Snapshot, Split

__all__ = ["Contender", "Yardstick", "efficiency", "evaluate"]

Measured: TypeAlias = Mapping[str, Measurement]

ALWAYS = ("efficiency", "quality")
"""Families that are measured whether a policy asks or not: the monitor, the cards and people read them."""


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Measurements that are made together: `name` and whatever is named below it. `lacks` says why there are none.

    One that is `on_demand` costs more than the others together, and is made only where it is asked for by name.
    """

    name: str
    measure: Callable[[], Measured]
    lacks: Callable[[], str | None] = lambda: None
    on_demand: bool = False

    def asked(self, wanted: Collection[str], *, all_else: bool) -> bool:
        below = f"{self.name}."
        named = any(each == self.name or each.startswith(below) for each in wanted)
        return named or self.name in ALWAYS or (all_else and not self.on_demand)


def evaluate(
    candidate: Contender,
    twin: Contender,
    snapshot: Snapshot,
    *,
    split: str,
    seed: int,
    wanted: Collection[str] = (),
    all_else: bool = True,
    stop: Callable[[Measured], bool] | None = None,
    yardstick: Yardstick | None = None,
    progress: Progress | None = None,
) -> Evidence:
    """Measure the candidate's ONNX artefact against its twin's on the rows of `split`.

    `wanted` names measurements, those of a policy, say; without `all_else` a family with none of them is left out, and
    with it what is made on demand alone.
    `stop` is called with everything measured so far after each family, and True ends it there. `yardstick` keeps the
    twin's answers from one candidate to the next.

    The same seed gives the same evidence, apart from latencies, with a yardstick or without. Logits that are not
    finite are wrong answers, and whatever cannot be computed from them is NaN. Raises InvalidInputError when an
    artefact does not load or does not fit the data, or when a twin other than the candidate itself cannot answer:
    then there is no yardstick.
    """
    case = _Case.of(candidate, twin, snapshot, split=split, seed=seed, yardstick=yardstick)
    families = (*_structure(case), *_answers(case), *_damage(case))
    return _walk(case, families, wanted, stop, progress, all_else=all_else)


def efficiency(
    candidate: Contender,
    twin: Contender,
    snapshot: Snapshot,
    *,
    split: str,
    seed: int,
    wanted: Collection[str] = (),
    all_else: bool = True,
    stop: Callable[[Measured], bool] | None = None,
    progress: Progress | None = None,
) -> Evidence:
    """`efficiency.*` alone: size and latency follow from the structure, before a candidate has learnt anything.

    Everything else is as in `evaluate`.
    """
    case = _Case.of(candidate, twin, snapshot, split=split, seed=seed, yardstick=None)
    later = (replace(each, lacks=lambda: "not trained yet") for each in (*_answers(case), *_damage(case)))
    return _walk(case, (*_structure(case), *later), wanted, stop, progress, all_else=all_else)


@dataclass(eq=False)
class _Case:
    """What is compared, on which rows; computed when a family needs it first."""

    pair: Pair
    snapshot: Snapshot
    split: str
    seed: int

    @classmethod
    def of(
        cls,
        candidate: Contender,
        twin: Contender,
        snapshot: Snapshot,
        *,
        split: str,
        seed: int,
        yardstick: Yardstick | None,
    ) -> "_Case":
        if split not in snapshot.splits:
            raise InvalidInputError(f"there is no split {split!r}; expected one of {sorted(snapshot.splits)}")
        pair = Pair.load(candidate, twin, classes=snapshot.classes, yardstick=yardstick)
        case = cls(pair, snapshot, split, seed)
        pair.logits(case.rows.x[:1])  # artefacts for other rows are refused here, in words
        return case

    @property
    def rows(self) -> Split:
        return self.snapshot.splits[self.split]

    @cached_property
    def domain(self) -> Domain:
        return Domain.of(self.snapshot)

    @cached_property
    def logits(self) -> tuple[Floats, Floats]:
        """Both answers to all rows, the candidate's first."""
        logits = self.pair.logits(self.rows.x)
        _require_yardstick(self.pair, logits[1])
        return logits

    @cached_property
    def attackable(self) -> bool:
        few = self.rows.x[:2]
        return all(attacks.attackable(each.model, few) for each in (self.pair.candidate, self.pair.twin))


def _structure(case: _Case) -> Iterator[Family]:
    x = case.rows.x
    yield Family("efficiency", partial(footprint.measure, case.pair, x))
    for name in latency.BATCHES:
        yield Family(name, partial(latency.measure, case.pair, x, name=name, seed=case.seed))


def _answers(case: _Case) -> Iterator[Family]:
    rows, outliers, seed = case.rows, case.snapshot.outliers, case.seed
    none = outliers is None or not len(outliers)
    yield Family("quality", lambda: quality.measure(*case.logits, rows, seed=seed))
    yield Family("artifact", lambda: footprint.identity(case.pair.candidate, rows.x, case.logits[0]))
    yield Family("calibration", lambda: calibration.measure(*case.logits, rows.y, seed=seed))
    yield Family(
        "ood",
        lambda: ood.measure(case.pair, case.logits, outliers),
        lacks=lambda: "the data have no outliers" if none else None,
    )


def _damage(case: _Case) -> Iterator[Family]:
    for family in corruptions.families(case.domain):
        damage = partial(corruptions.measure, case.pair, case.rows, case.domain, family=family, seed=case.seed)
        yield Family(f"robustness.{family}", damage)
    for attack in attacks.ATTACKS:
        yield Family(
            f"robustness.{attack}",
            partial(attacks.measure, case.pair, case.rows, case.domain, attack=attack, seed=case.seed),
            lacks=lambda: None if case.attackable else "no gradient reaches the rows",
        )


def _walk(
    case: _Case,
    families: Sequence[Family],
    wanted: Collection[str],
    stop: Callable[[Measured], bool] | None,
    progress: Progress | None,
    *,
    all_else: bool,
) -> Evidence:
    measurements: dict[str, Measurement] = {}
    left_out: list[str] = []
    last: str | None = None  # the family after which it was stopped
    ended: dict[str, str] = {}
    for done, family in enumerate(families, start=1):
        if not family.asked(wanted, all_else=all_else):
            left_out.append(f"{family.name}: not asked")
        elif last is not None:
            left_out.append(f"{family.name}: stopped")
            ended = {"stopped after": last}
        elif why := family.lacks():
            left_out.append(f"{family.name}: {why}")
        else:
            measurements |= family.measure()
            last = family.name if stop is not None and stop(measurements) else None
        if progress is not None:
            progress(done, len(families))
    context = _context(case) | ended | ({"left out": "; ".join(left_out)} if left_out else {})
    return Evidence(case.pair.candidate.digest, case.pair.twin.digest, case.snapshot.digest, measurements, context)


def _require_yardstick(pair: Pair, logits: Floats) -> None:
    silent = int((predictions(logits) == NO_ANSWER).sum())
    if silent and not pair.same:
        raise InvalidInputError(
            f"the twin {pair.twin.digest} gives logits that are not finite on {silent} of {len(logits)} rows; "
            "nothing can be compared with it; train it again"
        )


def _context(case: _Case) -> dict[str, str]:
    return {
        "split": case.split,
        "seed": str(case.seed),
        "rows": "images" if case.domain.images else "table",
        "attack": f"epsilon {attacks.EPSILON:g} of the spread, {attacks.STEPS} steps, {attacks.ROWS_MAX} rows at most",
        "corruption": f"severities {', '.join(map(str, corruptions.SEVERITIES))}, every row at one of them",
        "latency": "onnxruntime on the CPU, one thread, interleaved with the twin",
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{library: version(library) for library in ("numpy", "onnxruntime", "torch")},
    }
