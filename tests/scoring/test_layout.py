"""Which columns are a model's input: as the caller says, as they are called, or as they come; never by a guess."""

import numpy as np
import pytest

from pruneguard.errors import InvalidInputError
from pruneguard.scoring.layout import layout


@pytest.mark.parametrize(
    ("header", "told", "columns", "nested"),
    [
        (["a", "b", "c"], {}, ("a", "b", "c"), False),
        (["id", "a", "b", "c"], {"keep": ["id"]}, ("a", "b", "c"), False),
        (["id", "a", "b", "c"], {"columns": ["c", "a", "b"]}, ("c", "a", "b"), False),
        (["feature_2", "feature_0", "feature_1"], {}, ("feature_0", "feature_1", "feature_2"), False),
        (["id", "input", "label"], {}, ("input",), True),
        (["id", "pixels"], {"columns": ["pixels"]}, ("pixels",), True),
    ],
)
def test_columns_are_found(header, told, columns, nested):
    found = layout(header, shape=(3,), **told)
    assert (found.columns, found.nested) == (columns, nested)


@pytest.mark.parametrize(
    ("header", "told", "words"),
    [
        (["a", "b"], {}, "takes 3 numbers a row"),
        (["a", "b", "c", "id"], {}, "takes 3 numbers a row"),
        (["a", "b", "b"], {}, "more than once"),
        (["a", "b", "c"], {"columns": ["a", "b", "x"]}, "no column 'x'"),
        (["a", "b", "c"], {"keep": ["id"]}, "no column 'id'"),
    ],
)
def test_what_does_not_fit_is_refused(header, told, words):
    with pytest.raises(InvalidInputError, match=words):
        layout(header, shape=(3,), **told)


def test_a_model_of_one_number_takes_a_plain_column():
    found = layout(["x"], shape=(1,))
    assert not found.nested
    assert found.row([4]).tolist() == [4]


def test_flat_columns_become_an_image_row_by_row():
    found = layout(["a", "b", "c", "d"], shape=(1, 2, 2))
    assert found.row([1, 2, 3, 4]).tolist() == [[[1, 2], [3, 4]]]
    assert found.whole(np.arange(8.0).reshape(2, 4)).shape == (2, 1, 2, 2)


@pytest.mark.parametrize("cell", [[[[1, 2], [3, 4]]], [1, 2, 3, 4], "[[[1, 2], [3, 4]]]", "[1, 2, 3, 4]"])
def test_a_cell_holds_a_row_nested_or_flat(cell):
    assert layout(["input"], shape=(1, 2, 2)).row([cell]).tolist() == [[[1, 2], [3, 4]]]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ([[1, 2], [3]], "evenly nested"),
        ([[1, 2], [3, 4]], "nested as"),
        ([1, 2, 3], "nested as"),
        ([1, 2, 3, 4, 5, 6, 7, 8], "nested as"),
        ("[1, 2", "no list of numbers"),
        ([1, 2, None, 4], "number 2 of 'input' is nan"),
        ([1, 2, 1e300, 4], "is inf"),
        ("1", "nested as"),
        ("{}", "no list of numbers"),
    ],
)
def test_a_cell_that_is_no_row_says_why(cell, words):
    with pytest.raises(ValueError, match=words):
        layout(["input"], shape=(1, 2, 2)).row([cell])


def test_a_size_that_the_model_leaves_open_is_what_is_there():
    found = layout(["input"], shape=(-1, 2))
    assert found.row([[[1, 2], [3, 4], [5, 6]]]).shape == (3, 2)
    assert found.row([[1, 2, 3, 4]]).shape == (2, 2)
    for wrong in ([1, 2, 3], [[1, 2, 3]], []):
        with pytest.raises(ValueError, match="nested as"):
            found.row([wrong])


@pytest.mark.parametrize(
    ("value", "words"), [("x", "'b' is 'x', not a number"), ("", "'b' is ''"), ("nan", "'b' is nan")]
)
def test_a_value_that_is_no_number_is_named_by_its_column(value, words):
    with pytest.raises(ValueError, match=words):
        layout(["a", "b"], shape=(2,)).row(["1", value])
