from dataclasses import replace

import numpy as np
import pytest
import torch

from pruneguard import canonical
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.pruning import masks, tensors, training, weights
from pruneguard.pruning.lineage import decode
from pruneguard.pruning.recomputing import departures, read_masks, recompute
from tests.pruning import networks

BUILDS = {
    "table": networks.table,
    "plain": networks.plain,
    "transformer": networks.transformer,
    "recurrent": networks.recurrent,
}


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("scope", masks.SCOPES)
def test_the_pruned_weights_are_recomputed_bit_for_bit(build, scope):
    dense = BUILDS[build]()
    pruned, lineage, kept = masks.prune(dense, ratio=0.6, scope=scope)
    assert recompute(weights.dump(dense), lineage, masks.pack(kept)) == weights.dump(pruned)
    assert decode(lineage.encode()) == lineage
    assert lineage.sparsity == pytest.approx(0.6, abs=0.01)


def test_the_smallest_weights_go_over_all_layers_or_in_each():
    dense = networks.table()
    for scope in masks.SCOPES:
        _, _, kept = masks.prune(dense, ratio=0.5, scope=scope)
        assert set(kept) == {"0.weight", "3.weight", "4.weight"}  # no bias, no norm
        small = {name: dense.get_parameter(name).detach().abs()[~mask] for name, mask in kept.items()}
        large = {name: dense.get_parameter(name).detach().abs()[mask] for name, mask in kept.items()}
        if scope == "global":
            small, large = {"all": torch.cat([*small.values()])}, {"all": torch.cat([*large.values()])}
        assert all(small[name].max() <= large[name].min() for name in small)


def test_the_share_is_met_among_equal_weights():
    dense = networks.table()
    with torch.no_grad():
        for parameter in dense.parameters():
            parameter.fill_(0.5)
    _, lineage, _ = masks.prune(dense, ratio=0.25, scope="layer")
    assert {mask.kept / np.prod(mask.shape) for mask in lineage.masks.values()} == {0.75}


def test_chance_removes_other_weights_and_the_same_for_the_same_seed():
    dense = networks.table()
    digests = [
        masks.prune(dense, ratio=0.5, criterion=c, seed=s)[1].stored
        for c, s in (("magnitude", 1), ("random", 1), ("random", 1), ("random", 2))
    ]
    assert digests[1] == digests[2]
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ratio": 0}, "ratio=0"),
        ({"ratio": 1}, "ratio=1"),
        ({"ratio": float("nan")}, "ratio=nan"),
        ({"scope": "wish"}, "wish"),
        ({"criterion": "wish"}, "wish"),
        ({"ratio": 1e-9}, "nothing goes"),
    ],
)
def test_what_cannot_be_asked_is_refused(given, message):
    with pytest.raises(InvalidInputError, match=message):
        masks.prune(networks.table(), **{"ratio": 0.5, **given})


def test_weights_that_are_not_finite_or_shared_or_absent_are_refused():
    sick, tied = networks.table(), networks.table()
    with torch.no_grad():
        sick[0].weight[0, 0] = float("nan")
    tied.add_module("again", tied[0])
    tied.again = torch.nn.Linear(5, 32)
    tied.again.weight = tied[0].weight
    for model, message in ((sick, "not finite"), (tied, "share one weight"), (torch.nn.BatchNorm1d(3), "no weights")):
        with pytest.raises(InvalidInputError, match=message):
            masks.prune(model, ratio=0.5)


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
    with pytest.raises(IntegrityError, match="cutting the dense weights"):
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


def test_masked_weights_stay_zero_in_training_and_others_learn():
    dense = networks.plain()
    pruned, lineage, kept = masks.prune(dense, ratio=0.7)
    before = weights.dump(pruned)
    with masks.held(pruned, kept):
        training.fit(pruned, networks.separable(), epochs=2, seed=3, schedule=training.Schedule(weight_decay=0.1))
    bits = read_masks(lineage, masks.pack(kept))
    assert weights.dump(pruned) != before
    assert list(departures(weights.dump(pruned), before, bits)) == []


def test_a_weight_that_came_alive_is_told_and_refused():
    pruned, lineage, kept = masks.prune(networks.plain(), ratio=0.7)
    before, mask = weights.dump(pruned), kept["0.weight"]
    alive = torch.nonzero(~mask)[0]

    def revive() -> None:
        with masks.held(pruned, kept), torch.no_grad():
            pruned[0].weight[tuple(alive)] = 1e-30

    with pytest.raises(InvalidInputError, match="back to life"):
        revive()
    told = list(departures(weights.dump(pruned), before, read_masks(lineage, masks.pack(kept))))
    assert told == ["0.weight: 1 of 144 weights are not zero where the mask says so"]


def _pruned(build=networks.table):
    dense = build()
    _, lineage, kept = masks.prune(dense, ratio=0.5)
    return weights.dump(dense), lineage, masks.pack(kept)


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
