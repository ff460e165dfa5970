import numpy as np
import pytest

from pruneguard.evaluation.correctness import found
from pruneguard.gates.paired import slices_non_inferior
from pruneguard.verdict import Outcome
from pruneguard.workload import Split

PREFIX = "quality.found.paired.slice."
RULE = {"margin": 0.02, "alpha": 0.05, "rows_min": 30}


def answers(predicted, sure):
    logits = np.zeros((len(predicted), 3), np.float32)
    logits[np.arange(len(predicted)), predicted] = sure
    return logits


def world(n=2000, *, lost, seed=0):
    """A table of two features; the candidate misses what `lost` says of (features, site, random numbers)."""
    rng = np.random.default_rng(seed)
    x, y = rng.random((n, 2)).astype(np.float32), rng.integers(3, size=n)
    site = rng.choice(["north", "south"], size=n)
    twin = np.where(rng.random(n) < 0.92, y, (y + 1) % 3)
    candidate = np.where(lost(x, site, rng.random(n)), (y + 2) % 3, twin)
    sure = rng.uniform(2, 6, size=n)
    return (answers(candidate, sure), answers(twin, sure)), Split(x, y, {"site": site})


def measured(case, kind="table", seed=0):
    return found.measure(*case, kind=kind, seed=seed)


def sliced(measurements):
    return {name.removeprefix(PREFIX): m for name, m in measurements.items() if name.startswith(PREFIX)}


def test_a_slice_that_nobody_named_is_found_named_and_refused():
    case = world(lost=lambda x, site, chance: (x[:, 1] > 0.8) & (site == "north") & (chance < 0.5))
    measurements = measured(case)
    worst, table = min(sliced(measurements).items(), key=lambda item: item[1].difference)
    assert "feature 1 over 0.79" in worst or "feature 1 over 0.8" in worst
    assert "site=north" in worst or "not site=south" in worst
    assert table.difference < -0.3
    answer = slices_non_inferior("quality.found.paired", RULE, measurements)
    assert answer.outcome is Outcome.FAILED


def test_the_slices_share_the_half_of_the_rows_that_found_nothing():
    measurements = measured(world(lost=lambda x, site, chance: (x[:, 0] > 0.5) & (chance < 0.3)))
    parts = sliced(measurements)
    assert 2 <= len(parts) <= found.SLICES_MAX
    assert sum(part.n for part in parts.values()) == measurements["quality.found.paired"].n == 1000
    assert sum(part.twin_only for part in parts.values()) == measurements["quality.found.paired"].twin_only


def test_what_was_lost_where_it_was_looked_for_does_not_count():
    # Seed 0 finds on one half; on the other nothing is lost: the slices are named, and none is worse.
    n, (case, split) = 600, world(600, lost=lambda x, site, chance: np.zeros(len(x), bool))
    finding = np.random.default_rng(0).permutation(n)[: n // 2]
    broken = case[0].copy()
    hurt = finding[split.x[finding, 0] > 0.7]
    broken[hurt] = np.roll(broken[hurt], 1, axis=1)
    measurements = measured(((broken, case[1]), split))
    assert any("feature 0 over 0.7" in name for name in sliced(measurements))
    assert measurements["quality.found.paired"].twin_only == 0


@pytest.mark.parametrize("margin", [0.001, 0.02])
def test_a_loss_that_is_spread_evenly_is_seldom_called_a_slice(margin):
    alarms = 0
    for seed in range(60):
        # A tenth of the rows is answered by a coin: as often won as lost, whatever the row.
        rng = np.random.default_rng(seed)
        case, split = world(600, lost=lambda x, site, chance: np.zeros(len(x), bool), seed=seed)
        again = rng.random(600) < 0.1
        redrawn = np.where(rng.random(600) < 0.92, split.y, (split.y + 1) % 3)
        candidate = np.where(again, redrawn, case[1].argmax(axis=1))
        measurements = measured(((answers(candidate, 4), case[1]), split), seed=seed)
        outcome = slices_non_inferior("quality.found.paired", RULE | {"margin": margin}, measurements).outcome
        alarms += outcome is Outcome.FAILED
    assert alarms <= 6


def test_a_candidate_that_lost_nothing_has_one_slice():
    case, split = world(lost=lambda x, site, chance: np.zeros(len(x), bool))
    assert list(sliced(measured(((case[1], case[1]), split)))) == ["all rows"]


def test_too_few_rows_are_not_divided():
    case = world(80, lost=lambda x, site, chance: x[:, 0] > 0.5)
    assert list(sliced(measured(case))) == ["all rows"]


def test_images_are_told_by_their_light_and_texts_by_the_answers_alone():
    rng = np.random.default_rng(0)
    light = rng.random(1000)
    images = np.clip(light[:, None, None, None] + rng.normal(0, 0.1, (1000, 1, 4, 4)), 0, 1).astype(np.float32)
    y = rng.integers(3, size=1000)
    twin = answers(y, 4)
    candidate = answers(np.where((light < 0.3) & (rng.random(1000) < 0.6), (y + 1) % 3, y), 4)
    dark = measured(((candidate, twin), Split(images, y)), kind="images")
    assert any("brightness up to 0." in name for name in sliced(dark))
    texts = measured(((candidate, twin), Split(images.reshape(1000, 16), y)), kind="text")
    assert not any("feature" in name or "brightness" in name for name in sliced(texts))


def test_the_same_seed_finds_the_same_slices():
    case = world(lost=lambda x, site, chance: (x[:, 0] > 0.6) & (chance < 0.4))
    assert measured(case) == measured(case)
    assert measured(case) != measured(case, seed=1)
