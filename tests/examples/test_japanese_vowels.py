"""The example for recurrent networks: series of different lengths, and two networks that read them."""

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

FOLDER = Path(__file__).parents[2] / "examples" / "japanese_vowels"
DATA = Path(os.environ.get("PRUNEGUARD_DATA_DIR", "data"))

needs_data = pytest.mark.skipif(
    not (DATA / "japanese-vowels").is_dir(), reason="japanese-vowels is not in PRUNEGUARD_DATA_DIR"
)


@pytest.fixture(scope="module", params=["VowelsGru", "VowelsLstm"])
def workload(request: pytest.FixtureRequest) -> Workload:
    return load(FOLDER / "workload.py", request.param)


@pytest.fixture(scope="module")
def snapshot(workload: Workload) -> Snapshot:
    return workload.data(DATA)


def series(length: int, *, seed: int) -> torch.Tensor:
    x = torch.zeros(1, 29, 12)
    x[:, :length] = torch.randn(length, 12, generator=torch.Generator().manual_seed(seed))
    return x


@needs_data
def test_the_published_series_can_be_used_and_fit_the_networks(workload: Workload, snapshot: Snapshot) -> None:
    require_usable(snapshot)
    require_matching(workload, snapshot)
    assert [len(split) for split in snapshot.splits.values()] == [270, 186, 184]
    assert snapshot.digest == workload.data(DATA).digest


@needs_data
def test_each_speaker_is_halved_between_gate_and_release(snapshot: Snapshot) -> None:
    assert np.bincount(snapshot.train.y).tolist() == [30] * 9
    gate, release = (np.bincount(split.y) for split in (snapshot.gate, snapshot.release))
    assert (gate + release).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert np.abs(gate - release).max() <= 1


@needs_data
def test_series_are_standardised_and_filled_up_with_zeros(snapshot: Snapshot) -> None:
    real = (snapshot.train.x != 0).any(axis=2)
    lengths = real.sum(axis=1)
    assert (lengths.min(), lengths.max()) == (7, 26)
    assert all(row[:length].all() and not row[length:].any() for row, length in zip(real, lengths, strict=True))
    assert np.abs(snapshot.train.x[real].mean(axis=0)).max() < 1e-4
    assert np.abs(snapshot.train.x[real].std(axis=0) - 1).max() < 1e-4


def test_the_mean_is_that_of_the_real_steps(workload: Workload) -> None:
    model = workload.build().eval()
    said = {}
    model.recurrent.register_forward_hook(lambda _module, _inputs, answer: said.update(all=answer[0]))
    with torch.no_grad():
        logits = model(series(9, seed=1))
        assert torch.allclose(logits, model.speaker(said["all"][:, :9].mean(1)), atol=1e-6)


def test_a_row_without_any_step_has_an_answer(workload: Workload) -> None:
    assert torch.isfinite(workload.build().eval()(torch.zeros(1, 29, 12))).all()


def test_noise_leaves_the_end_of_a_series_where_it_was(workload: Workload) -> None:
    x = series(9, seed=1)
    first, again = (workload.augment(x, torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.isclose(first[:, :9], x[:, :9]).any()
    assert not first[:, 9:].any()


def test_the_policy_asks_for_nothing_that_noise_on_filled_up_steps_would_measure() -> None:
    asked = {rule.measurement for rule in load_policy(FOLDER / "policy.yaml").rules}
    assert not {name for name in asked if name.startswith(("robustness.", "ood."))}


def test_the_manifest_can_be_read() -> None:
    assert load_manifest(FOLDER / "manifest.yaml").workload_class == "VowelsGru"


def test_a_missing_file_says_which_where_and_how_to_get_it(workload: Workload, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        workload.data(tmp_path)
    for part in ("JapaneseVowels_TRAIN.ts", str(tmp_path), "PRUNEGUARD_DATA_DIR", "timeseriesclassification.com"):
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (":".join(["1,2"] * 11) + ":1", "line 3: 11 dimensions"),
        (":".join(["1,2"] * 11) + ":1:1", "line 3: 12 dimensions of .1, 2. steps"),
        (":".join(["1," * 29 + "1"] * 12) + ":1", "line 3: 12 dimensions of .30. steps; expected 12 of one length"),
        (":".join(["1,?"] * 12) + ":1", "line 3: could not convert"),
        (":".join(["1,2"] * 12) + ":10", "line 3: speaker 10; expected 1 to 9"),
        ("", "holds no series"),
    ],
    ids=["a dimension too few", "different lengths", "too long", "no number", "a tenth speaker", "nothing"],
)
def test_a_broken_line_is_named(workload: Workload, tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "japanese-vowels").mkdir()
    (tmp_path / "japanese-vowels" / "JapaneseVowels_TRAIN.ts").write_text(f"# a remark\n@data\n{line}\n")
    with pytest.raises(InvalidInputError, match=message):
        workload.data(tmp_path)
