"""Candidate and twin on the same rows of one split: everything a policy can ask about a model, measured once."""

import platform
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation import attacks, calibration, corruptions, footprint, latency, ood, quality
from pruneguard.evaluation.contender import Contender, Pair
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.sessions import NO_ANSWER, predictions
from pruneguard.evidence import Evidence, Measurement
from pruneguard.reporting import Progress
from pruneguard.workload import Floats, Snapshot, Split

__all__ = ["Contender", "evaluate"]


def evaluate(
    candidate: Contender,
    twin: Contender,
    snapshot: Snapshot,
    *,
    split: str,
    seed: int,
    progress: Progress | None = None,
) -> Evidence:
    """Measure the candidate's ONNX artefact against its twin's on the rows of `split`.

    The same seed gives the same evidence, apart from latencies. Logits that are not finite are wrong answers, and
    whatever cannot be computed from them is NaN. Raises InvalidInputError when an artefact does not load or does not
    fit the data, or when a twin other than the candidate itself cannot answer: then there is no yardstick.
    """
    rows = _rows(snapshot, split)
    domain = Domain.of(snapshot)
    pair = Pair.load(candidate, twin, classes=snapshot.classes)
    logits = pair.logits(rows.x)
    _require_yardstick(pair, logits[1])
    steps: list[Callable[[], dict[str, Measurement]]] = [
        partial(quality.measure, *logits, rows, seed=seed),
        partial(calibration.measure, *logits, rows.y, seed=seed),
        *(
            partial(corruptions.measure, pair, rows, domain, family=family, seed=seed)
            for family in corruptions.families(domain)
        ),
        partial(attacks.measure, pair, rows, domain, seed=seed),
        partial(ood.measure, pair, logits, snapshot.outliers),
        partial(latency.measure, pair, rows.x, seed=seed),
        partial(footprint.measure, pair, rows.x, logits[0]),
    ]
    measurements: dict[str, Measurement] = {}
    for done, step in enumerate(steps, start=1):
        measurements |= step()
        if progress is not None:
            progress(done, len(steps))
    return Evidence(candidate.digest, twin.digest, snapshot.digest, measurements, _context(split, seed, domain))


def _rows(snapshot: Snapshot, split: str) -> Split:
    if split not in snapshot.splits:
        raise InvalidInputError(f"there is no split {split!r}; expected one of {sorted(snapshot.splits)}")
    return snapshot.splits[split]


def _require_yardstick(pair: Pair, logits: Floats) -> None:
    silent = int((predictions(logits) == NO_ANSWER).sum())
    if silent and not pair.same:
        raise InvalidInputError(
            f"the twin {pair.twin.digest} gives logits that are not finite on {silent} of {len(logits)} rows; "
            "nothing can be compared with it; train it again"
        )


def _context(split: str, seed: int, domain: Domain) -> dict[str, str]:
    return {
        "split": split,
        "seed": str(seed),
        "rows": "images" if domain.images else "table",
        "attack": f"epsilon {attacks.EPSILON:g} of the spread, {attacks.STEPS} steps, {attacks.ROWS_MAX} rows at most",
        "corruption": f"severities {', '.join(map(str, corruptions.SEVERITIES))}, every row at one of them",
        "latency": "onnxruntime on the CPU, one thread, interleaved with the twin",
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{library: version(library) for library in ("numpy", "onnxruntime", "torch")},
    }
