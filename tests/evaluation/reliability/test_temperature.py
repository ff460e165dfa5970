import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from pruneguard.evaluation.correctness.scores import surprise
from pruneguard.evaluation.reliability import calibration
from pruneguard.evaluation.reliability.temperature import temperature
from pruneguard.evaluation.resampling import resamples


def answers(n, *, needed, seed):
    """Logits whose labels are drawn at this temperature."""
    rng = np.random.default_rng(seed)
    z = 2 * rng.normal(size=(n, 4))
    p = np.exp(z / needed) / np.exp(z / needed).sum(axis=1, keepdims=True)
    return z.astype(np.float32), np.array([rng.choice(4, p=row) for row in p])


def fitted(logits, y):
    return float(temperature(logits, y)(np.ones((len(y), 1)))[0])


@pytest.mark.parametrize("needed", [0.5, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_at_is_found(needed):
    logits, y = answers(4000, needed=needed, seed=0)
    assert fitted(logits, y) == pytest.approx(needed, rel=0.1)


def test_no_other_temperature_makes_the_labels_more_likely():
    logits, y = answers(200, needed=1.7, seed=1)
    best = minimize_scalar(lambda t: surprise(logits / np.float32(t), y).mean(), bounds=(0.1, 10), method="bounded")
    assert fitted(logits, y) == pytest.approx(best.x, rel=1e-3)


def test_a_resample_is_fitted_about_as_it_would_be_on_its_own():
    logits, y = answers(400, needed=2.0, seed=2)
    weights = next(resamples(400, seed=0))
    quick = temperature(logits, y)(weights)
    rows = [np.repeat(np.arange(400), drawn.astype(int)) for drawn in weights.T[:25]]
    slow = np.array([fitted(logits[drawn], y[drawn]) for drawn in rows])
    assert quick[:25] == pytest.approx(slow, rel=0.03)


def test_rows_that_are_all_right_have_no_best_temperature():
    logits = (5 * np.eye(3)).astype(np.float32)
    assert math.isnan(fitted(logits, np.arange(3)))
    assert math.isnan(fitted(-logits, np.arange(3)))  # all wrong: no certainty at all would be best
    found = calibration.measure(logits, logits, np.arange(3), seed=0)
    assert math.isnan(found["calibration.temperature"].value)
    assert found["calibration.temperature_increase"].high is None
    assert found["calibration.brier"].value < 0.01


def test_a_candidate_that_is_too_sure_needs_more_than_its_twin():
    honest, y = answers(1000, needed=1.0, seed=3)
    found = calibration.measure(3 * honest, honest, y, seed=0)
    assert found["calibration.temperature"].value == pytest.approx(3 * found["calibration.twin_temperature"].value)
    assert found["calibration.temperature_increase"].low > 1
