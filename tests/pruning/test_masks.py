import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pruneguard import canonical
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.pruning import masks, tensors, weights
from pruneguard.pruning.lineage import Lineage, Mask
from pruneguard.pruning.recomputing import departures, recompute
from tests.pruning import networks

BUILDS = {
    "table": networks.table,
    "plain": networks.plain,
    "transformer": networks.transformer,
    "recurrent": networks.recurrent,
}


def masked(dense: nn.Module, stays: masks.Masks) -> tuple[nn.Module, Lineage]:
    """A copy with only what stays, and the lineage that says so."""
    pruned = copy.deepcopy(dense)
    masks.apply(pruned, stays)
    return pruned, Lineage(
        dense=weights.digest(dense),
        start=weights.digest(dense),
        weights=weights.digest(pruned),
        recipe=({"prune": "weights"},),
        ratio=0.5,
        seed=0,
        shapes={name: tuple(tensor.shape) for name, tensor in dense.state_dict().items()},
        kept={name: (None,) * tensor.dim() for name, tensor in dense.state_dict().items()},
        stored=canonical.digest(masks.pack(stays)),
        masks={
            name: Mask(canonical.digest(masks.bits(mask)), tuple(mask.shape), int(mask.sum()))
            for name, mask in stays.items()
        },
    )


def linear(*layers: list[list[float]]) -> nn.Module:
    """Linear layers, named by their numbers, with just these weights."""
    model = nn.Sequential(*(nn.Linear(len(rows[0]), len(rows)) for rows in layers))
    with torch.no_grad():
        for layer, rows in zip(model, layers, strict=True):
            layer.weight.copy_(torch.tensor(rows))
    return model


def stay(found: masks.Masks) -> dict[str, list[list[int]]]:
    return {name: mask.int().tolist() for name, mask in found.items()}


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("budget", [*masks.BUDGETS, "2:4"])
def test_the_pruned_weights_are_recomputed_bit_for_bit(build, budget):
    dense = BUILDS[build]()
    stays = masks.make(dense, ratio=None if budget == "2:4" else 0.6, budget=budget)
    pruned, lineage = masked(dense, stays)
    assert recompute(weights.dump(dense), lineage, masks.pack(stays)) == weights.dump(pruned)
    assert masks.sparsity(stays) == pytest.approx(0.5 if budget == "2:4" else 0.6, abs=0.01)


def test_the_smallest_weights_go_over_all_layers_or_in_each():
    dense = networks.table()
    for budget in ("global", "layer"):
        stays = masks.make(dense, ratio=0.5, budget=budget)
        assert set(stays) == {"0.weight", "3.weight", "4.weight"}  # no bias, no norm
        small = {name: dense.get_parameter(name).detach().abs()[~mask] for name, mask in stays.items()}
        large = {name: dense.get_parameter(name).detach().abs()[mask] for name, mask in stays.items()}
        if budget == "global":
            small, large = {"all": torch.cat([*small.values()])}, {"all": torch.cat([*large.values()])}
        assert all(small[name].max() <= large[name].min() for name in small)


def test_lamp_weighs_each_weight_against_the_larger_ones_of_its_layer():
    # Squares 1, 4, 9 over what is not smaller: 1/14, 4/13, 1. The other layer: 100/700, 400/600, 1 -> 1/14 is lowest.
    model = linear([[1.0, -2.0, 3.0]], [[10.0], [14.1421356], [20.0]])
    assert stay(masks.make(model, ratio=0.34, budget="lamp")) == {
        "0.weight": [[0, 1, 1]],  # 1/14
        "1.weight": [[0], [1], [1]],  # 100/700 = 1/7, where global would have kept all of it
    }


def test_erk_gives_each_layer_a_density_by_its_sizes_and_redistributes_what_a_full_one_cannot_take():
    # 100 + 4 weights, 52 stay. (10 + 10)/100 = 0.2 and (2 + 2)/4 = 1: scaled by 52/24 the second is past full.
    # So 4 of 4 stay there and 48 of 100 in the first.
    model = linear([[0.1 * (row + column + 1) for column in range(10)] for row in range(10)], [[1e-3, 1.0]] * 2)
    stays = masks.make(model, ratio=0.5, budget="erk")
    assert {name: int(mask.sum()) for name, mask in stays.items()} == {"0.weight": 48, "1.weight": 4}


def test_erk_spreads_over_layers_that_are_not_full():
    # 100 + 64 weights, 41 stay. 0.2 and 16/64 = 0.25, so 20 s + 16 s = 41: s = 1.1389, 22.8 and 18.2 stay.
    model = linear([[1.0] * 10] * 10, [[1.0] * 8] * 8)
    stays = masks.make(model, ratio=0.75, budget="erk")
    assert {name: int(mask.sum()) for name, mask in stays.items()} == {"0.weight": 23, "1.weight": 18}


def test_of_every_m_weights_along_the_input_n_stay():
    model = linear([[4.0, -3.0, 2.0, 1.0, 1.0, 2.0, 9.0, -8.0], [1.0, 2.0, 3.0, 4.0, 0.1, 0.2, 0.2, 0.1]])
    assert stay(masks.make(model, ratio=None, budget="2:4")) == {
        "0.weight": [[1, 1, 0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 0, 1, 1, 0]]
    }
    assert stay(masks.make(model, ratio=0.875, budget="1:8"))["0.weight"][0] == [0, 0, 0, 0, 0, 0, 1, 0]


def test_a_pattern_runs_along_the_input_channels_of_convolutions_and_transposed_ones():
    for layer, dim in ((nn.Conv2d(8, 6, 3), 1), (nn.ConvTranspose2d(8, 6, 3), 0)):
        mask = masks.make(layer, ratio=0.5, budget="2:4")["weight"].movedim(dim, -1)
        assert (mask.unflatten(-1, (2, 4)).sum(-1) == 2).all()


def test_layers_that_a_pattern_does_not_fit_are_whole_and_named():
    model = networks.table()  # 5 -> 32 -> 16 -> 3
    stays = masks.make(model, ratio=0.5, budget="2:4")
    assert set(stays) == {"3.weight", "4.weight"}
    reasons = masks.untouched(model, stays)
    assert set(reasons) == {"0.weight"}  # biases and the scales of norms are never masked
    assert "no multiple" in reasons["0.weight"]


def test_a_layer_whose_weights_all_stay_is_named():
    model = linear([[0.1, 0.2]], [[5.0], [6.0]])
    reasons = masks.untouched(model, masks.make(model, ratio=0.5))
    assert "higher than all that leave" in reasons["1.weight"]
    assert "0.weight" not in reasons


@pytest.mark.parametrize("budget", [*masks.BUDGETS, "1:4"])
def test_what_was_masked_before_does_not_come_back(budget):
    dense = networks.transformer()
    first = masks.make(dense, ratio=0.3, criterion="random", seed=4)
    further = masks.make(dense, ratio=0.75, budget=budget, within=first)
    assert not any((further[name] & ~first[name]).any() for name in further)
    if budget == "global":
        assert masks.sparsity(further) == pytest.approx(0.75, abs=1e-3)  # of all, not of what was left


def test_recurrent_and_attention_weights_are_masked():
    assert {"recurrent.weight_ih_l0", "recurrent.weight_hh_l0"} <= set(masks.make(networks.recurrent(), ratio=0.5))
    assert "encoder.self_attn.in_proj_weight" in masks.make(networks.transformer(), ratio=0.5)


def test_scores_of_ones_own_decide_and_have_to_fit():
    model = linear([[1.0, 2.0], [3.0, 4.0]])
    scores = {"0.weight": torch.tensor([[0.0, 5.0], [-7.0, 6.0]], dtype=torch.float64)}
    assert stay(masks.make(model, ratio=0.5, scores=scores)) == {"0.weight": [[0, 1], [0, 1]]}
    for given, budget, message in (
        ({}, "global", "expected one of each weight"),
        ({"0.weight": torch.zeros(4)}, "global", "expected one of each weight"),
        ({"0.weight": torch.full((2, 2), torch.nan)}, "global", "are no numbers"),
        (scores, "lamp", "lamp compares magnitudes"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            masks.make(model, ratio=0.5, budget=budget, scores=given)


def test_zeros_put_in_place_are_positive_and_other_networks_masks_are_refused():
    model = linear([[-1.0, 2.0]])
    masks.apply(model, {"0.weight": torch.tensor([[False, True]])})
    assert model[0].weight.tolist() == [[0.0, 2.0]]
    assert not torch.signbit(model[0].weight).any()
    for unfit in ({"1.weight": torch.ones(1, 2, dtype=torch.bool)}, {"0.weight": torch.ones(2, 1, dtype=torch.bool)}):
        with pytest.raises(InvalidInputError, match="fit no parameter"):
            masks.apply(model, unfit)


def test_the_share_is_met_among_equal_weights():
    dense = networks.table()
    with torch.no_grad():
        for parameter in dense.parameters():
            parameter.fill_(0.5)
    stays = masks.make(dense, ratio=0.25, budget="layer")
    assert {int(mask.sum()) / np.prod(mask.shape) for mask in stays.values()} == {0.75}


def test_chance_removes_other_weights_and_the_same_for_the_same_seed():
    dense = networks.table()
    files = [
        masks.pack(masks.make(dense, ratio=0.5, criterion=criterion, seed=seed))
        for criterion, seed in (("magnitude", 1), ("random", 1), ("random", 1), ("random", 2))
    ]
    assert files[1] == files[2]
    assert len(set(files)) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ratio": 0}, "ratio=0"),
        ({"ratio": 1}, "ratio=1"),
        ({"ratio": None}, "ratio=None"),
        ({"ratio": float("nan")}, "ratio=nan"),
        ({"budget": "wish"}, "wish"),
        ({"criterion": "wish"}, "wish"),
        ({"ratio": 1e-9}, "nothing leaves"),
        ({"ratio": 0.6, "budget": "2:4"}, "which is 0.5; leave the ratio out"),
        ({"budget": "4:4"}, "1 to 3 can stay"),
        ({"budget": "0:4"}, "1 to 3 can stay"),
        ({"ratio": None, "budget": "2:7"}, "no layer's input size is a multiple of 7"),
    ],
)
def test_what_cannot_be_asked_is_refused(given, message):
    with pytest.raises(InvalidInputError, match=message):
        masks.make(networks.table(), **{"ratio": 0.5, **given})


def test_weights_that_are_not_finite_or_shared_or_absent_are_refused():
    sick, tied = networks.table(), networks.table()
    with torch.no_grad():
        sick[0].weight[0, 0] = float("nan")
    tied.add_module("again", tied[0])
    tied.again = torch.nn.Linear(5, 32)
    tied.again.weight = tied[0].weight
    for model, message in ((sick, "not finite"), (tied, "share one weight"), (torch.nn.BatchNorm1d(3), "no weights")):
        with pytest.raises(InvalidInputError, match=message):
            masks.make(model, ratio=0.5)


def test_one_changed_bit_of_any_mask_is_detected_by_name():
    dense, lineage, stored = _pruned()
    start = len(stored) - sum(len(tensor.data) for tensor in tensors.read(stored).values())
    for at in range(start, len(stored), 7):
        with pytest.raises(IntegrityError, match=r"the mask of \d\.weight is"):
            recompute(dense, lineage, _flipped(stored, at))


def test_one_changed_bit_is_detected_when_the_lineage_agrees_with_it():
    dense, lineage, stored = _pruned()
    found = tensors.read(stored)
    bits = bytearray(found["0.weight"].data)
    bits[0] ^= 0b11000000 if bits[0] >> 6 in (1, 2) else 0b10000000  # once as many ones as before, once not
    other = dict(found) | {"0.weight": tensors.Tensor("U8", (len(bits),), bytes(bits))}
    mask = lineage.masks["0.weight"]
    kept = int.from_bytes(bits).bit_count()
    forged = replace(
        lineage,
        stored=canonical.digest(tensors.write(other)),
        masks={**lineage.masks, "0.weight": replace(mask, digest=canonical.digest(bytes(bits)), kept=kept)},
    )
    with pytest.raises(IntegrityError, match="cutting the weights by this lineage"):
        recompute(dense, forged, tensors.write(other))


def test_two_masks_that_change_places_are_detected():
    dense, lineage, stored = _pruned(networks.recurrent)
    found = tensors.read(stored)
    same = [name for name in found if len(found[name].data) == len(found["recurrent.weight_ih_l0"].data)]
    first, second = "recurrent.weight_ih_l0", next(n for n in found if n not in same)
    swapped = tensors.write({**found, first: found[second], second: found[first]})
    with pytest.raises(IntegrityError, match="the mask of"):
        recompute(dense, lineage, swapped)


@pytest.mark.parametrize(
    "change",
    [
        "spare bit",
        "another shape of the same size",
        "count",
        "shape",
        "lacks one",
        "absent",
        "no safetensors",
        "renamed",
    ],
)
def test_masks_that_do_not_fit_are_refused(change):
    dense, lineage, stored = _pruned()
    found, mask = tensors.read(stored), lineage.masks["4.weight"]
    match change:
        case "spare bit":  # of 48 entries none is to spare: one more byte, not all of it
            bits = bytes(found["4.weight"].data) + b"\x01"
            found["4.weight"] = tensors.Tensor("U8", (7,), bits)
            mask = replace(mask, digest=canonical.digest(bits), shape=(50,), kept=mask.kept + 1)
        case "another shape of the same size":
            mask = replace(mask, shape=(48,))
        case "count":
            mask = replace(mask, kept=mask.kept + 1)
        case "shape":
            mask = replace(mask, shape=(10**15,))
        case "lacks one":
            found = {name: tensor for name, tensor in found.items() if name != "4.weight"}
        case "renamed":
            found = {name.replace("4", "5"): tensor for name, tensor in found.items()}
    given = None if change == "absent" else b"no" if change == "no safetensors" else tensors.write(found)
    forged = replace(lineage, masks={**lineage.masks, "4.weight": mask})
    if given and change != "no safetensors":
        forged = replace(forged, stored=canonical.digest(given))
    with pytest.raises(IntegrityError, match="does not fit"):
        recompute(dense, forged, given)


def test_a_weight_that_came_alive_is_told():
    dense = networks.plain()
    stays = masks.make(dense, ratio=0.7)
    pruned, lineage = masked(dense, stays)
    with torch.no_grad():
        pruned[0].weight[tuple(torch.nonzero(~stays["0.weight"])[0])] = 1e-30
    told = list(departures(weights.dump(pruned), lineage, masks.pack(stays)))
    assert told == ["0.weight: 1 of 144 weights are not zero where the mask says so"]


def _pruned(build=networks.table):
    dense = build()
    stays = masks.make(dense, ratio=0.5)
    return weights.dump(dense), masked(dense, stays)[1], masks.pack(stays)


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
