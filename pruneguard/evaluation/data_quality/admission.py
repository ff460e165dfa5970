"""What is known about a snapshot before anyone trains on it: the table of contents of everything named `data.*`."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from pruneguard import canonical
from pruneguard.evaluation.data_quality import (
    expectations,
    labels,
    nearness,
    page,
    personal,
    poisoning,
    representativeness,
)
from pruneguard.evaluation.data_quality.lens import SEED, Lens
from pruneguard.evaluation.data_quality.papers import Card, Papers, read_card
from pruneguard.evaluation.domain import kind_of
from pruneguard.evaluation.estimates import exact
from pruneguard.evaluation.fingerprints import fingerprints
from pruneguard.evidence import Estimate, Evidence, Measurement
from pruneguard.workload import Snapshot

_OF_CLASSES = (
    *("data.imbalance", "data.conflicts", "data.label_noise"),
    *("data.odd_labels", "data.islands", "data.trigger"),
)
"""What is not measured where labels are numbers."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What was measured of a snapshot.

    `expectations` holds what the numbers rest on as canonical JSON, the same bytes for the same data: every expectation
    with its result, rows to look at by their numbers, columns with personal data; counts and extremes, no row's values.
    `page` shows it all to a person, as HTML that needs nothing else. `failed` names every expectation that failed,
    `summary` is one line.
    """

    evidence: Evidence
    expectations: bytes
    page: bytes
    failed: tuple[str, ...]
    summary: str


def admit(snapshot: Snapshot, papers: Papers | None = None) -> Admission:
    """Measure everything named `data.*`; records what it finds and refuses nothing (`require_usable` does).

    What is counted over all rows has a point for an interval; what is measured on drawn rows or by a model has a real
    one. `papers` are what the data's owner says of it. Raises InvalidInputError when they cannot be read.
    """
    given = papers or Papers()
    card = None if given.card is None else read_card(given.card)
    names = {name: fingerprints(split.x) for name, split in snapshot.splits.items()}
    results = expectations.expected(snapshot, names, given.expectations)
    lens = Lens.of(snapshot)
    doubts = labels.Doubts({}) if snapshot.numeric else labels.doubts(snapshot, lens)
    near = nearness.measure(snapshot, lens, names)
    private = personal.measure(snapshot, () if card is None else card.fields)
    planted = poisoning.Indicators({}, {}) if snapshot.numeric else poisoning.measure(snapshot, lens)
    measurements: dict[str, Measurement] = {
        "data.expectations_failed": exact(expectations.blocking(results), n=len(results)),
        "data.warnings": exact(expectations.warning(results), n=len(results)),
        "data.missing": _missing(snapshot),
        "data.leakage": _leakage(names),
        "data.duplicates": labels.counted(len(names["train"]) - len(set(names["train"])), of=len(names["train"])),
        **near.measurements,
        **({} if snapshot.numeric else _classes(snapshot, names)),
        **doubts.measurements,
        **representativeness.measure(snapshot),
        **planted.measurements,
        **private.measurements,
        **({} if card is None else card.measure()),
    }
    document: dict[str, Any] = {
        "kind": "expectations/v1",
        "data": snapshot.digest,
        "great_expectations": version("great-expectations"),
        "results": results,
        "labels": {"rows": list(doubts.rows), "accuracy": doubts.accuracy},
        "near": {name: [list(pair) for pair in pairs] for name, pairs in near.pairs.items()},
        "poisoning": {
            "odd": {str(label): list(counts) for label, counts in planted.odd.items()},
            "mark": None if planted.mark is None else dict(zip(("column", "class"), planted.mark, strict=True)),
        },
        "personal": {"found": private.found, "named": list(private.named)},
        "card": None if card is None else {"digest": card.digest, "answers": card.answers, "gaps": list(card.gaps)},
    }
    evidence = Evidence(
        snapshot.digest, None, snapshot.digest, measurements, _context(snapshot, given, card, private.method)
    )
    summary = _summary(snapshot, measurements, len(results))
    return Admission(
        evidence,
        canonical.encode(document),
        page.render(evidence, document, summary),
        tuple(expectations.sentence(result) for result in results if not result["success"]),
        summary,
    )


def _classes(snapshot: Snapshot, names: dict[str, list[bytes]]) -> dict[str, Measurement]:
    """What is counted of classes. Equal rows with different numbers are no conflict: whatever is measured scatters."""
    return {
        "data.imbalance": labels.imbalance(snapshot),
        "data.conflicts": labels.conflicts(names["train"], snapshot.train.y),
    }


def _missing(snapshot: Snapshot) -> Measurement:
    missing = sum(int((~np.isfinite(split.x)).sum()) for split in snapshot.splits.values())
    values = sum(split.x.size for split in snapshot.splits.values())
    return labels.counted(missing, of=values)


def _leakage(names: dict[str, list[bytes]]) -> Measurement:
    train = set(names["train"])
    judging = [*names["gate"], *names["release"]]
    return labels.counted(sum(name in train for name in judging), of=len(judging))


def _context(snapshot: Snapshot, given: Papers, card: Card | None, personal_data: str) -> dict[str, str]:
    return {
        "rows": str(sum(len(split) for split in snapshot.splits.values())),
        "kind": kind_of(snapshot),
        **_answers(snapshot),
        "seed": str(SEED),
        "expectations": "profiled from train" if given.expectations is None else canonical.digest(given.expectations),
        **({} if card is None else {"data card": card.digest}),
        "personal data": personal_data,
        **{library.replace("-", "_"): version(library) for library in ("cleanlab", "great-expectations")},
    }


def _answers(snapshot: Snapshot) -> dict[str, str]:
    """What is to be answered, and what is left out for it."""
    if snapshot.classes is not None:
        return {"classes": str(snapshot.classes)}
    left_out = "; ".join(f"{name}: takes classes, and the labels are numbers" for name in _OF_CLASSES)
    return {"tolerance": f"{snapshot.tolerance:g}", "left out": left_out}


def _summary(snapshot: Snapshot, measurements: Mapping[str, Measurement], asked: int) -> str:
    sizes = ", ".join(f"{name} {len(split)}" for name, split in snapshot.splits.items())
    value = {name: m.value for name, m in measurements.items() if isinstance(m, Estimate)}
    if snapshot.classes is None:
        answers = f"numbers, right within {snapshot.tolerance:g}"
    else:
        answers = f"{snapshot.classes} classes, the largest {value['data.imbalance']:.2f} times the smallest"
    return (
        f"{sizes}; {answers}; "
        f"{asked} expectations, {value['data.expectations_failed']:.0f} critical failed, "
        f"{value['data.warnings']:.0f} warnings; leakage {value['data.leakage']:.2%}, "
        f"duplicates {value['data.duplicates']:.2%}, missing {value['data.missing']:.2%}"
    )
