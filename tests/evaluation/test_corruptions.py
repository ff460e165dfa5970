import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneguard.evaluation import corruptions
from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.corruptions import suite
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.yardstick import Yardstick
from pruneguard.evidence import PairedTable
from pruneguard.workload import Snapshot, Split, Tokens
from tests.evaluation.small import linear, table

SEVERITIES = (1, 2, 3, 4, 5)


def text(rows=40, places=12) -> Snapshot:
    """Rows of 1 to 12 words out of 2..59, filled up with 0; 1 is the unknown word."""
    rng = np.random.default_rng(3)

    def split(n):
        x = rng.integers(2, 60, (n, places)).astype(np.float32)
        x[np.arange(places) >= rng.integers(1, places + 1, (n, 1))] = 0
        return Split(x, np.arange(n, dtype=np.int64) % 2)

    return Snapshot(split(rows), split(rows), split(rows), 2, (0, 59), kind="text", tokens=Tokens(0, 1))


def normal() -> Snapshot:
    rows = np.random.default_rng(4).standard_normal((3, 200, 6)).astype(np.float32)
    return Snapshot(*(Split(x, np.arange(200, dtype=np.int64) % 2) for x in rows), 2, (-20, 20))


@pytest.fixture(scope="module")
def snapshots(digits) -> dict[str, Snapshot]:
    return {"images": digits, "table": normal(), "text": text(400)}


FAMILIES = [(kind, family) for kind, module in suite._KINDS.items() for family in module.FAMILIES]


def test_every_kind_of_rows_has_twelve_families(snapshots):
    for snapshot in snapshots.values():
        domain = Domain.of(snapshot)
        assert len(corruptions.families(domain)) == 12
        assert all(corruptions.lacks(family, domain) is None for family in corruptions.families(domain))
    assert len({family for _, family in FAMILIES}) == 35, "only noise is the same thing in images and in tables"


@pytest.mark.parametrize(("kind", "family"), FAMILIES)
def test_damage_is_deterministic_inside_the_bounds_and_grows(kind, family, snapshots):
    snapshot = snapshots[kind]
    domain, x = Domain.of(snapshot), snapshot.gate.x
    before = x.copy()
    low, high = snapshot.bounds
    distances = []
    for severity in (0, *SEVERITIES):
        damaged = corruptions.corrupt(x, domain, family=family, severity=severity, seed=0)
        assert damaged.dtype == np.float32
        assert damaged.shape == x.shape
        assert ((low <= damaged) & (damaged <= high)).all()
        assert (damaged == corruptions.corrupt(x, domain, family=family, severity=severity, seed=0)).all()
        distances.append(distance(kind, family, x, damaged))
    assert (x == before).all(), "the rows themselves are left as they are"
    assert distances[0] == 0 < distances[1]
    if (kind, family) != ("images", "pixelate"):  # of 8 pixels, 7 lie worse than 6
        assert distances == sorted(distances)
    assert distances[5] > 1.5 * distances[1]


def distance(kind, family, x, damaged):
    if family in ("dropped_words", "common_words", "truncation", "late_start"):
        return (damaged == 0).mean() - (x == 0).mean()
    return (damaged != x).mean() if kind == "text" else np.abs(damaged - x).mean()


@pytest.mark.parametrize(("kind", "family"), FAMILIES)
def test_another_seed_is_another_damage_where_chance_has_a_part(kind, family, snapshots):
    domain, x = Domain.of(snapshots[kind]), snapshots[kind].gate.x
    one, two = (corruptions.corrupt(x, domain, family=family, severity=3, seed=seed) for seed in (1, 2))
    certain = {"blur", "contrast", "pixelate", "compression", "saturation", "rounding"}
    certain |= {"rare_words", "common_words", "truncation", "late_start"}
    assert (one == two).all() == (family in certain)


@pytest.mark.parametrize(
    ("kind", "family"), [each for each in FAMILIES if each[1] not in ("shuffled_values", "second_text")]
)
def test_no_row_is_damaged_by_the_value_of_another_that_is_not_a_number(kind, family, snapshots):
    domain, x = Domain.of(snapshots[kind]), snapshots[kind].gate.x[:20].copy()
    whole = corruptions.corrupt(x, domain, family=family, severity=4, seed=0)
    x[7] = np.nan
    holed = corruptions.corrupt(x, domain, family=family, severity=4, seed=0)
    others = np.arange(20) != 7
    assert holed[others] == pytest.approx(whole[others], abs=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (5, 17)])
@pytest.mark.parametrize("family", suite.images.FAMILIES)
def test_images_of_any_size_can_be_damaged(family, size, channels):
    x = np.random.default_rng(0).random((6, channels, *size)).astype(np.float32) * 5 - 2
    split = Split(x, np.arange(6, dtype=np.int64) % 2)
    domain = Domain.of(Snapshot(split, split, split, 2, (-2, 3)))
    for severity in SEVERITIES:
        damaged = corruptions.corrupt(x, domain, family=family, severity=severity, seed=0)
        assert damaged.shape == x.shape
        assert np.isfinite(damaged).all()


@pytest.mark.parametrize("family", suite.tables.FAMILIES)
def test_a_table_of_one_constant_column_can_be_damaged(family):
    split = Split(np.full((6, 1), 0.5, np.float32), np.arange(6, dtype=np.int64) % 2)
    domain = Domain.of(Snapshot(split, split, split, 2))
    damaged = corruptions.corrupt(split.x, domain, family=family, severity=5, seed=0)
    assert np.isfinite(damaged).all()
    moved = {"scaling", "gain", "unit_change"}  # in shares of the value, not of the spread
    assert (damaged == 0.5).all() or family in moved | {"sentinels"}


@pytest.mark.parametrize("family", suite.tables.FAMILIES)
def test_series_are_damaged_as_tables(family):
    snapshot = table(60, 8)
    split = Split(snapshot.gate.x.reshape(-1, 4, 2), snapshot.gate.y)
    series = Domain.of(Snapshot(split, split, split, 2))
    flat = Domain.of(Snapshot(*[Split(snapshot.gate.x, snapshot.gate.y)] * 3, classes=2))
    found = corruptions.corrupt(split.x, series, family=family, severity=3, seed=0)
    assert (found.reshape(-1, 8) == corruptions.corrupt(snapshot.gate.x, flat, family=family, severity=3, seed=0)).all()


@pytest.mark.parametrize("family", suite.text.FAMILIES)
def test_rows_of_one_place_and_rows_of_filling_can_be_damaged(family):
    for x in ([[5.0], [6.0]], [[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]]):
        split = Split(np.array(x, np.float32), np.array([0, 1]))
        domain = Domain.of(Snapshot(split, split, split, 2, (0, 9), kind="text", tokens=Tokens(0, 1)))
        damaged = corruptions.corrupt(split.x, domain, family=family, severity=5, seed=0)
        assert damaged.shape == split.x.shape
        assert (damaged[1] != 0).any(), "no row loses its last word"
        assert x[0][0] != 0 or family == "second_text" or not damaged[0].any()


def test_a_text_that_names_no_tokens_is_damaged_in_what_needs_none():
    snapshot = text()
    domain = Domain.of(Snapshot(*snapshot.splits.values(), 2, (0, 59), kind="text"))
    reasons = {family: corruptions.lacks(family, domain) for family in corruptions.families(domain)}
    unknown = {"unknown_words", "rare_words"}
    assert {family for family, why in reasons.items() if why and "unknown words" in why} == unknown
    filling = {"dropped_words", "common_words", "truncation", "late_start"}
    assert {family for family, why in reasons.items() if why and "fills rows up" in why} == filling
    for family in set(reasons) - unknown - filling:
        assert corruptions.corrupt(snapshot.gate.x, domain, family=family, severity=2, seed=0).shape == (40, 12)


@given(st.integers(0, 60), st.integers(0, 1000))
def test_every_row_is_damaged_once_in_equal_shares(n, seed):
    severity = suite.severities(n, family="noise", seed=seed)
    counts = [int((severity == each).sum()) for each in SEVERITIES]
    assert sum(counts) == n
    assert max(counts) - min(counts) <= 1
    snapshot = table()
    x = np.tile(snapshot.gate.x[:1], (n, 1))
    found = corruptions.spread(x, Domain.of(snapshot), family="noise", seed=seed)
    assert found.shape == x.shape
    assert (found == corruptions.spread(x, Domain.of(snapshot), family="noise", seed=seed)).all()


def test_the_table_counts_every_row_once_and_its_slices_are_the_severities(pair, digits):
    found = corruptions.Suite(pair, digits.gate, Domain.of(digits), seed=0).measure("noise")
    whole = found.pop("robustness.noise.paired")
    assert isinstance(whole, PairedTable)
    assert whole.n == len(digits.gate)
    assert list(found) == [f"robustness.noise.paired.slice.severity={each}" for each in SEVERITIES]
    assert all(each.n == len(digits.gate) // 5 for each in found.values())
    for cell in ("both_right", "candidate_only", "twin_only", "both_wrong"):
        assert sum(getattr(each, cell) for each in found.values()) == getattr(whole, cell)


class Counted:
    """A session that remembers how many rows it was asked about."""

    def __init__(self, session):
        self.session, self.rows = session, 0

    def logits(self, x):
        self.rows += len(x)
        return self.session.logits(x)


def test_the_suite_is_twelve_passes_of_each_model_and_none_of_a_twin_that_is_known(pair, digits):
    yardstick, domain = Yardstick(), Domain.of(digits)
    ours, theirs = Counted(pair.candidate_session), Counted(pair.twin_session)
    for twins in (12, 0):
        counted = Pair(pair.candidate, pair.twin, ours, theirs, yardstick)
        damage = corruptions.Suite(counted, digits.gate, domain, seed=0)
        clean = counted.logits(digits.gate.x)
        ours.rows = theirs.rows = 0
        for family in corruptions.families(domain):
            damage.measure(family)
        damage.overall(clean)
        assert ours.rows == 12 * len(digits.gate)
        assert theirs.rows == twins * len(digits.gate)


@pytest.mark.parametrize(("rows", "damaged"), [(19, 19), (20, 20), (39, 20), (50, 25), (80, 30)])
def test_half_of_many_rows_are_damaged_and_n_says_how_many(rows, damaged, monkeypatch):
    monkeypatch.setattr(suite, "ROWS_MIN", 20)
    monkeypatch.setattr(suite, "ROWS_MAX", 30)
    snapshot = table(2 * rows)
    weak, strong = linear([[1, 0], [0, 1], [0, 0]]), linear([[1, 0], [0, 1], [0, 1]])
    pair = Pair.load(weak, strong, classes=2)
    found, again = (
        corruptions.Suite(pair, snapshot.gate, Domain.of(snapshot), seed=0).measure("noise") for _ in range(2)
    )
    assert found == again
    assert found["robustness.noise.paired"].n == damaged
    suite_of = corruptions.Suite(pair, snapshot.gate, Domain.of(snapshot), seed=0)
    overall = suite_of.overall(pair.logits(snapshot.gate.x))
    assert all(each.n == damaged for each in overall.values())


def test_a_model_without_an_answer_is_wrong_on_every_damaged_row():
    silent, separating = linear([[np.nan, 0], [0, 0], [0, 0]]), linear([[4, 0], [0, 0], [1, 0]])
    snapshot = table()
    found = corruptions.Suite(
        Pair.load(silent, separating, classes=2), snapshot.gate, Domain.of(snapshot), seed=0
    ).measure("missing")
    whole = found["robustness.missing.paired"]
    assert whole.both_right == whole.candidate_only == 0
    assert whole.n == len(snapshot.gate)
