import numpy as np
import pytest

from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.evaluate import Yardstick, evaluate
from tests.evaluation.small import linear, table

QUESTION = "logits of sha256:0"


def test_the_same_question_about_the_same_rows_is_answered_once():
    asked = []
    yardstick, rows = Yardstick(), np.ones((3, 2), np.float32)
    for _ in range(2):
        answer = yardstick.once(QUESTION, rows.copy(), compute=lambda: asked.append(1) or np.ones(3))
        assert (answer == 1).all()
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ("logits of sha256:1", np.ones((3, 2), np.float32)),
        (QUESTION, np.zeros((3, 2), np.float32)),
        (QUESTION, np.ones((2, 3), np.float32)),
        (QUESTION, np.ones((3, 2), np.float32).view(np.int32)),
    ],
)
def test_another_question_or_other_rows_are_answered_anew(asked, rows):
    yardstick = Yardstick()
    yardstick.once(QUESTION, np.ones((3, 2), np.float32), compute=lambda: np.ones(3))
    assert (yardstick.once(asked, rows, compute=lambda: np.zeros(3)) == 0).all()


def test_nobody_can_change_an_answer_that_others_will_read():
    answer = Yardstick().once(QUESTION, np.ones(3), compute=lambda: np.ones(3))
    with pytest.raises(ValueError, match="read-only"):
        answer[0] = 2


def test_with_a_yardstick_the_numbers_are_those_without(quick):
    twin, data = linear([[-4.0, 4.0], [0.0, 0.0], [4.0, -4.0]]), table()
    yardstick = Yardstick()
    for weight in (3.0, 2.0, 0.1):
        candidate = linear([[-weight, weight], [1.0, 0.0], [4.0, -4.0]])
        alone = evaluate(candidate, twin, data, split="gate", seed=0)
        beside = evaluate(candidate, twin, data, split="gate", seed=0, yardstick=yardstick)
        timed = ("efficiency.latency", "efficiency.cost")
        assert {n: m for n, m in alone.measurements.items() if not n.startswith(timed)} == {
            n: m for n, m in beside.measurements.items() if not n.startswith(timed)
        }


def test_the_twin_answers_clean_damaged_and_attacked_rows_once_for_all_candidates(quick, monkeypatch):
    twin, data, yardstick = linear([[-4.0, 4.0], [0.0, 0.0], [4.0, -4.0]]), table(), Yardstick()
    evaluate(twin, twin, data, split="gate", seed=0, yardstick=yardstick)
    candidate = linear([[-3.0, 3.0], [0.0, 0.0], [4.0, -4.0]])
    load = Pair.load

    def silenced(*args, **kwargs):
        """A pair whose twin answers nothing any more."""
        pair = load(*args, **kwargs)
        monkeypatch.setattr(pair.twin_session, "logits", None)
        return pair

    monkeypatch.setattr(Pair, "load", silenced)
    wanted = ["robustness.noise.paired", "robustness.pgd.paired", "calibration.ece"]
    asked = {"wanted": wanted, "all_else": False}
    found = evaluate(candidate, twin, data, split="gate", seed=0, yardstick=yardstick, **asked)
    assert set(wanted) <= found.measurements.keys()
