import numpy as np
import pytest
import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.efficiency import latency
from pruneguard.evaluation.sessions import Session
from pruneguard.pruning import export, parts, surgery, weights, widths
from pruneguard.pruning.group import Group, Part, Slice
from pruneguard.pruning.widths import expected, shrink
from tests.pruning import networks

# -- the greedy walk, by hand -------------------------------------------------------------------------------------


def test_the_step_that_loses_least_for_the_time_it_saves_goes_first():
    table = [[1.0, 0.9, 0.8], [1.0, 0.8, 0.6]]
    assert shrink(table, [[0, 1, 2], [0, 1, 2]], 0.8) == (0, 1)  # 1 lost for 0.2 beats 1 lost for 0.1
    assert shrink(table, [[0, 1, 2], [0, 3, 6]], 0.9) == (1, 0)  # 1 lost for 0.1 beats 3 lost for 0.2
    assert shrink(table, [[0, 1, 2], [0, 1, 2]], 0.55) == (1, 2)  # 0.8, then 0.6, then 0.54


def test_no_step_is_taken_where_the_target_is_met_already():
    assert shrink([[1.0, 0.5]], [[0, 1]], 1.0) == (0,)
    assert shrink([], [], 0.5) == ()


def test_a_rung_that_saves_nothing_is_stepped_over():
    assert shrink([[1.0, 1.0, 0.7]], [[0, 1, 2]], 0.9) == (2,)
    assert shrink([[1.0, 1.2, 0.7], [1.0, 0.9, 0.9]], [[0, 1, 2], [0, 1, 9]], 0.65) == (2, 1)


def test_time_beyond_the_target_buys_nothing():
    assert shrink([[1.0, 0.85, 0.3]], [[0, 1, 1.5]], 0.9) == (1,)


def test_equal_steps_are_taken_one_by_one():
    table = [np.linspace(1, 0.3, 15).tolist()]
    assert shrink(table, [[0.1 * rung for rung in range(15)]], 0.76) == (5,)


def test_the_walk_ends_where_nothing_is_faster_any_more():
    assert shrink([[1.0, 0.9, 0.95]], [[0, 1, 2]], 0.1) == (1,)
    assert shrink([[1.0, 1.0]], [[0, 1]], 0.1) == (0,)


def test_of_equal_offers_the_first_group_and_the_smallest_step_go():
    assert shrink([[1.0, 0.75, 0.5], [1.0, 0.75, 0.5]], [[0, 1, 2], [0, 1, 2]], 0.75) == (1, 0)


def test_groups_that_share_a_layer_are_expected_to_multiply():
    # A convolution of 64 x 64 that is all the work: half the inputs and half the outputs are a quarter of it.
    assert expected([[1.0, 0.5], [1.0, 0.5]], (1, 1)) == 0.25


# -- a real network -----------------------------------------------------------------------------------------------


def singles(width):
    return tuple((number,) for number in range(width))


def network():
    return networks.seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, networks.CLASSES),
        )
    )


def groups():
    def group(root, reader, width):
        owned = (
            Slice(f"{root}.weight", 0, singles(width)),
            Slice(f"{root}.bias", 0, singles(width)),
            Slice(f"{reader}.weight", 1, singles(width)),
        )
        return Group(Part.CHANNELS, root, singles(width), owned)

    return [group("0", "2", 32), group("2", "6", 64)]


ROWS = np.random.default_rng(0).random((4, 1, 24, 24), dtype=np.float32)
SCORES = [torch.arange(32.0), torch.arange(64.0)]


def narrow(model, ratio, **how):
    """Only the second convolution, to its half: one cut for the table."""
    how = {"round_to": 32, "seed": 0, "batch": 64} | how
    return widths.choose(model, ROWS, groups()[1:], SCORES[1:], ratio=ratio, **how)


@pytest.mark.slow
def test_a_convolutional_network_takes_the_share_of_its_time_that_was_asked_for():
    model = network().train()
    before, heard = weights.dump(model), []
    chosen = widths.choose(
        model,
        ROWS,
        groups(),
        SCORES,
        ratio=0.4,
        round_to=16,
        seed=0,
        batch=64,
        progress=lambda done, total: heard.append((done, total)),
    )
    assert weights.dump(model) == before
    assert model.training
    assert heard[-1][0] == heard[-1][1] == 4 - 1 + widths.TRIES  # rung 1 of "0", 1 and 3 of "2", and the tries
    assert [heard.index(step) for step in sorted(heard)] == list(range(len(heard)))
    for gone in chosen.values():
        assert gone == tuple(range(len(gone)))  # the lowest scores
        assert len(gone) % 16 == 0

    kept = surgery.consequence(model, groups(), chosen)
    cut, _ = parts.cut(model, removed=surgery.removal(groups(), chosen), kept=kept)
    sessions = [Session(export.to_onnx(net, ROWS, classes=networks.CLASSES)) for net in (cut, model)]
    batch = np.resize(ROWS, (64, *ROWS.shape[1:]))
    found = latency.ratio_of_medians(latency.rounds(*sessions, batch), seed=0)
    assert found.high < 0.75  # asked for 0.6; the machine has moods


def test_a_share_that_no_width_reaches_is_refused_with_the_times_found():
    with pytest.raises(
        InvalidInputError, match=r"shall take 0\.01 of its time at batch 64; .* takes 0\.\d+; 2 at 32 of 64"
    ):
        narrow(network(), 0.99)


def test_where_nothing_can_be_narrower_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(export, "to_onnx", None)
    with pytest.raises(InvalidInputError, match="no group of Sequential can be narrower at round_to 64"):
        narrow(network(), 0.3, round_to=64)


def test_where_a_width_is_faster_by_chance_alone_the_times_found_are_told(monkeypatch):
    taken = np.array([[0.9, 1.0], [1.1, 1.0], [0.95, 1.0]] * 7)
    assert np.median(taken[:, 0]) < 1
    monkeypatch.setattr(latency, "rounds", lambda ours, theirs, batch: taken)
    with pytest.raises(InvalidInputError, match="no narrower width makes Sequential faster at batch 64: 2 at 32 of 64"):
        narrow(network(), 0.3)


class Bench:
    """A network that takes another share of its time than the table says."""

    def __init__(self, share):
        self.share = share


TENTHS = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


def test_a_miss_is_corrected_by_what_was_measured():
    bench = Bench(lambda rungs: 1.5 * TENTHS[rungs[0]])
    tried = widths._try(bench, [TENTHS], [list(range(10))], 0.45)
    assert list(tried) == [(6,), (7,)]  # 0.4 takes 0.6; 0.3 takes 0.45
    assert tried[7,] == pytest.approx(0.45)


def test_a_target_between_two_misses_is_closed_in_on():
    takes = [1.0, 0.95, 0.9, 0.85, 0.7, 0.5, 0.25, 0.2, 0.1, 0.05]  # slow at first, then all at once
    tried = widths._try(Bench(lambda rungs: takes[rungs[0]]), [TENTHS], [list(range(10))], 0.7)
    assert list(tried) == [(3,), (5,), (4,)]  # 0.85 is too slow, 0.5 too fast


@pytest.mark.parametrize("ratio", [0.0, 1.0, float("nan")])
def test_a_ratio_outside_0_and_1_is_refused(ratio):
    with pytest.raises(InvalidInputError, match="between 0 and 1"):
        narrow(network(), ratio)
