"""Canary against live: e-values by hand, error rates by simulation, and what follows from the counts."""

import math
import random
from dataclasses import replace
from itertools import product

import pytest

from pruneguard.comparison import LEANING, Aspect, Comparison, Outcome, Twin, decide
from pruneguard.errors import InvalidInputError
from pruneguard.policy import Canary, Step
from pruneguard.streams import LEVELS, LOG_MAX, Tally, evalue

CANARY = Canary((Step(0.1, 200, 60), Step(0.5, 1_000)), alpha=0.01, worse_max=0.01, slower_max=0.1)
GOOD = Tally(9, 200, old=18, new=2)
SEEN = Comparison(
    "digits",
    2,
    1,
    "sha256:" + "0" * 64,
    0.1,
    requests=200,
    seconds=60,
    slow_ms=12.5,
    tallies={Aspect.FAILED: (Tally(9, 200),), Aspect.SLOW: (GOOD,)},
    twin=Twin(20, 0, 0.7, 100.0),
)


# -- the e-value


def test_without_outcomes_nothing_is_known() -> None:
    assert evalue([], tolerance=0.01) == evalue([Tally(9)], tolerance=0.01) == 1


def test_one_block_is_the_mean_of_all_bets() -> None:
    """Ratio 1, no tolerance: the nearest point of H0 is the mean of both rates, and the new stream says yes."""
    bets = [(old, new) for old, new in product(LEVELS, LEVELS) if new > old]
    ratios = [new * (1 - old) / ((old + new) / 2 * (1 - (old + new) / 2)) for old, new in bets]
    assert evalue([Tally(1, 1, old=0, new=1)], tolerance=0) == pytest.approx(sum(ratios) / len(ratios), rel=1e-12)


@pytest.mark.parametrize("ratio", [1, 3, 9])
@pytest.mark.parametrize("tolerance", [0.0, 0.01, 0.1])
def test_under_the_hypothesis_no_block_is_worth_more_than_one(ratio: int, tolerance: float) -> None:
    """Exactly, over every outcome of a block: what makes the bound on false alarms true."""
    for old in (0.0, 0.001, 0.02, 0.3, 0.8):
        for new in (old + tolerance, old, old / 2):
            mean = 0.0
            for of_old, of_new in product(range(ratio + 1), (0, 1)):
                chance = math.comb(ratio, of_old) * old**of_old * (1 - old) ** (ratio - of_old)
                chance *= new if of_new else 1 - new
                mean += chance * evalue([Tally(ratio, 1, of_old, of_new)], tolerance=tolerance)
            assert mean <= 1 + 1e-9, (old, new)


def test_more_yes_of_the_new_stream_and_fewer_of_the_old_are_more_evidence() -> None:
    values = [evalue([Tally(9, 100, old=9, new=new)], tolerance=0.01) for new in range(10, 60, 10)]
    assert values == sorted(values)
    assert evalue([Tally(9, 100, old=0, new=20)], tolerance=0.01) > evalue([Tally(9, 100, 90, 20)], tolerance=0.01)


def test_a_wider_tolerance_forgives_more() -> None:
    seen = [Tally(9, 200, old=18, new=30)]
    assert evalue(seen, tolerance=0) > evalue(seen, tolerance=0.05) > evalue(seen, tolerance=0.2)


def test_parts_of_one_pair_of_streams_add_up() -> None:
    parts = [Tally(9, 100, 9, 8), Tally(9, 50, 4, 6)]
    assert evalue(parts, tolerance=0.01) == pytest.approx(evalue([Tally(9, 150, 13, 14)], tolerance=0.01))


def test_overwhelming_evidence_is_a_number_still() -> None:
    assert evalue([Tally(9, 10**6, 0, 10**6)], tolerance=0.01) == math.exp(LOG_MAX)


def test_a_tolerance_that_nothing_exceeds_is_never_exceeded() -> None:
    assert evalue([Tally(9, 100, 0, 100)], tolerance=0.95) == 1


@pytest.mark.parametrize("counts", [(0, 1, 0, 0), (9, 10, 91, 0), (9, 10, 0, 11), (9, 10, -1, 0)])
def test_counts_that_cannot_be_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(InvalidInputError, match="expected at most"):
        Tally(*counts)


@pytest.mark.parametrize(("old", "new"), [(0.01, 0.01), (0.01, 0.02), (0.1, 0.11)])
def test_a_canary_that_is_no_worse_is_stopped_no_more_often_than_said(old: float, new: float) -> None:
    """400 streams of 300 blocks, looked at after every tenth; at the edge of the hypothesis, and inside it."""
    chance, stopped, streams = random.Random(11), 0, 400
    for _ in range(streams):
        of_old = of_new = 0
        for block in range(1, 301):
            of_old += sum(chance.random() < old for _ in range(3))
            of_new += chance.random() < new
            if block % 10 == 0 and evalue([Tally(3, block, of_old, of_new)], tolerance=0.01) >= 1 / 0.05:
                stopped += 1
                break
    assert stopped <= 0.05 * streams


def test_a_canary_that_is_much_worse_is_found_within_its_first_step() -> None:
    """One answer in ten fails, of the live version's one in a hundred: in 200 requests, in 19 of 20 streams."""
    chance, found, streams = random.Random(12), 0, 20
    for _ in range(streams):
        of_old = sum(chance.random() < 0.01 for _ in range(9 * 200))
        of_new = sum(chance.random() < 0.1 for _ in range(200))
        found += evalue([Tally(9, 200, of_old, of_new)], tolerance=0.01) >= 3 / 0.01
    assert found >= 19


# -- what follows


def test_a_canary_that_answered_enough_and_is_no_worse_goes_on() -> None:
    judged = decide(SEEN, CANARY)
    assert (judged.outcome, judged.reason) == (Outcome.GO_ON, "no worse than version 1 in 200 requests")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"requests": 199}, "199 of 200 requests, 60 of 60 s"),
        ({"seconds": 59}, "200 of 200 requests, 59 of 60 s"),
        ({"share": 0.2}, "no step at 0.2"),
        ({"twin": Twin(0, 0, 1.0, 100.0)}, "not heard"),
        ({"twin": Twin(20, 9, 100.0, 100.0)}, "its twin disagrees"),
    ],
)
def test_a_canary_waits(changes: dict[str, object], words: str) -> None:
    judged = decide(replace(SEEN, **changes), CANARY)  # type: ignore[arg-type]
    assert judged.outcome is Outcome.WAIT
    assert words in judged.reason


def test_the_twin_itself_needs_no_twin() -> None:
    assert decide(replace(SEEN, twin=None), CANARY).outcome is Outcome.GO_ON


@pytest.mark.parametrize("aspect", list(Aspect))
def test_a_canary_that_is_shown_worse_is_stopped_at_once_and_it_is_said_how(aspect: Aspect) -> None:
    bad = replace(SEEN, requests=20, seconds=1, tallies={aspect: (Tally(9, 20, old=2, new=18),)})
    judged = decide(bad, CANARY)
    assert (judged.outcome, judged.test) == (Outcome.STOP, aspect)
    assert f"more {aspect.value} answers beside version 1's: 18 of 20 against 2 of 180" in judged.reason


def test_each_test_has_its_part_of_alpha() -> None:
    told = {new: evalue([Tally(9, 60, 1, new)], tolerance=0.01) for new in range(60)}
    just = min(new for new, value in told.items() if value >= 3 / CANARY.alpha)
    for new, outcome in ((just, Outcome.STOP), (just - 1, Outcome.WAIT)):
        seen = replace(SEEN, tallies={Aspect.WRONG: (Tally(9, 60, 1, new),)})
        assert decide(seen, CANARY).outcome is outcome


def test_a_canary_gets_no_more_while_the_counts_lean_against_it() -> None:
    leaning = next(n for n in range(60) if evalue([Tally(9, 60, 1, n)], tolerance=0.01) >= LEANING)
    judged = decide(replace(SEEN, tallies={Aspect.FAILED: (Tally(9, 60, 1, leaning),)}), CANARY)
    assert judged.outcome is Outcome.WAIT
    assert judged.reason.startswith("it may have more failed answers")


def test_a_comparison_is_one_document() -> None:
    again = Comparison.decode(SEEN.encode())
    assert again.encode() == SEEN.encode()
    assert decide(again, CANARY) == decide(SEEN, CANARY)
    assert (again.twin, again.slow_ms, again.tallies[Aspect.SLOW]) == (SEEN.twin, 12.5, (GOOD,))


def test_counts_that_cannot_be_are_no_document() -> None:
    with pytest.raises(InvalidInputError, match="expected at most"):
        Comparison.decode(SEEN.encode().replace(b'"new":2,', b'"new":2000,'))
