"""Who wins a pair, what becomes a row, and what is drawn: decided on points made by hand."""

import dataclasses
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.contest import drawing, verdicts
from benchmarks.contest.measuring import Point, non_inferior, paired, shown_worse, zstd_bytes
from benchmarks.contest.verdicts import Ours, Round, Theirs

ROWS = 1000


def point(side: str = "peer", *, wrong: int = 100, latency: tuple[float, ...] = (0.8, 0.8), **given: object) -> Point:
    """Its first `wrong` answers of 1,000 are wrong."""
    known = {
        "side": side,
        "ratio": 0.5,
        "onnx": b"",
        "right": np.arange(ROWS) >= wrong,
        "latency_ratios": latency,
        "parameter_ratio": 0.5,
        "nonzero_ratio": 0.4,
        "macs_ratio": 0.5,
        "zstd_bytes": 1000,
    }
    return Point(**(known | given))


def contest(
    *,
    returned: Point | None,
    theirs: tuple[Point, ...] = (point(),),
    duel: tuple[float, ...] = (0.9, 0.9),
    task: str = "adult",
    seed: int = 1,
    reasons: tuple[str, ...] = (),
) -> Round:
    return Round(
        task=task,
        seed=seed,
        margin=0.02,
        dense=point("dense", latency=(1.0, 1.0), zstd_bytes=4000),
        dense_seconds=10.0,
        ours=Ours(
            points=() if returned is None else (returned,),
            passing=() if returned is None else (returned,),
            returned=returned,
            evaluations=5,
            seconds=30.0,
        ),
        theirs=(Theirs(peer="peer", points=theirs, reasons=reasons),),
        duels={"peer": duel},
    )


def parsed(picture: str) -> ElementTree.Element:
    return ElementTree.fromstring(picture)  # noqa: S314  # our own


def test_rows_are_compared_one_by_one() -> None:
    ours, theirs = np.array([True, True, False, False]), np.array([True, False, True, False])
    table = paired(ours, theirs)
    assert (table.both_right, table.candidate_only, table.twin_only, table.both_wrong) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("lost", "passes", "worse"), [(0, True, False), (2, True, False), (5, True, True), (20, False, True)]
)
def test_a_loss_within_the_margin_passes_and_is_shown_all_the_same(lost: int, passes: bool, worse: bool) -> None:
    table = paired(point(wrong=100 + lost).right, point(wrong=100).right)
    assert non_inferior(table, margin=0.02) is passes
    assert shown_worse(table) is worse


def test_a_peers_best_point_is_the_fastest_that_keeps_the_accuracy() -> None:
    slow, fast, broken = point(latency=(0.9, 0.9)), point(latency=(0.7, 0.8)), point(wrong=500, latency=(0.1, 0.1))
    dense = point("dense")
    assert verdicts.best([slow, fast, broken], dense, margin=0.02) is fast
    assert verdicts.best([broken], dense, margin=0.02) is broken
    assert verdicts.best([], dense, margin=0.02) is None


@pytest.mark.parametrize(
    ("ours", "duel", "is_won"),
    [
        (point("ours"), (0.9, 0.9), True),
        (point("ours"), (0.9, 1.0), False),
        (point("ours"), (1.0, 0.9), False),
        (point("ours", wrong=102), (0.9, 0.9), True),
        (point("ours", wrong=130), (0.9, 0.9), False),
        (None, (0.9, 0.9), False),
    ],
    ids=["faster", "not at 64", "not at 1", "two rows worse", "shown worse", "nothing returned"],
)
def test_what_is_returned_wins_by_no_worse_accuracy_and_lower_latency_at_both_sizes(
    ours: Point | None, duel: tuple[float, ...], is_won: bool
) -> None:
    assert verdicts.returned_won([contest(returned=ours, duel=duel)], "peer") is is_won


@pytest.mark.parametrize(
    ("passing", "is_won"),
    [
        ([point(wrong=130, latency=(0.3, 0.3)), point(latency=(0.7, 0.7))], True),
        ([point(wrong=130, latency=(0.3, 0.3)), point(latency=(0.9, 0.9))], False),
        ([point(wrong=130, latency=(0.3, 0.3))], False),
        ([point(latency=(0.7, 0.81))], False),
        ([], False),
    ],
    ids=["a milder one is as good and faster", "it is slower", "all are less accurate", "not at 64", "nothing passed"],
)
def test_a_pair_is_won_at_equal_accuracy(passing: list[Point], is_won: bool) -> None:
    round_ = contest(returned=None)
    searched = replace(round_.ours, passing=tuple(passing))
    assert verdicts.won([replace(round_, ours=searched)], "peer") is is_won


def test_the_seeds_of_a_task_decide_together() -> None:
    duels = [(0.9, 0.9), (0.8, 0.9), (1.2, 0.9)]
    rounds = [contest(returned=point("ours"), duel=duel, seed=seed) for seed, duel in enumerate(duels)]
    assert verdicts.returned_won(rounds, "peer")
    assert not verdicts.returned_won([*rounds, contest(returned=None, seed=9)], "peer")


def test_a_peer_without_points_is_no_pair_but_a_row_with_its_reason() -> None:
    silent = contest(returned=point("ours"), theirs=(), reasons=("IndexError: its walk",) * 3, task="vowels-lstm")
    faster = point("ours", latency=(0.7, 0.7))
    rows = {row.name: row for row in verdicts.rows([contest(returned=faster), silent])}
    assert rows["pairs_won"].value == 1
    assert "1 pairs" in rows["pairs_won"].how
    told = rows["points of peer on vowels-lstm"]
    assert (told.value, told.goal, told.met, told.how) == (0, "= 3", False, "IndexError: its walk")


def test_a_contest_without_any_pair_is_not_won() -> None:
    rows = {row.name: row for row in verdicts.rows([contest(returned=None, theirs=())])}
    assert not rows["pairs_won"].met


def test_rows_say_what_pruning_was_worth() -> None:
    image = point("ours", wrong=110, stored_bytes=400)
    text = point("ours", latency=(0.7, 0.8))
    rows = {
        row.name: row
        for row in verdicts.rows(
            [contest(returned=image, task="fashion-mnist"), contest(returned=text, task="clinc150")]
        )
    }
    assert rows["image_size_reduction"].value == pytest.approx(0.9)  # 400 of 4,000 bytes
    assert rows["image_accuracy_ratio"].value == pytest.approx(890 / 900)
    assert rows["text_param_reduction"].value == pytest.approx(0.6)
    assert rows["text_accuracy_ratio"].value == 1
    assert rows["latency_over_flops_b64"].value == pytest.approx(0.625)  # 1.25 times as fast with half the work
    assert rows["search_full_evaluations"].value == 5
    assert rows["search_over_one_training"].value == 3
    assert rows["stored_over_zstd"].value == pytest.approx(0.4)
    assert rows["slower_than_dense"].value == 0


def test_a_candidate_slower_at_one_size_is_slower() -> None:
    slower = contest(returned=point("ours", latency=(0.9, 1.01)))
    assert next(row for row in verdicts.rows([slower]) if row.name == "slower_than_dense").value == 1


def test_zeros_cost_next_to_nothing_with_ordinary_tools() -> None:
    model = torch.nn.Linear(200, 200)
    torch.nn.init.normal_(model.weight, generator=torch.Generator().manual_seed(0))
    full = zstd_bytes(model)
    with torch.no_grad():
        model.weight[:180] = 0
    assert 140_000 < full <= 165_000
    assert zstd_bytes(model) < 0.15 * full


def test_every_mark_and_every_side_is_drawn() -> None:
    marks = [
        drawing.mark("dense", [1.0], [0.9]),
        drawing.mark("ours & co", [0.4, 0.6], [0.88, 0.9]),
        drawing.mark("peer", [0.7], [0.85]),
    ]
    assert (marks[1].latency, marks[1].latency_low, marks[1].latency_high) == (0.5, 0.4, 0.6)
    picture = parsed(drawing.drawing("adult: 2 seeds", marks))
    space = "{http://www.w3.org/2000/svg}"
    assert len(picture.findall(f"{space}circle")) == 6  # a mark and its place in the legend
    words = [text.text for text in picture.findall(f"{space}text")]
    assert {"dense", "ours & co", "peer", "adult: 2 seeds"} <= set(words)


def test_better_marks_are_further_left_and_further_up() -> None:
    marks = [drawing.mark("good", [0.5], [0.9]), drawing.mark("bad", [0.9], [0.5])]
    picture = parsed(drawing.drawing("two", marks))
    good, bad, *_ = (circle.attrib for circle in picture.findall("{http://www.w3.org/2000/svg}circle"))
    assert float(good["cx"]) < float(bad["cx"])
    assert float(good["cy"]) < float(bad["cy"])


def test_one_mark_alone_can_be_drawn() -> None:
    assert "nan" not in drawing.drawing("one", [drawing.mark("dense", [1.0], [0.9])])


def test_a_round_is_a_value() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        contest(returned=None).seed = 2  # type: ignore[misc]
