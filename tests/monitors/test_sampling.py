"""Drawing for the twin: an exact budget, unbiased under any traffic, and deaf to what the twin says."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors.sampling import WEIGHT_MAX, BlockSampler, Risk
from pruneguard.errors import InvalidInputError

MARGINS = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def draws(sampler: BlockSampler[int], margins) -> list:
    return [draw for item, margin in enumerate(margins) if (draw := sampler.offer(item, margin)) is not None]


@given(st.lists(st.floats(0, 1), max_size=100), st.integers(1, 12))
def test_every_full_block_has_exactly_one_draw_out_of_its_own_items(margins, size):
    made = draws(BlockSampler(size, "s"), margins)
    assert [draw.item // size for draw in made] == list(range(len(margins) // size))


@given(MARGINS, st.integers(0, 999))
def test_no_draw_weighs_more_than_two_and_weight_undoes_probability(margins, seed):
    (draw,) = draws(BlockSampler(len(margins), str(seed)), margins)
    assert 0 < draw.weight <= WEIGHT_MAX
    assert draw.weight * draw.probability * len(margins) == pytest.approx(1)


def test_doubtful_rows_are_drawn_more_often():
    sampler: BlockSampler[int] = BlockSampler(2, "s")
    made = draws(sampler, [0.95, 0.05] * 2_000)
    share = sum(draw.item % 2 for draw in made) / len(made)
    assert share == pytest.approx(0.25 + 0.5 * 0.31 / 0.32 - 0.015, abs=0.04)


@pytest.mark.parametrize("flips_where", ["doubtful", "confident", "everywhere"])
def test_the_weighted_draw_is_unbiased_wherever_the_flips_are(flips_where):
    """Also after a shift to confident flips, of which the table of risks knows nothing."""
    rng = np.random.default_rng(5)
    margins = rng.beta(2, 1, size=40_000)
    rates = {"doubtful": 0.2 * (1 - margins), "confident": 0.2 * margins, "everywhere": np.full(len(margins), 0.1)}
    flips = rng.random(len(margins)) < rates[flips_where]
    observed = [flips[draw.item] * draw.weight for draw in draws(BlockSampler(10, "s"), margins)]
    error = np.std(observed) / math.sqrt(len(observed))
    assert abs(np.mean(observed) - flips.mean()) < 4 * error


def test_the_same_seed_repeats_every_draw_and_another_does_not():
    margins = np.random.default_rng(0).random(500)
    same, again, other = (draws(BlockSampler(10, seed), margins) for seed in ("a", "a", "b"))
    assert same == again
    assert same != other


def test_a_sampler_resumed_by_its_block_number_draws_as_if_it_had_never_stopped():
    margins = np.random.default_rng(0).random(200)
    whole = draws(BlockSampler(10, "a"), margins)
    resumed = draws(BlockSampler(10, "a", blocks=10), margins[100:])
    assert [draw.item + 100 for draw in resumed] == [draw.item for draw in whole[10:]]


def test_a_row_without_a_margin_counts_as_doubtful():
    assert Risk()(math.nan) == Risk()(0.0)


@pytest.mark.parametrize(
    ("margins", "risks"),
    [((0.5, 0.2), (0.3, 0.2, 0.1)), ((0.5,), (0.1, 0.3)), ((0.5,), (0.3,)), ((0.5,), (0.3, 0.0))],
)
def test_a_table_of_risks_that_does_not_fall_with_the_margin_is_refused(margins, risks):
    with pytest.raises(InvalidInputError, match="rising margins"):
        Risk(margins, risks)


def test_an_empty_block_is_refused():
    with pytest.raises(InvalidInputError, match="at least one"):
        BlockSampler(0, "s")
