import math
from dataclasses import replace

import numpy as np
import pytest

from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.reliability import ood
from pruneguard.evaluation.yardstick import Yardstick


def test_energy_and_confidence_by_hand():
    logits = np.log(np.array([[1.0, 3.0], [2.0, 2.0]])).astype(np.float32)
    assert ood.energy(logits) == pytest.approx([np.log(4), np.log(4)])
    assert ood.confidence(logits) == pytest.approx([0.75, 0.5])


def test_the_energy_of_what_is_not_finite_is_unknown():
    assert np.isnan(ood.energy(np.array([[np.inf, 0.0]], np.float32))).all()


def measured(pair, digits, **changes):
    data = replace(digits, **changes)
    return ood.measure(pair, pair.logits(data.gate.x), data.gate.x, data.outliers, data.train, seed=0)


@pytest.fixture(scope="module")
def found(pair, digits):
    return measured(pair, digits)


def test_without_outliers_nothing_is_measured(pair, digits):
    assert measured(pair, digits, outliers=None) == {}
    assert measured(pair, digits, outliers=digits.outliers[:0]) == {}


SCORES = ("", "energy_", "mahalanobis_", "knn_")


def test_networks_tell_noise_from_digits_by_every_score(found, digits):
    for score in SCORES:
        assert found[f"ood.twin_{score}auroc"].low > 0.6
        drop = found[f"ood.twin_{score}auroc"].value - found[f"ood.{score}auroc"].value
        assert found[f"ood.{score}auroc_drop"].value == pytest.approx(drop)
        rise = found[f"ood.{score}fpr95"].value - found[f"ood.twin_{score}fpr95"].value
        assert found[f"ood.{score}fpr95_increase"].value == pytest.approx(rise)
    assert all(m.n == len(digits.gate) + len(digits.outliers) for m in found.values())
    assert found["ood.knn_auroc"].value > found["ood.auroc"].value  # noise has other features than any digit


def test_without_training_rows_only_logits_are_scored(pair, digits, found):
    kept = measured(pair, digits, train=digits.train.taken(np.arange(0)))
    assert {name: found[name] for name in kept} == kept
    assert len(kept) == len(found) / 2


def test_a_model_loses_nothing_against_itself(twin, digits):
    both = Pair.load(twin, twin, classes=10)
    found = measured(both, digits)
    for name in ("auroc_drop", "fpr95_increase"):
        assert {(m.low, m.value, m.high) for key, m in found.items() if key.endswith(name)} == {(0, 0, 0)}


def test_logits_that_are_not_finite_leave_the_candidate_unknown(pair, digits):
    ours, theirs = pair.logits(digits.gate.x)
    broken = np.full_like(ours, np.nan)
    found = ood.measure(pair, (broken, theirs), digits.gate.x, digits.outliers, digits.train, seed=0)
    for name in ("ood.auroc", "ood.auroc_drop", "ood.energy_fpr95", "ood.energy_fpr95_increase"):
        assert math.isnan(found[name].value)
        assert found[name].high is None


def test_the_twin_is_asked_once_for_all_candidates(pair, digits, found):
    shared = Yardstick()
    first = Pair(pair.candidate, pair.twin, pair.candidate_session, pair.twin_session, shared)
    measured(first, digits)
    silent = Silent()
    second = replace(first, twin_session=silent)
    assert measured(second, digits) == found
    assert not silent.asked


class Silent:
    asked = False

    def logits(self, x):
        self.asked = True
        raise AssertionError("the yardstick knows this")
