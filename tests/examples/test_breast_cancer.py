"""The example for tables: what its policy asks is what is measured on a table, and its data can be used."""

from pathlib import Path

import pytest

from policies.document import load_policy
from pruneguard.evaluation import corruptions
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.usability import require_usable
from pruneguard.manifest import load_manifest
from pruneguard.pruning.matching import require_matching
from pruneguard.workload import Snapshot, Workload, load

FOLDER = Path(__file__).parents[2] / "examples/breast_cancer"


@pytest.fixture(scope="module")
def workload() -> Workload:
    manifest = load_manifest(FOLDER / "manifest.yaml")
    return load(manifest.workload_file, manifest.workload_class)


@pytest.fixture(scope="module")
def snapshot(workload: Workload) -> Snapshot:
    return workload.data(Path("nowhere"))


def test_the_table_can_be_used_and_fits_its_network(workload: Workload, snapshot: Snapshot) -> None:
    require_usable(snapshot)
    require_matching(workload, snapshot)
    assert [len(split) for split in snapshot.splits.values()] == [229, 170, 170]


def test_no_feature_lies_outside_the_stated_bounds(snapshot: Snapshot) -> None:
    low, high = snapshot.bounds
    assert all(low <= split.x.min() and split.x.max() <= high for split in snapshot.splits.values())


def test_the_policy_asks_for_damages_of_a_table_and_for_no_others(snapshot: Snapshot) -> None:
    asked = {rule.measurement for rule in load_policy(FOLDER / "policy.yaml").rules}
    measured = {f"robustness.{family}.paired" for family in corruptions.families(Domain.of(snapshot))}
    assert {name for name in asked if name.startswith("robustness.")} <= measured
    assert len(asked & measured) >= 3
