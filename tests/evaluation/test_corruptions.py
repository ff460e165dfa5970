import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneguard.evaluation import corruptions
from pruneguard.evaluation.domain import Domain
from pruneguard.evidence import PairedTable
from tests.evaluation.small import table

IMAGES = ("noise", "blur", "contrast")
TABLES = ("noise", "scaling", "missing")


def damaged(snapshot, family, severity, seed=0):
    return corruptions.corrupt(snapshot.gate.x, Domain.of(snapshot), family=family, severity=severity, seed=seed)


@pytest.fixture(scope="module")
def snapshots(digits):
    return {**dict.fromkeys(IMAGES, digits), **dict.fromkeys(TABLES[1:], table())}


def test_images_and_tables_have_their_own_families(digits):
    assert corruptions.families(Domain.of(digits)) == IMAGES
    assert corruptions.families(Domain.of(table())) == TABLES


@pytest.mark.parametrize("family", [*IMAGES, *TABLES[1:]])
def test_damage_is_deterministic_inside_the_bounds_and_grows(family, snapshots):
    snapshot = snapshots[family]
    low, high = snapshot.bounds
    distances = []
    for severity in (0, 1, 2, 3):
        x = damaged(snapshot, family, severity)
        assert x.dtype == np.float32
        assert (low <= x).all()
        assert (x <= high).all()
        assert (x == damaged(snapshot, family, severity)).all()
        distances.append(np.abs(x - snapshot.gate.x).mean())
    assert distances[0] == pytest.approx(0, abs=1e-6)
    assert distances == sorted(distances)
    assert distances[1] > 0


@pytest.mark.parametrize("family", ["noise", "scaling", "missing"])
def test_another_seed_is_another_damage(family):
    assert (damaged(table(), family, 2, seed=1) != damaged(table(), family, 2, seed=2)).any()


def test_contrast_by_hand(digits):
    x = damaged(digits, "contrast", 2)
    mean = digits.gate.x.mean(axis=(1, 2, 3), keepdims=True)
    assert x == pytest.approx((digits.gate.x + mean) / 2, abs=1e-6)


def test_blur_keeps_an_even_image_and_spreads_a_point(digits):
    domain = Domain.of(digits)
    x = np.full((2, 1, 8, 8), 0.5, np.float32)
    x[1] = 0
    x[1, 0, 4, 4] = 1
    even, point = corruptions.corrupt(x, domain, family="blur", severity=3, seed=0)
    assert even == pytest.approx(0.5)
    assert point.sum() == pytest.approx(1, abs=1e-5)
    assert point[0, 4, 4] == point.max() < 1
    assert point[0, 4, 3] == pytest.approx(point[0, 3, 4]) == pytest.approx(point[0, 5, 4])


def test_a_missing_feature_becomes_its_mean():
    snapshot = table()
    x = damaged(snapshot, "missing", 3)
    changed = x != snapshot.gate.x
    assert 0.05 < changed.mean() < 0.35
    assert (
        x[changed] == np.broadcast_to(snapshot.train.x.mean(axis=0, dtype=float), x.shape)[changed].astype("f4")
    ).all()


@given(st.integers(0, 60), st.integers(0, 1000))
def test_every_row_is_damaged_once_in_equal_shares(n, seed):
    snapshot = table()
    domain = Domain.of(snapshot)
    x = np.tile(snapshot.gate.x[:1], (n, 1))
    found = corruptions.spread_over_severities(x, domain, family="noise", seed=seed)
    assert found.shape == x.shape
    assert (found == corruptions.spread_over_severities(x, domain, family="noise", seed=seed)).all()


def test_the_table_has_one_row_per_row_of_the_split(pair, digits):
    found = corruptions.measure(pair, digits.gate, Domain.of(digits), family="noise", seed=0)
    paired = found["robustness.noise.paired"]
    assert isinstance(paired, PairedTable)
    assert paired.n == len(digits.gate)
