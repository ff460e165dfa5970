import math

import numpy as np
import pytest

from pruneguard.evaluation import resampling
from pruneguard.evaluation.resampling import RESAMPLES, Resampled, compared, mean, resampled, resamples
from pruneguard.evidence import Estimate


def test_every_resample_draws_as_many_rows_as_there_are():
    chunks = list(resamples(7, seed=0))
    assert sum(weights.shape[1] for weights in chunks) == RESAMPLES
    assert all((weights.sum(axis=0) == 7).all() for weights in chunks)


def test_the_scatter_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=200)
    found = resampled({"mean": mean(values)}, n=200, seed=0)["mean"]
    assert found.value == pytest.approx(values.mean())
    assert found.drawn.std() == pytest.approx(values.std() / math.sqrt(200), rel=0.05)


def test_two_statistics_see_the_same_resamples():
    values = np.random.default_rng(1).random(50)
    found = resampled({"one": mean(values), "more": mean(values + 2)}, n=50, seed=3)
    assert found["more"].minus(found["one"]).drawn == pytest.approx(2)


def test_the_interval_covers_the_truth_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(resampling, "RESAMPLES", 400)
    rng = np.random.default_rng(2)
    hits = 0
    for seed in range(200):
        estimate = resampled({"mean": mean(rng.normal(size=60))}, n=60, seed=seed)["mean"].estimate()
        hits += estimate.low <= 0 <= estimate.high
    assert 0.9 <= hits / 200 <= 0.985


def test_a_number_that_cannot_be_computed_is_unknown():
    found = resampled({"mean": mean(np.array([1.0, np.nan]))}, n=2, seed=0)["mean"].estimate()
    assert math.isnan(found.value)
    assert found.high is None


def test_an_interval_holds_its_value_and_stays_between_its_limits():
    skewed = Resampled(0.5, np.linspace(0.6, 0.9, 100), 10)
    assert skewed.estimate().low == 0.5
    still = Resampled(1.0, np.ones(100), 10)
    assert still.estimate(low=0, high=1, least=0.02) == Estimate(1.0, 0.98, 1.0, 10)


def test_worse_is_more_of_what_should_be_little_and_less_of_what_should_be_much():
    ours, theirs = Resampled(0.7, np.full(9, 0.7), 5), Resampled(0.9, np.full(9, 0.9), 5)
    assert compared("a.f1", ours, theirs, worse="drop")["a.f1_drop"].value == pytest.approx(0.2)
    found = compared("a.loss", ours, theirs, worse="increase")
    assert [found[name].value for name in ("a.loss", "a.twin_loss")] == [0.7, 0.9]
    assert found["a.loss_increase"].value == pytest.approx(-0.2)
