"""Windows as Parquet."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest

from monitors.observations import FEATURES_MAX, columns, describe, encode, observe
from pruneguard.canonical import digest
from pruneguard.serving.observing import Answer


def observed(inputs, logits):
    inputs, logits = np.asarray(inputs, np.float32), np.asarray(logits, np.float32)
    answer = Answer("tiny", 1, "d", "request", inputs, logits, 0.001, 5.0)
    return observe([answer], inputs=inputs, logits=logits)


def test_a_window_keeps_what_was_answered_and_where_the_input_is_found_again():
    rows = observed([[1, 2], [3, 4]], [[0, 5], [5, 0]])
    rows[0].agrees, rows[0].probability, rows[0].divergence = False, 0.1, 0.25
    table = pq.read_table(io.BytesIO(encode(rows, model="tiny", number=3)))
    assert table.schema.metadata[b"pruneguard.release"] == b"3"
    first, second = table.to_pylist()
    assert first["input"] == digest(np.array([1, 2], np.float32).tobytes())
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
    window = encode(observed([[1, 2]], [[0, 5]]), model="tiny", number=1)
    assert set(columns(window)) == {"x.0", "x.1", "confidence", "margin", "predicted"}


def test_the_same_rows_make_the_same_bytes():
    rows = observed([[1, 2]], [[0, 5]])
    assert encode(rows, model="tiny", number=1) == encode(rows, model="tiny", number=1)
