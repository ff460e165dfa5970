"""Folds in which every train and gate row takes its turn; the table of their answers, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from pruneguard.evaluation.correctness import crossing
from pruneguard.evaluation.evaluate import evaluate
from pruneguard.evidence import Estimate, PairedTable
from pruneguard.workload import Snapshot, Split
from tests.evaluation.small import linear, table


@pytest.fixture
def snapshot() -> Snapshot:
    """60 train and 30 gate rows of three classes, every row another one."""
    made = table(rows=60, features=2, classes=3)
    for number, split in enumerate(made.splits.values()):
        split.x[:, 0] = 1000 * number + np.arange(len(split))
    return made


def numbers(split: Split) -> set[float]:
    return set(split.x[:, 0].tolist())


def test_every_row_is_held_out_once_and_every_class_in_every_fold(snapshot: Snapshot) -> None:
    rows = crossing.pooled(snapshot)
    turns = crossing.turns(rows.y, seed=1)
    for fold in range(crossing.FOLDS):
        assert np.bincount(rows.y[turns == fold]).tolist() == [6, 6, 6]


def test_models_of_a_fold_see_neither_its_rows_nor_the_release_rows(snapshot: Snapshot) -> None:
    rows = crossing.pooled(snapshot)
    turns = crossing.turns(rows.y, seed=1)
    for fold in range(crossing.FOLDS):
        made = crossing.without(snapshot, turns == fold, seed=1)
        train, gate, held = (numbers(split) for split in (made.train, made.gate, made.release))
        assert held == set(rows.x[turns == fold, 0].tolist())
        assert len(train) + len(gate) + len(held) == len(rows)
        assert train | gate | held == numbers(rows)
        assert not numbers(snapshot.release) & (train | gate | held)


def test_a_fold_has_train_and_gate_rows_in_the_shares_of_the_run(snapshot: Snapshot) -> None:
    turns = crossing.turns(crossing.pooled(snapshot).y, seed=1)
    made = crossing.without(snapshot, turns == 0, seed=1)
    assert [len(split) for split in made.splits.values()] == [48, 24, 18]
    assert np.bincount(made.train.y).tolist() == [16, 16, 16]
    assert (made.classes, made.bounds) == (snapshot.classes, snapshot.bounds)


def test_the_same_seed_deals_the_same_folds_and_another_one_others(snapshot: Snapshot) -> None:
    y = crossing.pooled(snapshot).y
    assert np.array_equal(crossing.turns(y, seed=1), crossing.turns(y, seed=1))
    assert not np.array_equal(crossing.turns(y, seed=1), crossing.turns(y, seed=2))


def test_rows_keep_their_slices() -> None:
    made = table(rows=60)
    made = replace(
        made, **{name: replace(split, slices={"odd": split.y.astype(str)}) for name, split in made.splits.items()}
    )
    turns = crossing.turns(crossing.pooled(made).y, seed=1)
    fold = crossing.without(made, turns == 2, seed=1)
    assert all(np.array_equal(split.slices["odd"], split.y.astype(str)) for split in fold.splits.values())


def test_numbers_are_dealt_in_their_order() -> None:
    y = np.linspace(0, 1, 20, dtype=np.float32)
    turns = crossing.turns(y, seed=3)
    assert [sorted(turns[at : at + 5].tolist()) for at in range(0, 20, 5)] == [[0, 1, 2, 3, 4]] * 4


@pytest.mark.parametrize(("rows", "why"), [(6, "class 0 has 9 train and gate rows, and 5 folds take 10"), (10, None)])
def test_a_class_too_rare_for_the_folds_is_named(rows: int, why: str | None) -> None:
    y = np.array([0] * rows + [1] * 20)
    made = table(classes=2)
    train, gate = (Split(np.zeros((n, 3), np.float32), y[:n]) for n in (len(y), 3))
    assert crossing.lacks(replace(made, train=train, gate=gate)) == why


def test_without_rows_to_train_on_there_is_nothing_to_cross() -> None:
    assert crossing.lacks(replace(table(), train=Split(np.zeros((0, 3), np.float32), np.zeros(0, np.int64)))) == (
        "takes train and gate rows"
    )


def test_the_table_the_accuracies_and_the_spread_by_hand() -> None:
    y = np.array([0, 1] * 5)
    fold = np.repeat(np.arange(5), 2)
    right = np.array([1, 1, 1, 1, 1, 1, 1, 1, 0, 0], dtype=bool)
    twin = np.array([1, 1, 1, 1, 1, 1, 1, 0, 1, 0], dtype=bool)
    found = crossing.measure(Split(np.zeros((10, 1), np.float32), y), fold, right, twin)
    assert found["quality.cross_validated.paired"] == PairedTable(7, 1, 1, 1)
    assert found["quality.cross_validated.paired.slice.class=0"] == PairedTable(4, 0, 1, 0)
    assert found["quality.cross_validated.paired.slice.class=1"] == PairedTable(3, 1, 0, 1)
    accuracy, spread = found["quality.cross_validated.accuracy"], found["quality.cross_validated.spread"]
    assert isinstance(accuracy, Estimate)
    assert isinstance(spread, Estimate)
    assert (accuracy.value, accuracy.n) == (0.8, 10)
    assert spread.value == pytest.approx(np.sqrt((0.5**2 + 0.5**2) / 4))  # differences 0, 0, 0, +1/2, -1/2
    assert (spread.low, spread.high, spread.n) == (None, None, 5)  # folds that share rows give no interval


def test_whoever_has_two_files_and_no_recipe_is_told_what_it_takes() -> None:
    weight = np.eye(3, 2)
    found = evaluate(
        linear(weight),
        linear(2 * weight),
        table(),
        split="gate",
        seed=0,
        wanted={f"{crossing.NAME}.paired"},
        all_else=False,
    )
    assert f"{crossing.NAME}.paired" not in found.measurements
    assert (
        "quality.cross_validated: makes twin and candidate again, which takes the workload" in found.context["left out"]
    )
    assert "judges the recipe and not this file" in found.context["cross-validation"]
