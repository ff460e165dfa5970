"""Candidate and twin on the same rows of one split: everything a policy can ask about a model, measured once.

Families of measurements stand in the order of their price: what follows from the structure, latency, answers to clean
rows, to damaged rows, to attacks. A search asks only for what its policy judges and stops at the first certain failure
(`pruneguard.gates.stopping`); what is left out stands in the evidence with the reason.
"""

import platform
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version

from pruneguard.energy import WATTS_PER_CORE
from pruneguard.evaluation import attribution, corruptions
from pruneguard.evaluation.case import Case
from pruneguard.evaluation.contender import Contender
from pruneguard.evaluation.correctness import crossing, found, generalisation, quality, regression
from pruneguard.evaluation.efficiency import cost, footprint, latency, memory
from pruneguard.evaluation.fairness import groups
from pruneguard.evaluation.family import Family, Measured
from pruneguard.evaluation.plugins import families as foreign
from pruneguard.evaluation.plugins import versions
from pruneguard.evaluation.reliability import calibration, ood
from pruneguard.evaluation.security import attacks, backdoor, inversion, membership, unsafe_files
from pruneguard.evaluation.yardstick import Yardstick
from pruneguard.evidence import Evidence, Measurement
from pruneguard.reporting import Progress
from pruneguard.workload import Snapshot

__all__ = ["Contender", "Yardstick", "efficiency", "evaluate"]


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
    crossed: Family = crossing.ABSENT,
    watts_per_core: float = WATTS_PER_CORE,
    progress: Progress | None = None,
) -> Evidence:
    """Measure the candidate's ONNX artefact against its twin's on the rows of `split`.

    `wanted` names measurements, those of a policy, say; without `all_else` a family with none of them is left out, and
    with it what is made on demand alone.
    `stop` is called with everything measured so far after each family, and True ends it there. `yardstick` keeps the
    twin's answers from one candidate to the next. `crossed` is cross-validation by whoever can make both models again.
    `watts_per_core` is what a busy core is assumed to draw.

    The same seed gives the same evidence, apart from latencies, with a yardstick or without. Answers that are not
    finite are wrong, and whatever cannot be computed from them is NaN. Raises InvalidInputError when an
    artefact does not load or does not fit the data, or when a twin other than the candidate itself cannot answer:
    then there is no yardstick.
    """
    case = Case.of(
        candidate, twin, snapshot, split=split, seed=seed, yardstick=yardstick, watts_per_core=watts_per_core
    )
    return _walk(case, (*families(case), crossed), wanted, stop, progress, all_else=all_else)


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
    watts_per_core: float = WATTS_PER_CORE,
    progress: Progress | None = None,
) -> Evidence:
    """`efficiency.*` alone: size and latency follow from the structure, before a candidate has learnt anything.

    Everything else is as in `evaluate`.
    """
    case = Case.of(candidate, twin, snapshot, split=split, seed=seed, yardstick=None, watts_per_core=watts_per_core)
    trained = (*_answers(case), *_damage(case), *foreign(case), crossing.ABSENT)
    later = (replace(each, lacks=lambda: "not trained yet") for each in trained)
    return _walk(case, (*_structure(case), *later), wanted, stop, progress, all_else=all_else)


def families(case: Case) -> tuple[Family, ...]:
    """Everything that one pair of models tells, in the order of its price; nothing is measured yet."""
    return (*_structure(case), *_answers(case), *_damage(case), *foreign(case))


def _structure(case: Case) -> Iterator[Family]:
    x = case.rows.x
    yield Family("efficiency", partial(footprint.measure, case.pair, x))
    for name in latency.BATCHES:
        yield Family(name, partial(latency.measure, case.pair, x, name=name, seed=case.seed))
    yield Family("efficiency.cost", partial(cost.measure, case.pair, x, watts_per_core=case.watts_per_core))
    yield Family("efficiency.memory", partial(memory.measure, case.pair, x), lacks=memory.lacks, on_demand=True)


def _answers(case: Case) -> Iterator[Family]:
    rows, train, outliers, seed = case.rows, case.snapshot.train, case.snapshot.outliers, case.seed
    none = outliers is None or not len(outliers)
    yield Family("quality", partial(_quality, case))
    yield Family(
        "artifact",
        lambda: footprint.identity(case.pair.candidate, rows.x, case.logits[0], marking=case.marking),
        lacks=lambda: case.networkless,
    )
    yield Family("artifact.threats", lambda: unsafe_files.measure(case.pair.candidate))
    yield Family(
        "calibration",
        lambda: calibration.measure(*case.logits, rows.y, seed=seed),
        lacks=lambda: case.classless,
    )
    yield Family(
        "quality.found",
        lambda: found.measure(case.logits, rows, kind=case.domain.kind, seed=seed, marking=case.marking),
    )
    protected = case.snapshot.protected
    yield Family(
        "fairness",
        lambda: groups.measure(*case.logits, rows, protected=protected, seed=seed),
        lacks=lambda: case.classless or (None if protected else "the data name no protected columns"),
    )
    yield Family(
        "generalisation",
        lambda: generalisation.measure(case.pair, case.logits, rows, train, seed=seed, marking=case.marking),
        lacks=lambda: "these rows are the training rows" if case.split == "train" else case.untrained,
    )
    yield Family(
        "membership",
        lambda: membership.measure(case.pair, case.logits, rows, train, seed=seed),
        lacks=lambda: "these rows are the training rows" if case.split == "train" else case.untrained,
    )
    yield Family(
        "ood",
        lambda: ood.measure(case.pair, case.logits, rows.x, outliers, train, seed=seed),
        lacks=lambda: case.classless or ("the data have no outliers" if none else None),
    )


def _quality(case: Case) -> Measured:
    tolerance = case.marking.tolerance
    if tolerance is None:
        return quality.measure(*case.logits, case.rows, seed=case.seed)
    return regression.measure(*case.logits, case.rows, tolerance=tolerance, seed=case.seed)


def _damage(case: Case) -> Iterator[Family]:
    for family in corruptions.families(case.domain):
        yield Family(
            f"robustness.{family}",
            partial(case.damage.measure, family),
            lacks=partial(corruptions.lacks, family, case.domain),
        )
    yield Family("robustness.corruption", lambda: case.damage.overall(case.logits))
    siege, classes = case.siege, case.snapshot.classes or 0

    def obstacle() -> str | None:
        return case.classless or siege.obstacle

    for attack in attacks.ATTACKS:
        under = partial(attacks.paired_under, siege, attack=attack)
        yield Family(f"robustness.{attack}", under, lacks=obstacle)
    for attack in attacks.ATTACKS:
        sweep = partial(attacks.sweep, siege, attack=attack)
        yield Family(f"robustness.{attack}_sweep", sweep, lacks=obstacle, on_demand=True)
    yield Family("robustness.transfer", partial(attacks.transfer, siege), lacks=obstacle, on_demand=True)
    yield Family(
        "robustness.square",
        partial(attacks.square_paired, siege),
        lacks=lambda: case.classless or siege.ids,
        on_demand=True,
    )
    yield Family(
        "attribution",
        lambda: attribution.measure(case.pair, case.logits, case.rows, case.domain, seed=case.seed),
        lacks=obstacle,
        on_demand=True,
    )
    yield Family("robustness.masking", partial(attacks.masking, siege), lacks=obstacle, on_demand=True)
    yield Family(
        "inversion",
        lambda: inversion.measure(case.pair, case.snapshot.train, case.domain, classes=classes, seed=case.seed),
        lacks=lambda: case.untrained or obstacle(),
        on_demand=True,
    )
    yield Family(
        "backdoor",
        lambda: backdoor.measure(case.pair, case.rows, case.domain, classes=classes, seed=case.seed),
        lacks=lambda: obstacle() or backdoor.too_many(classes),
        on_demand=True,
    )


def _walk(
    case: Case,
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


def _context(case: Case) -> dict[str, str]:
    return {
        "split": case.split,
        "seed": str(case.seed),
        "rows": case.domain.kind,
        "attack": (
            f"epsilon {attacks.EPSILON:g} of the spread, {attacks.STEPS} steps or {attacks.QUERIES} queries, "
            f"{attacks.ROWS_MAX} rows at most"
        ),
        "corruption": (
            f"severities {corruptions.SEVERITIES[0]} to {corruptions.SEVERITIES[-1]}, every row at one of them, "
            f"half of the rows, {corruptions.ROWS_MIN} at least and {corruptions.ROWS_MAX} at most"
        ),
        "latency": "onnxruntime on the CPU, one thread, interleaved with the twin",
        "cost": cost.method(case.watts_per_core),
        "cross-validation": crossing.METHOD,
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{library: version(library) for library in ("numpy", "onnxruntime", "torch")},
        **versions(),
    }
