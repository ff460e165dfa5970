"""Between the answer's path and the monitor: bounded, and honest about what it lost."""

import threading

import numpy as np

from monitors.inbox import Inbox
from pruneguard.serving.observing import Answer


def answer(rows: int = 1, *, version: int = 1) -> Answer:
    return Answer(
        "tiny", version, "d", "r", np.zeros((rows, 100), np.float32), np.zeros((rows, 3), np.float32), 0.0, 0.0
    )


def test_answers_come_out_in_the_order_they_came_in():
    inbox, sent = Inbox(), [answer() for _ in range(5)]
    assert all(inbox.offer(one) for one in sent)
    assert inbox.take(most=3, wait_s=0) == sent[:3]
    assert inbox.take(most=3, wait_s=0) == sent[3:]
    assert inbox.take(most=3, wait_s=0) == []


def test_a_full_inbox_loses_the_answer_and_counts_it_for_its_release():
    inbox = Inbox(answers_max=2)
    assert [inbox.offer(answer(version=2)) for _ in range(5)] == [True, True, False, False, False]
    assert (inbox.lost(("tiny", 1)), inbox.lost(("tiny", 2))) == (0, 3)
    assert inbox.lost(("tiny", 2)) == 0


def test_rows_are_counted_where_a_request_that_was_lost_had_several():
    inbox = Inbox(answers_max=1)
    assert [inbox.offer(answer(3)) for _ in range(3)] == [True, False, False]
    assert inbox.lost(("tiny", 1)) == 6


def test_a_few_large_answers_fill_it_too_and_make_room_when_taken():
    inbox = Inbox(bytes_max=2 * 103 * 4)
    assert [inbox.offer(answer()) for _ in range(3)] == [True, True, False]
    inbox.take(most=1, wait_s=0)
    assert inbox.offer(answer())


def test_a_waiting_monitor_is_woken_by_the_first_answer():
    inbox, taken = Inbox(), []
    thread = threading.Thread(target=lambda: taken.extend(inbox.take(most=9, wait_s=30)))
    thread.start()
    inbox.offer(answer())
    thread.join(timeout=10)
    assert len(taken) == 1
