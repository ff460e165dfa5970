"""Whether the rows and the network that somebody has can show what a policy asks for."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from policies.document import Draft
from policies.explaining import rows_for
from pruneguard.evaluation.correctness import crossing
from pruneguard.evaluation.correctness.quality import slices
from pruneguard.evaluation.data_quality import require_usable
from pruneguard.evaluation.gaps import gaps
from pruneguard.manifest import load_manifest
from pruneguard.policy import Policy, Rule
from pruneguard.workload import Snapshot, Split, Workload, ask, load

DISCORDANCE = 0.05
"""Share of rows of which exactly one of the two is right: what a doubt assumes of a pruned model and its twin."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


def brought(manifest: Path, data_dir: Path) -> tuple[Workload, Snapshot]:
    """The workload of a manifest and the data that it brings. Raises InvalidInputError as a run does."""
    asked = load_manifest(manifest)
    workload = load(asked.workload_file, asked.workload_class)
    snapshot: Snapshot = ask(workload, "data", data_dir)
    require_usable(snapshot)
    return workload, snapshot


def unmeasured(policy: Policy, workload: Workload, snapshot: Snapshot) -> Mapping[str, str]:
    """The measurements that a policy asks for and no run makes of such rows and such a network, with the reason.

    Raises InvalidInputError for a network that does not fit the rows.
    """
    return gaps(workload, snapshot, [rule.measurement for rule in policy.rules])


def objections(draft: Draft, snapshot: Snapshot, missing: Mapping[str, str] = _NOTHING) -> Iterator[str]:
    """Every rule that no model passes on these rows, however good it is, with file and line.

    `missing` is what is never measured of them. Attacks are measured on fewer rows than there are, which is not looked
    at here.
    """
    rules = draft.policy.rules if draft.policy else ()
    for rule in rules:
        if why := missing.get(rule.measurement):
            told = f"never measured here: {why}; bring what it takes, or leave the rule out"
            yield draft.objection(rule.name, "measurement", told)
    for name in ("gate", "release"):
        for rule in (each for each in rules if each.measurement not in missing):
            split = _judged(rule, snapshot, name)
            if rule.gate == "non_inferior" and len(split) < (least := rows_for(rule, discordance=0.0)):
                why = (
                    f"the {name} split has {len(split):,} rows; without one discordant row it takes {least:,} to show "
                    "this margin; bring more rows, or widen it"
                )
                yield draft.objection(rule.name, "margin", why)
            if rule.gate == "slices_non_inferior" and (most := _largest(rule, split, snapshot)) < _least(rule):
                why = (
                    f"the largest slice of the {name} split has {most:,} rows, so that none is tested; bring more "
                    "rows, or lower it"
                )
                yield draft.objection(rule.name, "rows_min", why)


def doubts(policy: Policy, snapshot: Snapshot, missing: Mapping[str, str] = _NOTHING) -> Iterator[str]:
    """Rules that a model as good as its twin often does not pass on these rows, and how many rows would do."""
    for rule in policy.rules:
        rows = min(len(_judged(rule, snapshot, name)) for name in ("gate", "release"))
        if rule.gate != "non_inferior" or rule.measurement in missing or rows < rows_for(rule, discordance=0.0):
            continue
        if rows < (enough := rows_for(rule, discordance=DISCORDANCE)):
            yield (
                f"{rule.name}: {rows:,} rows; with one in {1 / DISCORDANCE:g} discordant it takes {enough:,} to show "
                "the margin nine times in ten, so expect it to be underpowered"
            )


def _judged(rule: Rule, snapshot: Snapshot, split: str) -> Split:
    """The rows that a rule sees when it judges on this split; cross-validation has its own."""
    crossed = rule.measurement.startswith(f"{crossing.NAME}.")
    return crossing.pooled(snapshot) if crossed else snapshot.splits[split]


def _least(rule: Rule) -> float:
    return rule.parameters["rows_min"]


def _largest(rule: Rule, split: Split, snapshot: Snapshot) -> int:
    """Rows of the largest slice that a rule can be about; all of them where slices are not known before."""
    match rule.measurement:
        case "quality.paired" | "quality.cross_validated.paired":
            return max((int(mask.sum()) for _, mask in slices(split)), default=0)
        case "fairness.paired":
            groups = (
                zip(split.slices[column].tolist(), split.y.tolist(), strict=True) for column in snapshot.protected
            )
            return max((max(Counter(group).values(), default=0) for group in groups), default=0)
        case "quality.found.paired":
            return len(split) // 2
    return len(split)
