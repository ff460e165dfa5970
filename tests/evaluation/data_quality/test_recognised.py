"""What the extra `personal` adds, where it is installed; what is said where it is not."""

import random
import string

import numpy as np
import pytest

from pruneguard.evaluation.data_quality import personal, recognised
from pruneguard.workload import Snapshot, Split

needs_extra = pytest.mark.skipif(
    recognised.installed() is None, reason="the extra `personal` (presidio-analyzer) is not installed"
)


def snapshot(texts: list[str]) -> Snapshot:
    n = len(texts)
    split = Split(np.zeros((n, 2), np.float32), np.zeros(n, np.int64), {"reference": np.array(texts)})
    return Snapshot(split, split, split, classes=1)


def test_without_the_extra_nothing_more_is_seen_and_the_evidence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognised, "PACKAGE", "no-such-recogniser")
    monkeypatch.setattr(recognised, "_recognisers", recognised._recognisers.__wrapped__)
    assert list(recognised.kinds("131052-308T")) == []
    assert personal.method() == "patterns and column names; no-such-recogniser is not installed"


@needs_extra
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("131052-308T", "FI personal identity code"),  # examples that the issuing offices publish
        ("her number is 12345678Z", "ES nif"),
        ("RSSMRA85T10A562S", "IT fiscal code"),
        ("10000000146", "TR national id"),
        ("8001015009087", "ZA id number"),
    ],
)
def test_a_number_whose_check_digits_are_right_is_found(text: str, kind: str) -> None:
    assert kind in list(recognised.kinds(text))


@needs_extra
def test_a_number_with_one_wrong_digit_is_none() -> None:
    assert list(recognised.kinds("131052-308U 12345678A 10000000147")) == []


@needs_extra
def test_it_is_used_beside_the_patterns_and_named_with_its_version() -> None:
    found = personal.measure(snapshot(["131052-308T", "ada@example.org", "nothing"]))
    assert found.found == {"reference": {"FI personal identity code": 3, "e-mail address": 3}}
    assert found.method == f"patterns, column names and presidio-analyzer {recognised.installed()}"


@needs_extra
def test_numbers_that_mean_something_else_are_rarely_taken_for_people() -> None:
    rng = random.Random(5)
    for length in range(6, 17):
        numbers = ["".join(rng.choices(string.digits, k=length)) for _ in range(300)]
        assert sum(bool(list(recognised.kinds(each))) for each in numbers) <= 9, length
