import pytest

from pruneguard.errors import InvalidInputError
from pruneguard.pruning.controlling import Controller


def test_each_next_ratio_is_the_one_computed_by_hand():
    controller = Controller(budget=0.02, start=0.4, kp=0.2, ki=0.1)
    assert controller.update(0.01) == pytest.approx(0.4 + 0.2 * 0.5 + 0.1 * 0.5)  # e = 0.5
    assert controller.update(0.0) == pytest.approx(0.55 + 0.2 * 1 + 0.1 * 1.5)
    assert controller.update(0.03) == pytest.approx((0.55 + 0.9) / 2)  # rejected: half the step
    assert controller.update(0.03) == pytest.approx((0.55 + 0.725) / 2)
    assert controller.update(0.015) == pytest.approx(0.6375 + 0.25 * (0.2 * 0.25 + 0.1 * 1.75))
    assert controller.accepted == pytest.approx(0.6375)


def test_a_gain_in_accuracy_counts_no_more_than_no_loss():
    gained, unchanged = Controller(budget=0.02, start=0.4), Controller(budget=0.02, start=0.4)
    assert gained.update(-0.5) == unchanged.update(0.0)


@pytest.mark.parametrize("best", [0.31, 0.8, 0.95])
def test_it_comes_close_to_the_highest_ratio_within_the_budget(best):
    def drop(ratio):
        return 0.02 * (ratio / best) ** 6

    controller = Controller(budget=0.02, start=0.5)
    accepted = []
    for _ in range(12):
        controller.update(drop(controller.ratio))
        accepted.append(controller.accepted)
    assert best - 0.02 <= accepted[-1] <= best
    assert accepted == sorted(accepted)


def test_it_never_leaves_its_highest_ratio():
    controller = Controller(budget=0.02, start=0.5, high=0.6)
    assert [controller.update(0.0) for _ in range(3)] == [0.6, 0.6, 0.6]


def test_a_drop_that_is_no_number_is_beyond_every_budget():
    controller = Controller(budget=0.02, start=0.5)
    assert controller.update(float("nan")) == 0.25
    assert controller.accepted == 0


@pytest.mark.parametrize("given", [{"budget": 0}, {"budget": float("nan")}, {"start": 0}, {"start": 1}, {"high": 0.4}])
def test_what_cannot_be_is_refused(given):
    with pytest.raises(InvalidInputError, match="expected a budget above 0"):
        Controller(**{"budget": 0.02, "start": 0.5, **given})
