"""Canary and live version, answer by answer."""

import numpy as np

from monitors.canary import RATIO_MAX, SLOW_FROM, Blocks, Speed, Trial, Trials
from pruneguard.comparison import Aspect, Comparison
from pruneguard.ledger.state import Model, Release, Status
from pruneguard.serving.observing import Answer
from pruneguard.streams import Tally


def release(number: int, status: Status, share: float = 0.0) -> Release:
    return Release(number, "tiny", "d", "t", "v", "p", "ada", frozenset(), status, "", share=share)


def model(share: float = 0.25) -> Model:
    live, canary = release(1, Status.LIVE, 1.0), release(2, Status.CANARY, share)
    return Model("tiny", {1: live, 2: canary})


def answer(version: int, seconds: float = 0.001) -> Answer:
    row = np.zeros((1, 2), np.float32)
    return Answer("tiny", version, "d", "r", row, row, seconds, 0.0)


def counted(trial: Trial) -> Comparison:
    return trial.comparison(seconds=9.7, twin=None)


def test_blocks_take_as_many_of_the_live_version_as_its_share_makes_likely() -> None:
    for share, ratio in ((0.5, 1), (0.25, 3), (0.1, 9), (0.05, 19), (0.01, RATIO_MAX), (0.9, 1)):
        trial = Trial(release(2, Status.CANARY, share), live=1, slow_s=None)
        assert counted(trial).tallies[Aspect.FAILED] == (Tally(ratio),)


def test_what_finds_no_partner_in_time_is_left_out_whatever_it_is() -> None:
    blocks = Blocks(ratio=2)
    for bad in [True] * 16 + [False] * 16:  # 8 blocks wait at most
        blocks.take(bad, new=False)
    for _ in range(8):
        blocks.take(False, new=True)
    assert blocks.tally == Tally(2, 8, old=0, new=0)


def test_slow_is_what_a_twentieth_of_the_live_versions_answers_were() -> None:
    speed = Speed()
    for one in range(SLOW_FROM - 1):
        speed.take(one / 1000)
    assert speed.slow_s is None
    speed.take(0.099)
    assert speed.slow_s == 0.095


def test_a_trial_counts_requests_failures_slow_answers_and_labels() -> None:
    trial = Trial(release(2, Status.CANARY, 0.5), live=1, slow_s=0.01)
    for version, seconds in ((1, 0.02), (2, 0.02), (1, 0.001), (2, 0.03), (7, 0.5)):
        trial.answered(answer(version, seconds), slow_s=None)
    trial.failed(2)
    trial.failed(1)
    trial.labelled(1, wrong=False)
    trial.labelled(2, wrong=True)
    seen = counted(trial)
    assert (seen.requests, seen.seconds, seen.slow_ms) == (3, 9, 10.0)
    assert seen.tallies[Aspect.FAILED] == (Tally(1, 3, old=1, new=1),)
    assert seen.tallies[Aspect.SLOW] == (Tally(1, 2, old=1, new=2),)
    assert seen.tallies[Aspect.WRONG] == (Tally(1, 1, old=0, new=1),)


def test_what_is_slow_is_known_before_an_answer_is_judged_by_it() -> None:
    trials, both = Trials(dict[str, bytes]().__getitem__), model(0.5)
    trials.answered(both, [answer(1, 0.001)] * SLOW_FROM + [answer(2, 0.002)])
    trial = trials.find(both)
    assert trial is not None
    assert counted(trial).tallies[Aspect.SLOW] == (Tally(1),)  # the threshold came with this answer
    trials.answered(both, [answer(1, 0.001), answer(2, 0.002)])
    assert counted(trial).tallies[Aspect.SLOW] == (Tally(1, 1, old=0, new=1),)


def test_the_next_step_counts_on_from_what_allowed_it() -> None:
    first = Trials(dict[str, bytes]().__getitem__)
    first.answered(model(0.25), [answer(1)] * 3 + [answer(2)])
    seen = counted(first.find(model(0.25)))  # type: ignore[arg-type]
    grown = model(0.5)
    grown.releases[2].comparison = seen.digest
    later = counted(Trials({seen.digest: seen.encode()}.__getitem__).find(grown))  # type: ignore[arg-type]
    assert later.tallies[Aspect.FAILED] == (Tally(3, 1), Tally(1))
    assert later.requests == 0


def test_what_was_compared_with_another_version_does_not_count() -> None:
    seen = counted(Trial(release(2, Status.CANARY, 0.25), live=9, slow_s=None))
    both = model(0.5)
    both.releases[2].comparison = seen.digest
    found = counted(Trials({seen.digest: seen.encode()}.__getitem__).find(both))  # type: ignore[arg-type]
    assert found.tallies[Aspect.FAILED] == (Tally(1),)


def test_a_trial_ends_with_its_canary_and_begins_anew_with_its_share() -> None:
    trials, both = Trials(dict[str, bytes]().__getitem__), model(0.25)
    trial = trials.find(both)
    assert trials.find(both) is trial
    both.releases[2].share = 0.5
    assert trials.find(both) is not trial
    both.releases[2].status = Status.ROLLED_BACK
    assert trials.find(both) is None


def test_labels_count_from_when_the_trial_began() -> None:
    trials, both = Trials(dict[str, bytes]().__getitem__), model(0.5)
    trials.find(both)
    for number in (1, 2):
        trials.labelled(both, number, count=100, wrong=50)
    trials.labelled(both, 1, count=103, wrong=50)
    trials.labelled(both, 2, count=102, wrong=52)
    trials.labelled(both, 2, count=101, wrong=51)  # a label was withdrawn: nothing new is known
    assert counted(trials.find(both)).tallies[Aspect.WRONG] == (Tally(1, 2, old=0, new=2),)  # type: ignore[arg-type]
