from dataclasses import replace

import numpy as np
import pytest

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.domain import Domain, kind_of, kind_problems
from pruneguard.workload import Snapshot, Split, Tokens
from tests.evaluation.small import table


def rows(*values) -> Split:
    x = np.array(values, np.float32)
    return Split(x, np.arange(len(x), dtype=np.int64) % 2)


def snapshot(*values, **changes) -> Snapshot:
    return Snapshot(
        **{"train": rows(*values), "gate": rows(*values), "release": rows(*values), "classes": 2, **changes}
    )


TEXT = snapshot([3, 4, 0], [5, 0, 0], bounds=(0, 9), kind="text", tokens=Tokens(filling=0, unknown=1))


def test_rows_of_three_dimensions_are_images_and_all_others_a_table_unless_somebody_says_so(digits):
    assert kind_of(digits) == Domain.of(digits).kind == "images"
    assert kind_of(table()) == Domain.of(table()).kind == "table"
    assert Domain.of(replace(digits, kind="table")).kind == "table"
    assert Domain.of(TEXT).kind == "text"


def test_the_unit_of_change_is_the_bounds_for_images_and_four_deviations_for_the_features_of_a_table(digits):
    assert Domain.of(replace(digits, bounds=(-1, 3))).spread == 4
    domain = Domain.of(snapshot([0, 1], [2, 1]))
    assert domain.spread.tolist() == [4, 0]
    assert domain.mean.tolist() == [1, 1]


def test_a_snapshot_without_training_rows_is_known_by_those_it_has():
    empty = Split(np.zeros((0, 2), np.float32), np.zeros(0, np.int64))
    held = snapshot([0, 1], [2, 1])
    assert Domain.of(replace(held, train=empty)).mean.tolist() == [1, 1]
    text = replace(TEXT, train=Split(np.zeros((0, 3), np.float32), np.zeros(0, np.int64)))
    assert Domain.of(text).words.known.tolist() == [3, 4, 5]
    with pytest.raises(InvalidInputError, match="the data have no rows"):
        Domain.of(Snapshot(empty, empty, empty, 2))


@pytest.mark.parametrize(
    ("columns", "features"),
    [
        (["12", "34", "56"], [0, 1]),
        (["001", "010", "100"], [0, 0, 0]),
        (["5001", "6010", "7100"], [0, 1, 1, 1]),
        (["00110", "01001", "10010"], [0, 0, 0, 1, 1]),
        (["01", "10", "11"], [0, 1]),
        (["1", "1", "1"], [0]),
        (["000", "010", "100"], [0, 1, 2]),
        (["1050", "0160", "1071"], [0, 0, 1, 2]),
    ],
    ids=["numbers", "one", "beside a number", "two", "two at once", "a constant", "none at all", "parted by a number"],
)
def test_columns_of_which_one_is_one_in_every_row_are_a_category(columns, features):
    assert Domain.of(snapshot(*([int(c) for c in row] for row in columns))).features.tolist() == features


def test_a_text_knows_its_words_and_how_often_they_are_said():
    words = Domain.of(snapshot([7, 4, 4, 8], [7, 4, 8, 0], kind="text", tokens=Tokens(0, None, (7, 8)))).words
    assert words.known.tolist() == [4]
    assert words.counts.tolist() == [3]
    assert words.are(np.array([[7, 4, 5, 8, 0]], np.float32)).tolist() == [[False, True, True, False, False]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (replace(TEXT, kind="sounds"), "kind is 'sounds'; expected one of images, table, text, or None"),
        (replace(TEXT, kind=None), "tokens are given and kind is None"),
        (replace(TEXT, kind="images", tokens=None), r"rows have the shape \[2, 3\]; expected \[n, channels"),
        (snapshot([[3, 4]], [[4, 3]], kind="text"), r"rows have the shape \[2, 1, 2\]; expected \[n, places\]"),
        (replace(TEXT, gate=rows([3, 4, 0], [3, 0.5, 0])), "row 1 of gate holds a number that is no whole one"),
        (replace(TEXT, gate=rows([3, np.nan, 0])), "row 0 of gate holds a number that is no whole one"),
        (replace(TEXT, release=rows([3, 4, 5], [0, 3, 4])), "row 1 of release has the filling token 0 before another"),
        (replace(TEXT, train=rows([0, 0, 0])), "train has no word"),
    ],
    ids=["a kind of its own", "tokens of no text", "flat images", "deep text", "half a word", "NaN", "early", "empty"],
)
def test_rows_that_are_not_what_the_snapshot_says_are_refused_in_words(wrong, message):
    (problem,) = kind_problems(wrong)
    with pytest.raises(InvalidInputError, match=message) as refusal:
        Domain.of(wrong)
    assert problem in str(refusal.value)


def test_the_kind_is_in_the_digest_only_where_it_is_said():
    plain = replace(TEXT, kind=None, tokens=None)
    assert (
        len({plain.digest, TEXT.digest, replace(TEXT, tokens=Tokens(0)).digest, replace(plain, kind="table").digest})
        == 4
    )
    assert plain.digest == replace(plain).digest
