import onnx
import pytest
import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import padding, parts, surgery, weights
from pruneguard.pruning.export import to_onnx
from pruneguard.pruning.group import Group, Part, Slice
from pruneguard.pruning.parts import traced
from tests.pruning import networks
from tests.pruning.networks import CLASSES, IMAGES, TABLE


def cut(model, rows, chosen):
    """A pruned copy whose every entry is live, and what padding has to be told of it."""
    groups = traced.channels(model, rows).groups
    removed = surgery.removal(groups, chosen)
    kept = surgery.consequence(model, groups, chosen)
    pruned, _ = parts.cut(model, removed=removed, kept=kept)
    generator = torch.Generator().manual_seed(3)
    for tensor in pruned.state_dict().values():  # what training would have made of it
        if tensor.is_floating_point():
            tensor.add_(torch.rand(tensor.shape, generator=generator) * 0.2)
    return pruned, {"groups": groups, "removed": removed, "kept": kept}


def answers(model, rows):
    with torch.no_grad():
        return model.eval()(torch.from_numpy(rows))


@pytest.mark.parametrize(("multiple", "widths"), [(1, (11, 21)), (4, (12, 24)), (8, (16, 24)), (16, (16, 32))])
def test_widths_rise_to_the_next_multiple_and_answers_stay(multiple, widths):
    twin = networks.plain()
    pruned, told = cut(twin, IMAGES, {0: range(0, 10, 2), 1: range(3, 14)})
    padded = padding.pad(twin, pruned, **told, multiple=multiple)
    assert (padded[0].out_channels, padded[3].out_channels) == widths
    assert (padded[1].num_features, padded[3].in_channels, padded[7].in_features) == (
        widths[0],
        widths[0],
        16 * widths[1],
    )
    torch.testing.assert_close(answers(padded, IMAGES), answers(pruned, IMAGES), atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(4))
def test_skips_concatenations_and_grouped_layers_answer_the_same(seed):
    twin = networks.residual()
    generator = torch.Generator().manual_seed(seed)
    sizes = [group.width for group in traced.channels(twin, IMAGES).groups]
    gone = [int(torch.randint(1, size, (), generator=generator)) for size in sizes]
    chosen = {n: torch.randperm(sizes[n], generator=generator)[: gone[n]].tolist() for n in range(len(sizes))}
    pruned, told = cut(twin, IMAGES, chosen)
    padded = padding.pad(twin, pruned, **told, multiple=4)
    torch.testing.assert_close(answers(padded, IMAGES), answers(pruned, IMAGES), atol=1e-5, rtol=0)
    outputs = (padded.stem, padded.first, padded.depthwise, padded.side, padded.mix, padded.grouped)
    assert all(layer.out_channels % 4 == 0 for layer in outputs)
    assert padded.grouped.groups == 2
    assert padded.side.out_channels - pruned.side.out_channels in range(4)


def test_a_multiple_above_the_dense_width_gives_the_dense_width():
    twin = networks.residual()
    pruned, told = cut(twin, IMAGES, {1: (0, 7)})
    padded = padding.pad(twin, pruned, **told, multiple=64)
    assert padded.side.out_channels == 24
    torch.testing.assert_close(answers(padded, IMAGES), answers(pruned, IMAGES), atol=1e-5, rtol=0)


def test_a_normalised_width_is_left_as_it_is():
    twin = networks.table()
    pruned, told = cut(twin, TABLE, {0: (1, 2, 3), 1: (0,)})
    padded = padding.pad(twin, pruned, **told, multiple=4)
    assert (padded[0].out_features, padded[3].out_features) == (29, 16)
    torch.testing.assert_close(answers(padded, TABLE), answers(pruned, TABLE), atol=1e-5, rtol=0)


def test_the_exported_file_has_the_padded_widths():
    twin = networks.plain()
    pruned, told = cut(twin, IMAGES, {0: range(5), 1: range(9)})
    content = to_onnx(padding.pad(twin, pruned, **told), IMAGES, classes=CLASSES)
    shapes = [tuple(tensor.dims) for tensor in onnx.load_from_string(content).graph.initializer]
    assert (12, 1, 3, 3) in shapes
    assert (24, 12, 3, 3) in shapes


def test_neither_network_is_changed():
    twin = networks.plain().train()
    pruned, told = cut(twin, IMAGES, {0: (0,)})
    before = weights.dump(twin), weights.dump(pruned)
    padded = padding.pad(twin, pruned, **told)
    assert (weights.dump(twin), weights.dump(pruned)) == before
    assert (twin.training, padded.training) == (True, False)


def group(numbers, *, padded=True):
    return Group(Part.CHANNELS, "a", numbers, owned=(Slice("a.weight", 0, numbers),), padded=padded)


@pytest.mark.parametrize(
    ("numbers", "gone", "multiple", "left"),
    [
        ([(p,) for p in range(6)], (0, 2, 4), 4, (0, 1, 3, 5)),
        ([(p,) for p in range(6)], (0, 1), 4, (2, 3, 4, 5)),
        ([(p,) for p in range(6)], (3,), 4, (0, 1, 2, 3, 4, 5)),
        ([(p, p + 6) for p in range(6)], (0, 1, 2, 6, 7, 8), 4, (0, 3, 4, 5, 6, 9, 10, 11)),  # pairs: 6 -> 8
        ([(p, p + 3, p + 6) for p in range(3)], (0, 3, 6), 4, tuple(range(9))),  # threes reach 12 first: all come back
    ],
)
def test_the_first_parts_come_back_until_the_width_is_right(numbers, gone, multiple, left):
    size = sum(map(len, numbers))
    kept = {"a.weight": (tuple(i for i in range(size) if i not in gone), None)}
    removed, more = padding.widened(
        [group(tuple(numbers))], removed={"channels": {"a": gone}}, kept=kept, multiple=multiple
    )
    assert more == {"a.weight": (left, None)}
    assert set(removed["channels"].get("a", ())) == set(range(size)) - set(left)


def test_a_group_that_may_not_be_padded_is_left_as_it_is():
    kept = {"a.weight": ((1, 2),)}
    removed = {"channels": {"a": (0,)}}
    assert padding.widened([group(((0,), (1,), (2,)), padded=False)], removed=removed, kept=kept, multiple=3) == (
        removed,
        kept,
    )


def test_a_network_that_was_not_cut_like_that_is_refused():
    twin = networks.plain()
    pruned, told = cut(twin, IMAGES, {0: (0,)})
    with pytest.raises(
        InvalidInputError, match=r"0\.weight of the pruned network is \(16, 1, 3, 3\).*says \(15, 1, 3, 3\)"
    ):
        padding.pad(twin, networks.plain(), **told)
    pruned[0] = nn.Identity()
    with pytest.raises(InvalidInputError, match=r"0\.weight of the pruned network is absent"):
        padding.pad(twin, pruned, **told)


def test_a_multiple_below_one_is_refused():
    twin = networks.plain()
    pruned, told = cut(twin, IMAGES, {0: (0,)})
    with pytest.raises(InvalidInputError, match="a multiple of 0; give 4, 8 or 16"):
        padding.pad(twin, pruned, **told, multiple=0)
