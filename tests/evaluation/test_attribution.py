import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pruneguard.evaluation import attribution
from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.evaluate import evaluate
from tests.evaluation.small import linear, table

NAMES = ("attribution.cosine", "attribution.rank_correlation")
WEIGHT = np.array([[-4.0, 4.0], [0.0, 0.0], [1.0, -1.0]])
ROWS = replace(table(rows=120), bounds=(-1.0, 2.0))


def labelled(snapshot, contender):
    """The snapshot with the labels that this model gives, so that it is right everywhere."""
    pair = Pair.load(contender, contender, classes=2)
    splits = {
        name: replace(split, y=pair.logits(split.x)[0].argmax(axis=1).astype(np.int64))
        for name, split in snapshot.splits.items()
    }
    return replace(snapshot, **splits)


def measured(candidate, twin, snapshot, *, seed=0):
    pair = Pair.load(candidate, twin, classes=2)
    gate = snapshot.gate
    return attribution.measure(pair, pair.logits(gate.x), gate, Domain.of(snapshot), seed=seed)


def test_a_linear_networks_attributions_are_its_weights_times_the_way():
    x, y = ROWS.gate.x[:5], np.array([0, 1, 0, 1, 1])
    baseline = np.full(3, 0.5, np.float32)
    found = attribution.integrated_gradients(linear(WEIGHT).model, x, y, baseline=baseline)
    assert found == pytest.approx((x - baseline) * WEIGHT.T[y], abs=1e-6)


def test_attributions_add_up_to_the_rise_of_the_labels_logit(twin, digits):
    x, y = digits.gate.x[:20], digits.gate.y[:20]
    baseline = Domain.of(digits).mean
    found = attribution.integrated_gradients(twin.model, x, y, baseline=baseline, steps=200)
    with torch.inference_mode():
        ends = [twin.model(torch.from_numpy(each)).numpy() for each in (x, np.broadcast_to(baseline, x.shape).copy())]
    rise = (ends[0] - ends[1])[np.arange(20), y]
    assert found.shape == x.shape
    assert found.reshape(20, -1).sum(axis=1) == pytest.approx(rise, abs=0.02 * float(np.abs(rise).max()))


def test_cosines_by_hand_and_nothing_is_no_reason():
    one = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    other = np.array([[4.0, 3.0], [0.0, 2.0], [0.0, 0.0], [1.0, 0.0], [-1.0, -1.0]])
    assert attribution.cosines(one, other) == pytest.approx([24 / 25, 0, 1, 0, -1])


def test_a_network_has_its_own_reasons():
    twin = linear(WEIGHT)
    for name, estimate in measured(twin, twin, labelled(ROWS, twin)).items():
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((1, 1, 1)), name


def test_right_answers_for_other_reasons_are_found():
    """The third feature is a copy of the first with noise: the candidate reads the one, the twin the other."""
    twin, candidate = linear([[-4.0, 4.0], [0, 0], [0, 0]]), linear([[0, 0], [0, 0], [-4.0, 4.0]])
    found = measured(candidate, twin, labelled(ROWS, twin))
    for name in NAMES:
        assert found[name].high < 0.5
    assert found["attribution.cosine"].value == 0
    close = measured(linear(WEIGHT + 0.1), linear(WEIGHT), labelled(ROWS, linear(WEIGHT)))
    assert close["attribution.cosine"].low > 0.95


def test_rows_are_those_that_both_get_right_and_too_few_say_nothing():
    twin = linear(WEIGHT)
    snapshot = labelled(ROWS, twin)
    contrary = measured(linear(-WEIGHT), twin, snapshot)
    for name in NAMES:
        assert math.isnan(contrary[name].value)
        assert contrary[name].n == 0
    whole = measured(twin, twin, snapshot)
    assert whole["attribution.cosine"].n == len(snapshot.gate)


def test_a_gradient_that_is_no_number_is_unknown():
    class Root(nn.Module):
        def forward(self, x):
            return torch.sqrt(x[:, :1] - 10) * torch.tensor([0.0, 1.0])

    twin = linear([[0, 0], [0, 1.0], [0, 0]])
    snapshot = labelled(ROWS, twin)
    found = measured(replace(twin, digest="sha256:0", network=Root()), twin, snapshot)
    assert math.isnan(found["attribution.cosine"].value)


def test_it_is_made_on_demand_alone_and_says_why_there_is_none(quick):
    twin = linear(WEIGHT)
    snapshot = labelled(ROWS, twin)
    asked = {"wanted": {"attribution.cosine"}, "all_else": False, "split": "gate", "seed": 0}
    assert evaluate(twin, twin, snapshot, **asked).get("attribution.cosine").value == pytest.approx(1)
    blind = replace(twin, network=Rounded())
    found = evaluate(blind, blind, snapshot, **asked)
    assert found.get("attribution.cosine") is None
    (left_out,) = (each for each in found.context["left out"].split("; ") if each.startswith("attribution: "))
    assert "no gradient reaches the rows" in left_out


class Rounded(nn.Module):
    """A network that takes its rows for token ids."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 2)

    def forward(self, x):
        return self.embedding(x[:, 0].long().clamp(0, 3))
