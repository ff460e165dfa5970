"""The example for text: words as numbers, a transformer, and queries that ask for nothing it knows."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from policies.document import load_policy
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.usability import require_usable
from pruneguard.manifest import load_manifest
from pruneguard.pruning.matching import require_matching
from pruneguard.workload import Snapshot, Workload, load

FOLDER = Path(__file__).parents[2] / "examples" / "clinc150"
DATA = Path(os.environ.get("PRUNEGUARD_DATA_DIR", "data"))

needs_data = pytest.mark.skipif(not (DATA / "clinc150").is_dir(), reason="clinc150 is not in PRUNEGUARD_DATA_DIR")

SMALL = {
    "train": [["Pay my bill", "pay"], ["what's up", "greet"], ["pay it now", "pay"]],
    "val": [["pay my rent", "pay"], ["PAY my bill!", "pay"]],
    "test": [["pay my dog", "pay"], ["what now", "greet"]],
    "oos_test": [["my bill " * 20, "oos"]],
}
BILL, IT, MY, NOW, PAY, UP, WHATS = 3, 4, 5, 6, 2, 7, 8  # pay is twice in train, the others once


@pytest.fixture(scope="module")
def workload() -> Workload:
    manifest = load_manifest(FOLDER / "manifest.yaml")
    return load(manifest.workload_file, manifest.workload_class)


def written(folder: Path, document: object) -> Path:
    (folder / "clinc150").mkdir()
    (folder / "clinc150" / "data_full.json").write_text(json.dumps(document))
    return folder


@needs_data
def test_the_published_queries_can_be_used_and_fit_the_network(workload: Workload) -> None:
    snapshot = workload.data(DATA)
    require_usable(snapshot)
    require_matching(workload, snapshot)
    assert [len(split) for split in snapshot.splits.values()] == [15_000, 2_906, 4_357]
    assert snapshot.outliers is not None
    assert snapshot.outliers.shape == (1_000, 16)
    assert np.bincount(snapshot.train.y).tolist() == [100] * 150
    for split in snapshot.splits.values():
        assert split.x.min() >= snapshot.bounds[0]
        assert split.x.max() <= snapshot.bounds[1]
    assert snapshot.digest == workload.data(DATA).digest


@pytest.fixture
def small(workload: Workload, tmp_path: Path) -> Snapshot:
    return workload.data(written(tmp_path, SMALL))


def test_words_are_numbered_by_how_common_they_are_in_train(small: Snapshot) -> None:
    assert small.train.x[:, :4].tolist() == [[PAY, MY, BILL, 0], [WHATS, UP, 0, 0], [PAY, IT, NOW, 0]]
    assert small.train.y.tolist() == [1, 0, 1]  # intents in alphabetical order


def test_a_query_that_looks_like_one_of_an_earlier_split_is_left_out(small: Snapshot) -> None:
    assert small.gate.x[:, :4].tolist() == [[PAY, MY, 1, 0]]  # "PAY my bill!" stands in train
    assert small.release.x[:, :4].tolist() == [[1, NOW, 0, 0]]  # a dog and a rent are the same unknown word


def test_a_long_query_is_cut(small: Snapshot) -> None:
    assert small.outliers is not None
    assert small.outliers.tolist() == [[MY, BILL] * 8]


def test_what_fills_a_row_up_changes_no_answer(workload: Workload) -> None:
    model = workload.build().eval()
    row = torch.tensor([[5, 6, 7, *[0] * 13]], dtype=torch.float32)
    with torch.no_grad():
        before = model(row)
        model.words.weight[0] = 100.0
        assert torch.allclose(model(row), before, atol=1e-5)


def test_a_row_without_any_word_has_an_answer(workload: Workload) -> None:
    assert torch.isfinite(workload.build().eval()(torch.zeros(2, 16))).all()


def test_one_word_in_ten_is_forgotten_and_what_fills_up_never(workload: Workload) -> None:
    x = torch.full((500, 16), 9.0)
    x[:, 8:] = 0
    first, again = (workload.augment(x, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert not first[:, 8:].any()
    assert set(first[:, :8].unique().tolist()) == {1.0, 9.0}
    assert 0.07 < float((first[:, :8] == 1).float().mean()) < 0.13


def test_the_policy_asks_for_outliers_and_for_no_little_change_of_a_words_number() -> None:
    asked = {rule.measurement for rule in load_policy(FOLDER / "policy.yaml").rules}
    assert "ood.auroc_drop" in asked
    assert not {name for name in asked if name.startswith("robustness.")}


def test_a_missing_file_says_which_where_and_how_to_get_it(workload: Workload, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        workload.data(tmp_path)
    for part in ("data_full.json", str(tmp_path), "PRUNEGUARD_DATA_DIR", "github.com/clinc/oos-eval"):
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    "document",
    [[], {"train": []}, SMALL | {"val": [["one"]]}, SMALL | {"test": [["pay", "unheard of"]]}],
    ids=["a list", "a part is missing", "no intent", "an intent that train lacks"],
)
def test_a_file_of_another_kind_is_named(workload: Workload, tmp_path: Path, document: object) -> None:
    with pytest.raises(InvalidInputError, match=r"data_full.json is not the published JSON.*download it again"):
        workload.data(written(tmp_path, document))


def test_a_file_that_was_cut_off_is_named(workload: Workload, tmp_path: Path) -> None:
    file = written(tmp_path, SMALL) / "clinc150" / "data_full.json"
    file.write_text(file.read_text()[:50])
    with pytest.raises(InvalidInputError, match=r"data_full.json is not the published JSON"):
        workload.data(tmp_path)
