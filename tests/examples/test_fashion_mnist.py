import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from pruneguard import home, workload
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.state import Status
from pruneguard.pruning.matching import require_matching
from pruneguard.settings import Settings
from tests.flows.children import done

FILE = Path(__file__).parents[2] / "examples" / "fashion_mnist" / "workload.py"
DATA = Path(os.environ.get("PRUNEGUARD_DATA_DIR", "data"))

needs_data = pytest.mark.skipif(
    not (DATA / "fashion-mnist").is_dir() or not (DATA / "mnist").is_dir(),
    reason="fashion-mnist and mnist are not in PRUNEGUARD_DATA_DIR",
)


@pytest.fixture(scope="module")
def fashion():
    return workload.load(FILE, "FashionMnist")


@needs_data
def test_fashion_mnist_is_a_workload_that_fits_its_data(fashion):
    snapshot = fashion.data(DATA)
    require_matching(fashion, snapshot)
    assert [len(split) for split in snapshot.splits.values()] == [12_000, 5_000, 5_000]
    assert snapshot.digest == fashion.data(DATA).digest
    for split in snapshot.splits.values():
        assert np.bincount(split.y).min() >= 0.09 * len(split)
        assert set(split.slices["tone"]) == {"dark", "medium", "light"}


def test_a_missing_file_says_which_where_and_how_to_get_it(fashion, tmp_path):
    with pytest.raises(InvalidInputError) as refusal:
        fashion.data(tmp_path)
    message = str(refusal.value)
    for part in ("train-images-idx3-ubyte.gz", str(tmp_path), "PRUNEGUARD_DATA_DIR", "zalandoresearch/fashion-mnist"):
        assert part in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not gzip", "not a whole gzip IDX file"),
        (gzip.compress(b"\0"), "not a whole gzip IDX file"),
        (gzip.compress(bytes([0, 0, 8, 3, 0, 0, 0, 9, 0, 0, 0, 28, 0, 0, 0, 28])), "not a whole gzip IDX file"),
        (gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])), "begins with 2049; expected 2051"),
    ],
    ids=["no gzip", "no header", "cut off", "labels for images"],
)
def test_a_broken_file_is_named(fashion, tmp_path, content, message):
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(InvalidInputError, match=f"train-images-idx3-ubyte.gz.*{message}"):
        fashion.data(tmp_path)


@needs_data
@pytest.mark.slow
def test_the_example_ends_with_a_pruned_release_that_waits_for_approval(tmp_path):
    settings = Settings(home=tmp_path / "var", data_dir=DATA.resolve(), training_threads=1)
    assert done("init", "--team", settings=settings)[0] == 0
    assert done("approve", "--policy", str(FILE.with_name("policy.yaml")), settings=settings)[0] == 0

    code, output = done("run", str(FILE.with_name("manifest.yaml")), settings=settings)

    assert code == 0, output
    ledger = home.read_ledger(settings, verify=True)
    releases = ledger.state().models["fashion-mnist"].releases
    ledger.close()
    assert [release.status for release in releases.values()] == [Status.PROPOSED] * 2, output
    twin, pruned = (home.artifacts(settings).get(release.digest) for release in releases.values())
    assert len(pruned) < 0.9 * len(twin)
    assert "REJECTED" in output  # the boldest cut loses too much under weak contrast
