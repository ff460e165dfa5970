"""The example for tables about people: missing values, doubled rows, and groups that are looked at but not used."""

import os
from pathlib import Path

import numpy as np
import pytest

from policies.document import load_policy
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation import corruptions
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.usability import require_usable
from pruneguard.manifest import load_manifest
from pruneguard.pruning.matching import require_matching
from pruneguard.workload import Snapshot, Workload, load

FOLDER = Path(__file__).parents[2] / "examples" / "adult"
DATA = Path(os.environ.get("PRUNEGUARD_DATA_DIR", "data"))

needs_data = pytest.mark.skipif(not (DATA / "adult").is_dir(), reason="adult is not in PRUNEGUARD_DATA_DIR")

PERSON = "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0, 40, US"


@pytest.fixture(scope="module")
def workload() -> Workload:
    manifest = load_manifest(FOLDER / "manifest.yaml")
    return load(manifest.workload_file, manifest.workload_class)


@pytest.fixture(scope="module")
def snapshot(workload: Workload) -> Snapshot:
    return workload.data(DATA)


@needs_data
def test_the_published_rows_can_be_used_and_fit_the_network(workload: Workload, snapshot: Snapshot) -> None:
    require_usable(snapshot)
    require_matching(workload, snapshot)
    assert [len(split) for split in snapshot.splits.values()] == [32_561, 8_125, 8_124]
    assert np.bincount(snapshot.train.y).tolist() == [24_720, 7_841]
    assert snapshot.digest == workload.data(DATA).digest


@needs_data
def test_numbers_are_standardised_and_every_text_is_one_column(snapshot: Snapshot) -> None:
    numbers, texts = np.split(snapshot.train.x, [6], axis=1)
    assert np.abs(numbers.mean(axis=0)).max() < 1e-4
    assert np.abs(numbers.std(axis=0) - 1).max() < 1e-4
    for split in snapshot.splits.values():
        assert np.array_equal(np.unique(split.x[:, 6:]), [0, 1])
        assert np.array_equal(split.x[:, 6:].sum(axis=1), np.full(len(split), 5))
    assert texts[:, 0].sum() == 1_836  # "?" is the first of the kinds of work


@needs_data
def test_sex_and_race_are_slices_and_no_features(snapshot: Snapshot) -> None:
    for split in snapshot.splits.values():
        assert set(split.slices["sex"]) == {"Female", "Male"}
        assert len(set(split.slices["race"])) == 5
    assert snapshot.train.x.shape[1] == 6 + 9 + 7 + 15 + 6 + 42


@needs_data
def test_no_feature_lies_outside_the_stated_bounds(snapshot: Snapshot) -> None:
    low, high = snapshot.bounds
    assert all(low < split.x.min() and split.x.max() < high for split in snapshot.splits.values())


@needs_data
def test_the_policy_asks_for_no_damage_but_that_of_tables(snapshot: Snapshot) -> None:
    asked = {rule.measurement for rule in load_policy(FOLDER / "policy.yaml").rules}
    damages = {f"robustness.{family}.paired" for family in corruptions.families(Domain.of(snapshot))}
    assert {name for name in asked if name.startswith("robustness.")} < damages


def test_a_missing_file_says_which_where_and_how_to_get_it(workload: Workload, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        workload.data(tmp_path)
    for part in ("adult-train.csv", str(tmp_path), "PRUNEGUARD_DATA_DIR", "archive.ics.uci.edu/dataset/2/adult"):
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (PERSON, "line 2: 14 values; expected 15"),
        (f"{PERSON}, rich", "line 2: income is 'rich'; expected one of"),
        (f"{PERSON}, <=50K".replace("39", "old"), "line 2: age is 'old'; expected a whole number"),
    ],
    ids=["cut off", "another income", "no number"],
)
def test_a_broken_line_is_named(workload: Workload, tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "adult").mkdir()
    (tmp_path / "adult" / "adult-train.csv").write_text(f"{PERSON}, <=50K\n{line}\n")
    with pytest.raises(InvalidInputError, match=message):
        workload.data(tmp_path)


def test_an_empty_file_is_named(workload: Workload, tmp_path: Path) -> None:
    (tmp_path / "adult").mkdir()
    (tmp_path / "adult" / "adult-train.csv").write_text("")
    with pytest.raises(InvalidInputError, match=r"adult-train.csv holds no rows"):
        workload.data(tmp_path)
