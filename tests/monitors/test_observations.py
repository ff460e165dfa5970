"""Windows as Parquet."""

import hashlib
import hmac
import io
import struct

import numpy as np
import pyarrow.parquet as pq
import pytest

from monitors.observations import (
    FEATURES_MAX,
    OUTPUTS_MAX,
    VALUES_MAX,
    Keeping,
    answered_in,
    columns,
    describe,
    encode,
    observe,
)
from pruneguard.errors import InvalidInputError
from pruneguard.serving.labelstore import Answered
from pruneguard.serving.observing import Answer

KEEP = Keeping(b"k" * 32)


def observed(inputs, logits, keep=KEEP):
    inputs, logits = np.asarray(inputs, np.float32), np.asarray(logits, np.float32)
    answer = Answer("tiny", 1, "d", "request", inputs, logits, 0.001, 5.0)
    return observe([answer], inputs=inputs, logits=logits, keep=keep)


def encoded(rows):
    return encode(rows, model="tiny", number=3, batch=7)


def table(rows):
    return pq.read_table(io.BytesIO(encoded(rows)))


def every_byte(content):
    """All that a Parquet file holds, uncompressed: its own bytes, and the buffers of its columns."""
    columns = pq.read_table(io.BytesIO(content)).columns
    chunks = [chunk for column in columns for chunk in column.chunks]
    texts = "\n".join(str(value) for column in columns for value in column.to_pylist())
    return content + b"".join(bytes(b) for chunk in chunks for b in chunk.buffers() if b) + texts.encode()


def test_a_window_keeps_what_was_answered_and_where_the_input_is_found_again():
    rows = observed([[1, 2], [3, 4]], [[0, 5], [5, 0]])
    rows[0].agrees, rows[0].probability, rows[0].divergence = False, 0.1, 0.25
    window = table(rows)
    assert window.schema.metadata[b"pruneguard.release"] == b"3"
    first, second = window.to_pylist()
    assert (first["model"], first["version"], first["batch"]) == ("tiny", 3, 7)
    assert (first["request_id"], first["row"], second["row"], first["seconds"]) == ("request", 0, 1, 0.001)
    found = hmac.digest(KEEP.key, np.array([1, 2], np.float32).tobytes(), "sha256").hex()
    assert first["input"] == f"hmac-sha256:{found}"
    assert (first["output"], first["values"]) == ([0, 5], None)
    assert (first["predicted"], first["agrees"], first["probability"]) == (1, False, 0.1)
    assert (second["predicted"], second["agrees"], second["x.0"]) == (0, None, 3.0)
    assert first["margin"] == pytest.approx(2 * first["confidence"] - 1)


def test_logits_that_are_no_numbers_have_no_confidence():
    (row,) = observed([[1, 2]], [[np.nan, 5]])
    assert row.predicted == -1
    assert np.isnan(row.confidence)
    assert np.isnan(row.margin)


def test_many_features_are_watched_through_four_statistics():
    few, many = np.ones((5, FEATURES_MAX), np.float32), np.ones((5, 3, 8, 8), np.float32)
    assert len(describe(few)) == FEATURES_MAX
    assert list(describe(many)) == ["x.mean", "x.std", "x.min", "x.max"]


def test_a_drift_report_sees_features_and_answers_but_no_identities():
    window = encoded(observed([[1, 2]], [[0, 5]]))
    assert set(columns(window)) == {"x.0", "x.1", "confidence", "margin", "predicted"}


def test_the_same_rows_make_the_same_bytes():
    rows = observed([[1, 2]], [[0, 5]])
    assert encoded(rows) == encoded(rows)


def test_a_window_that_only_brings_labels_has_no_rows():
    assert table([]).num_rows == 0


def test_rows_are_kept_whole_where_the_manifest_asks_and_they_are_no_pictures_of_any_size():
    keep = Keeping(b"k", values=True)
    assert table(observed([[1, 2]], [[0, 5]], keep)).column("values").to_pylist() == [[1, 2]]
    assert table(observed([[0.0] * VALUES_MAX], [[0, 5]], keep)).column("values")[0].is_valid
    assert not table(observed([[0.0] * (VALUES_MAX + 1)], [[0, 5]], keep)).column("values")[0].is_valid


def test_answers_of_many_numbers_are_kept_as_what_they_name():
    few, many = observed([[1]], [[0.0] * OUTPUTS_MAX]), observed([[1]], [[0.0] * (OUTPUTS_MAX + 1)])
    assert [table(rows).column("output")[0].is_valid for rows in (few, many)] == [True, False]


SECRET = 41_357.0625
"""A value that only a personal column holds, exact in single and double precision."""


@pytest.mark.parametrize("width", [4, 4 * FEATURES_MAX])
@pytest.mark.parametrize("values", [False, True])
def test_no_byte_of_a_window_is_of_a_personal_column(width, values):
    row = np.linspace(0, 1, width, dtype=np.float32)
    row[2] = SECRET
    patterns = [struct.pack(kind, SECRET) for kind in ("<f", "<d")] + [b"41357.06"]
    for personal, written in (((2, 99), False), ((), True)):
        window = encoded(observed([row], [[0, 5]], Keeping(b"k", values=values, personal=personal)))
        assert any(pattern in every_byte(window) for pattern in patterns) is written


def test_the_digest_of_a_row_cannot_be_guessed_without_the_key():
    (mine,), (theirs,) = (observed([[1, 2]], [[0, 5]], Keeping(key)) for key in (b"mine", b"theirs"))
    assert mine.input != theirs.input
    assert hashlib.sha256(np.array([1, 2], np.float32).tobytes()).hexdigest() not in mine.input


def test_where_every_feature_is_personal_none_is_described():
    assert describe(np.ones((2, 30), np.float32), personal=range(30)) == {}
    assert set(columns(encoded(observed([[1, 2]], [[0, 5]], Keeping(b"k", personal=(0, 1)))))) == {
        "confidence",
        "margin",
        "predicted",
    }


def test_what_may_be_kept_is_read_from_the_manifest_and_without_one_nothing_is():
    asked = {"kind": "manifest/v1", "observations": {"inputs": "values", "personal": [3]}}
    assert Keeping.asked(asked, key=b"k") == Keeping(b"k", values=True, personal=(3,))
    assert Keeping.asked({"kind": "manifest/v1"}, key=b"k") == Keeping(b"k")
    for document in ({}, [], {"kind": "evidence/v1"}):
        with pytest.raises(InvalidInputError, match="nobody knows"):
            Keeping.asked(document, key=b"k")


def test_the_ids_of_a_sealed_window_are_read_back():
    window = encoded(observed([[1, 2], [3, 4]], [[0, 5], [5, 0]]))
    assert answered_in(window) == [Answered("request", 0, 1, 5.0), Answered("request", 1, 0, 5.0)]
