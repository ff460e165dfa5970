"""The example for answers that are numbers: a concentration, right within a tenth of a decade."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from policies.document import load_policy
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation import corruptions
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.usability import require_usable
from pruneguard.manifest import load_manifest
from pruneguard.pruning.matching import require_matching
from pruneguard.workload import Snapshot, Workload, load

FOLDER = Path(__file__).parents[2] / "examples" / "gas_drift"
DATA = Path(os.environ.get("PRUNEGUARD_DATA_DIR", "data"))

needs_data = pytest.mark.skipif(not (DATA / "gas-drift").is_dir(), reason="gas-drift is not in PRUNEGUARD_DATA_DIR")

BATCHES = (1, 2, 3, 4, 5, 6, 8, 9)


@pytest.fixture(scope="module")
def workload() -> Workload:
    manifest = load_manifest(FOLDER / "manifest.yaml")
    return load(manifest.workload_file, manifest.workload_class)


@pytest.fixture(scope="module")
def snapshot(workload: Workload) -> Snapshot:
    return workload.data(DATA)


def batches(folder: Path, lines: dict[int, str]) -> Path:
    (folder / "gas-drift").mkdir()
    for number in BATCHES:
        (folder / "gas-drift" / f"batch{number}.dat").write_text(lines.get(number, ""))
    return folder


@needs_data
def test_the_published_rows_can_be_used_and_fit_the_network(workload: Workload, snapshot: Snapshot) -> None:
    require_usable(snapshot)
    require_matching(workload, snapshot)
    assert [len(split) for split in snapshot.splits.values()] == [3_697, 1_500, 1_500]
    assert snapshot.digest == workload.data(DATA).digest


@needs_data
def test_the_answer_is_a_logarithm_of_parts_per_million(snapshot: Snapshot) -> None:
    decades = np.concatenate([split.y for split in snapshot.splits.values()])
    assert 10 ** float(decades.min()) == pytest.approx(5, rel=1e-5)
    assert 10 ** float(decades.max()) == pytest.approx(1000, rel=1e-5)


@needs_data
def test_the_gas_is_a_slice_and_no_feature(snapshot: Snapshot) -> None:
    assert snapshot.train.x.shape[1] == 128
    for split in snapshot.splits.values():
        assert len(set(split.slices["gas"])) == 6


@needs_data
def test_no_feature_lies_outside_the_stated_bounds(snapshot: Snapshot) -> None:
    low, high = snapshot.bounds
    assert all(low < split.x.min() and split.x.max() < high for split in snapshot.splits.values())


@needs_data
def test_the_policy_asks_for_no_damage_but_that_of_tables_and_for_nothing_that_takes_classes(
    snapshot: Snapshot,
) -> None:
    asked = {rule.measurement for rule in load_policy(FOLDER / "policy.yaml").rules}
    damages = {f"robustness.{family}.paired" for family in corruptions.families(Domain.of(snapshot))}
    assert {name for name in asked if name.startswith("robustness.")} < damages
    families = {name.partition(".")[0] for name in asked}
    assert families == {"data", "quality", "robustness", "artifact", "efficiency"}


def test_the_network_begins_with_answers_of_the_right_size(workload: Workload) -> None:
    with torch.no_grad():
        answers = workload.build()(torch.randn(200, 128))
    assert answers.shape == (200, 1)
    assert 1.5 < answers.mean() < 2.5


def test_a_missing_file_says_which_where_and_how_to_get_it(workload: Workload, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        workload.data(tmp_path)
    for part in ("batch1.dat", str(tmp_path), "PRUNEGUARD_DATA_DIR", "archive.ics.uci.edu/dataset/270"):
        assert part in str(refusal.value)


@pytest.mark.parametrize("line", ["Sarin,10,", "7;10 1:", "1;0 1:", "1;ten 1:"], ids=str)
def test_a_broken_line_is_named(workload: Workload, tmp_path: Path, line: str) -> None:
    whole = line + " ".join(["1.5"] * 128)
    with pytest.raises(InvalidInputError, match=r"batch2.dat, line 2: begins with"):
        workload.data(batches(tmp_path, {2: f"\n{whole}\n"}))


def test_a_line_cut_off_is_named(workload: Workload, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"batch9.dat, line 1: begins with '1;10 1:2.0'; expected a gas"):
        workload.data(batches(tmp_path, {9: "1;10 1:2.0"}))


def test_both_layouts_that_are_around_say_the_same(workload: Workload, tmp_path: Path) -> None:
    module = sys.modules[type(workload).__module__]
    values = np.round(np.random.default_rng(0).normal(size=128), 3).tolist()
    published = "2;50.0 " + " ".join(f"{number}:{value}" for number, value in enumerate(values, 1))
    named = "Ethylene,50.0," + ",".join(map(str, values))
    assert module._line(tmp_path, 1, published) == module._line(tmp_path, 1, named) == ("Ethylene", [50.0, *values])
