import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruneguard.errors import InvalidInputError
from pruneguard.pruning.budgets import Scope, choose
from pruneguard.pruning.group import Group, Part


def group(root, width, *, part=Part.CHANNELS, bundle=1, **more):
    numbers = tuple(tuple(range(at * bundle, (at + 1) * bundle)) for at in range(width))
    return Group(part, root, numbers, **more)


def left(groups, chosen):
    """Numbers that stay in each group."""
    return [
        sum(len(numbers) for part, numbers in enumerate(group.numbers) if part not in chosen.get(at, ()))
        for at, group in enumerate(groups)
    ]


def rising(groups):
    return [[float(part) for part in range(group.width)] for group in groups]


# -- by hand ------------------------------------------------------------------------------------------------------


def test_the_lowest_scores_leave_and_of_equal_ones_the_first():
    groups = [group("conv", 6)]
    scores = [[0.5, 0.1, 0.9, 0.1, 0.1, 0.7]]
    assert choose(groups, scores, ratio=0.3, scope=Scope.LAYER, round_to=1) == {0: (1, 3)}
    assert choose(groups, [torch.tensor(scores[0])], ratio=0.5, scope=Scope.LAYER, round_to=1) == {0: (1, 3, 4)}


@pytest.mark.parametrize(
    ("width", "ratio", "round_to", "expected"),
    [(16, 0.5, 8, 8), (16, 0.3, 4, 12), (32, 0.3, 1, 22), (20, 0.1, 8, 16), (16, 0.99, 8, 8), (16, 0.99, 1, 1)],
)
def test_a_layer_is_rounded_to_the_nearest_multiple_and_never_below_one(width, ratio, round_to, expected):
    groups = [group("conv", width)]
    chosen = choose(groups, rising(groups), ratio=ratio, scope=Scope.LAYER, round_to=round_to)
    assert left(groups, chosen) == [expected]
    assert chosen[0] == tuple(range(width - expected))


def test_every_layer_loses_its_share_whatever_its_scores_are():
    groups = [group("low", 8), group("high", 16)]
    scores = [[0.0] * 8, [9.0] * 16]
    assert left(groups, choose(groups, scores, ratio=0.5, scope=Scope.LAYER, round_to=4)) == [4, 8]


def test_a_global_ranking_takes_the_lowest_wherever_they_are():
    groups = [group("first", 4), group("second", 4)]
    scores = [[1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 5.0]]
    assert choose(groups, scores, ratio=0.5, scope=Scope.GLOBAL, round_to=1) == {0: (0,), 1: (0, 1, 2)}


def test_a_global_ranking_takes_whole_steps_at_their_mean():
    groups = [group("first", 4), group("second", 4)]
    scores = [[0.0, 2.0, 3.0, 3.0], [0.8, 0.9, 3.0, 3.0]]  # means of the first steps: 1.0 and 0.85
    assert choose(groups, scores, ratio=0.25, scope=Scope.GLOBAL, round_to=2) == {1: (0, 1)}


def test_a_global_ranking_stops_at_the_floor_and_goes_on_elsewhere():
    groups = [group("first", 8), group("second", 8, least=3)]
    scores = [[5.0] * 8, [0.0] * 8]
    chosen = choose(groups, scores, ratio=0.5, scope=Scope.GLOBAL, round_to=1)
    assert left(groups, chosen) == [5, 3]


def test_heads_blocks_and_experts_are_counted_one_by_one():
    for part in (Part.HEADS, Part.BLOCKS, Part.EXPERTS):
        groups = [group("them", 6, part=part)]
        assert left(groups, choose(groups, rising(groups), ratio=1 / 3, scope=Scope.LAYER, round_to=8)) == [4]


def test_bundles_leave_whole_and_their_numbers_are_what_is_rounded():
    groups = [group("grouped", 8, bundle=2)]
    chosen = choose(groups, rising(groups), ratio=0.5, scope=Scope.LAYER, round_to=4)
    assert chosen == {0: (0, 1, 2, 3)}
    assert left(groups, chosen) == [8]


def test_the_same_level_loses_the_same_number_and_each_member_its_own_weakest():
    groups = [
        group("forward", 4, part=Part.UNITS, level="rnn.0"),
        group("backward", 4, part=Part.UNITS, level="rnn.0"),
        group("linear", 4, part=Part.UNITS),
    ]
    scores = [[0.0, 0.1, 0.2, 9.0], [9.0, 8.0, 7.0, 6.0], [3.0, 3.0, 3.0, 3.0]]
    assert choose(groups, scores, ratio=0.5, scope=Scope.GLOBAL, round_to=1) == {0: (0,), 1: (3,), 2: (0, 1, 2)}


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_a_ratio_outside_0_and_1_is_refused(ratio):
    groups = [group("conv", 8)]
    with pytest.raises(InvalidInputError, match="between 0 and 1"):
        choose(groups, rising(groups), ratio=ratio, scope=Scope.LAYER, round_to=1)


@pytest.mark.parametrize("scope", Scope)
def test_where_nothing_can_leave_the_widths_are_told(scope):
    groups = [group("conv", 8)]
    with pytest.raises(InvalidInputError, match=r"nothing can leave at ratio 0.5 and round_to 16; .*'conv': 8"):
        choose(groups, rising(groups), ratio=0.5, scope=scope, round_to=16)
    with pytest.raises(InvalidInputError, match="the widths are none"):
        choose([], [], ratio=0.5, scope=scope, round_to=1)


def test_a_step_below_one_is_refused():
    with pytest.raises(InvalidInputError, match="round_to is 0"):
        choose([group("conv", 8)], [[1.0] * 8], ratio=0.5, scope=Scope.LAYER, round_to=0)


@pytest.mark.parametrize("scores", [[1.0, math.nan], [1.0, math.inf], [1.0]])
def test_a_score_that_is_no_number_or_missing_is_refused(scores):
    with pytest.raises(InvalidInputError, match="conv has 2 parts"):
        choose([group("conv", 2)], [scores], ratio=0.5, scope=Scope.LAYER, round_to=1)


# -- whatever the network -----------------------------------------------------------------------------------------


@st.composite
def networks(draw):
    groups, scores = [], []
    for at in range(draw(st.integers(1, 4))):
        width, bundle = draw(st.integers(1, 24)), draw(st.sampled_from([1, 1, 2, 3]))
        part = draw(st.sampled_from([Part.CHANNELS, Part.UNITS, Part.HEADS]))
        least, level = draw(st.integers(1, 3)), f"level {at}" if draw(st.booleans()) else ""
        for _ in range(2 if level else 1):
            groups.append(group(f"g{len(groups)}", width, part=part, bundle=bundle, least=least, level=level))
            scores.append(draw(st.lists(st.sampled_from([0.0, 0.1, 0.3, 1.0]), min_size=width, max_size=width)))
    return groups, scores, draw(st.sampled_from([1, 2, 4, 8]))


ratios = st.floats(0.01, 0.99)
scopes = st.sampled_from(Scope)


def cut(groups, scores, **how):
    try:
        return choose(groups, scores, **how)
    except InvalidInputError:
        return {}


@given(networks(), ratios, ratios, scopes)
def test_a_higher_ratio_never_leaves_more(network, first, second, scope):
    groups, scores, round_to = network
    low, high = sorted((first, second))
    less = cut(groups, scores, ratio=low, scope=scope, round_to=round_to)
    more = cut(groups, scores, ratio=high, scope=scope, round_to=round_to)
    assert all(set(parts) <= set(more[at]) for at, parts in less.items())


@given(networks(), ratios, scopes)
def test_floors_multiples_and_levels_hold(network, ratio, scope):
    groups, scores, round_to = network
    chosen = cut(groups, scores, ratio=ratio, scope=scope, round_to=round_to)
    widths = left(groups, chosen)
    for at, parts in chosen.items():
        step = 1 if groups[at].part is Part.HEADS else round_to
        assert parts == tuple(sorted(set(parts)))
        assert groups[at].width - len(parts) >= groups[at].least
        assert widths[at] >= step
        assert widths[at] % step == 0
        worst = max(scores[at][part] for part in parts)
        assert all(scores[at][part] >= worst for part in range(groups[at].width) if part not in parts)
    for level in {group.level for group in groups if group.level}:
        assert len({width for width, group in zip(widths, groups, strict=True) if group.level == level}) == 1


@given(st.lists(st.integers(10, 40), min_size=1, max_size=5), st.floats(0.1, 0.5), st.randoms(use_true_random=False))
def test_a_global_ratio_removes_that_share_of_all_parts(widths, ratio, random):
    groups = [group(f"g{at}", width) for at, width in enumerate(widths)]
    scores = [[random.random() for _ in range(width)] for width in widths]
    chosen = choose(groups, scores, ratio=ratio, scope=Scope.GLOBAL, round_to=1)
    # Where one group is at its floor another loses more: the sum is exact to half a part.
    assert abs(sum(map(len, chosen.values())) - ratio * sum(widths)) <= 0.5 + 1e-9


@given(st.integers(1, 64), st.integers(1, 8), ratios)
def test_a_layer_ends_within_half_a_step_of_its_share(width, round_to, ratio):
    groups = [group("conv", width)]
    chosen = cut(groups, rising(groups), ratio=ratio, scope=Scope.LAYER, round_to=round_to)
    (found,) = left(groups, chosen)
    rounded = round_to * math.ceil(found / round_to)  # a full width stands for the multiple above it
    assert abs(rounded - width * (1 - ratio)) <= round_to / 2 + 1e-9 or found <= round_to
