"""How far to prune in the next round, from what the last one cost."""

from pruneguard.errors import InvalidInputError


class Controller:
    """A PI controller on the accuracy that may still be lost.

    The error of a round is the share of the budget that its drop has left, e = 1 - drop / budget, at most 1. A round
    within the budget is accepted, and the next ratio lies kp * e + ki * (sum of the errors) above its own. A round
    beyond it is rejected: the next starts from the last accepted ratio with half the step, and all later steps are half
    as large; its error is not summed, since nothing is built on that round. Ratios stay within (0, `high`].

    Feedback on the measured loss: Lin et al. 2020 (DPF, arXiv 2006.07253) and NNCF's accuracy-aware training.

    >>> controller = Controller(budget=0.02, start=0.5)
    >>> [round(controller.update(drop), 4) for drop in (0.0, 0.01, 0.05, 0.01)]
    [0.75, 0.925, 0.8375, 0.9375]
    >>> controller.accepted
    0.8375

    Raises InvalidInputError for a budget that is not positive, or ratios that cannot be.
    """

    def __init__(self, *, budget: float, start: float, high: float = 0.99, kp: float = 0.2, ki: float = 0.05) -> None:
        if not (budget > 0 and 0 < start <= high < 1 and kp >= 0 and ki >= 0):
            raise InvalidInputError(
                f"budget={budget}, start={start}, high={high}, kp={kp}, ki={ki}; expected a budget above 0, "
                "0 < start <= high < 1, and gains of 0 or more"
            )
        self.accepted = 0.0
        """The highest ratio that kept within the budget; 0 before there is one."""
        self.ratio = start
        """The ratio of the round to come; the accepted one again when there is nothing more to try."""
        self._budget, self._high, self._kp, self._ki = budget, high, kp, ki
        self._scale = 1.0
        self._sum = 0.0

    def update(self, drop: float) -> float:
        """The next ratio, from the accuracy that the round at `ratio` lost; NaN is beyond every budget."""
        if drop <= self._budget:
            error = min(1.0, 1 - drop / self._budget)
            self._sum += error
            self.accepted = self.ratio
            self.ratio = min(self._high, self.accepted + self._scale * (self._kp * error + self._ki * self._sum))
        else:
            self._scale /= 2
            self.ratio = (self.accepted + self.ratio) / 2
        return self.ratio

    def skip(self) -> None:
        """Nothing could be taken away at this ratio: go as far as may be."""
        self.ratio = self._high


class Equal:
    """So many rounds that each take the same share of what is left, until one costs more than the budget.

    Han et al. 2015 (arXiv 1506.02626). The same to ask as a `Controller`.

    >>> pace = Equal(budget=0.02, high=0.75, rounds=2)
    >>> round(pace.ratio, 3), pace.update(0.01), pace.update(0.03), pace.accepted
    (0.5, 0.75, 0.5, 0.5)
    """

    def __init__(self, *, budget: float, high: float, rounds: int) -> None:
        self._budget, self._high, self._rounds = budget, high, rounds
        self.accepted = 0.0
        self.ratio = 0.0
        self._number = 0
        self.skip()

    def update(self, drop: float) -> float:
        """The next ratio; the accepted one again when there is nothing more to try."""
        if drop <= self._budget:
            self.accepted = self.ratio
            self.skip()
        else:
            self.ratio = self.accepted
        return self.ratio

    def skip(self) -> None:
        """On to the next round."""
        self._number += 1
        share = 1 - (1 - self._high) ** (self._number / self._rounds)
        self.ratio = self._high if self._number >= self._rounds else share
