"""Whether the rows that somebody has can show what a policy asks for."""

from collections.abc import Iterator
from pathlib import Path

from policies.document import Draft
from policies.explaining import rows_for
from pruneguard.evaluation.correctness.quality import slices
from pruneguard.manifest import load_manifest
from pruneguard.policy import Policy
from pruneguard.workload import Snapshot, ask, load

DISCORDANCE = 0.05
"""Share of rows of which exactly one of the two is right: what a doubt assumes of a pruned model and its twin."""


def snapshot_of(manifest: Path, data_dir: Path) -> Snapshot:
    """The data that the workload of a manifest brings. Raises InvalidInputError as a run does."""
    asked = load_manifest(manifest)
    snapshot: Snapshot = ask(load(asked.workload_file, asked.workload_class), "data", data_dir)
    return snapshot


def objections(draft: Draft, snapshot: Snapshot) -> Iterator[str]:
    """Every rule that no model passes on these rows, however good it is, with file and line.

    Attacks are measured on fewer rows than there are, which is not looked at here.
    """
    rules = draft.policy.rules if draft.policy else ()
    for name in ("gate", "release"):
        split = snapshot.splits[name]
        largest = max((int(mask.sum()) for _, mask in slices(split)), default=0)
        for rule in rules:
            if rule.gate == "non_inferior" and len(split) < (least := rows_for(rule, discordance=0.0)):
                why = (
                    f"the {name} split has {len(split):,} rows; without one discordant row it takes {least:,} to show "
                    "this margin; bring more rows, or widen it"
                )
                yield draft.objection(rule.name, "margin", why)
            if rule.gate == "slices_non_inferior" and largest < rule.parameters["rows_min"]:
                why = (
                    f"the largest slice of the {name} split has {largest:,} rows, so that none is tested; bring more "
                    "rows, or lower it"
                )
                yield draft.objection(rule.name, "rows_min", why)
    for rule in rules:
        if rule.measurement.startswith("ood.") and not (snapshot.outliers is not None and len(snapshot.outliers)):
            why = "the data have no outliers, so it is never measured; bring some, or leave the rule out"
            yield draft.objection(rule.name, "measurement", why)


def doubts(policy: Policy, snapshot: Snapshot) -> Iterator[str]:
    """Rules that a model as good as its twin often does not pass on these rows, and how many rows would do."""
    rows = min(len(snapshot.gate), len(snapshot.release))
    for rule in policy.rules:
        if rule.gate != "non_inferior" or rows < rows_for(rule, discordance=0.0):
            continue
        if rows < (enough := rows_for(rule, discordance=DISCORDANCE)):
            yield (
                f"{rule.name}: {rows:,} rows; with one in {1 / DISCORDANCE:g} discordant it takes {enough:,} to show "
                "the margin nine times in ten, so expect it to be underpowered"
            )
