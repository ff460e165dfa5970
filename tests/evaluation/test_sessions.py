import numpy as np
import pytest
import torch

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.sessions import NO_ANSWER, Session, predictions, probabilities
from tests.evaluation.small import linear_onnx, with_outside_weights

WEIGHT = [[1.0, 0.0, -1.0], [0.0, 2.0, 0.0]]


def test_a_session_knows_the_shape_of_a_row_and_the_number_of_classes():
    session = Session(linear_onnx(WEIGHT))
    assert (session.input_shape, session.classes) == ((2,), 3)


def test_logits_are_the_networks_whatever_the_batch(digits, twin):
    session = Session(twin.onnx)
    with torch.no_grad():
        expected = twin.model(torch.from_numpy(digits.gate.x)).numpy()
    for batch in (7, 1000):
        assert session.logits(digits.gate.x, batch=batch) == pytest.approx(expected, abs=1e-4)


def test_no_rows_get_no_answers():
    assert Session(linear_onnx(WEIGHT)).logits(np.empty((0, 2), dtype=np.float32)).shape == (0, 3)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.zeros((4, 2)), "float64; the model expects float32"),
        (np.zeros((4, 3), np.float32), r"shape \[4, 3\]; the model expects \['batch', 2\]"),
        (np.zeros((4, 2, 1), np.float32), r"shape \[4, 2, 1\]"),
    ],
)
def test_rows_that_do_not_fit_are_named(rows, said):
    with pytest.raises(InvalidInputError, match=said):
        Session(linear_onnx(WEIGHT)).logits(rows)


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", linear_onnx(WEIGHT)[:-20], linear_onnx(WEIGHT).replace(b"MatMul", b"MutMal")],
    ids=["empty", "garbage", "truncated", "unknown-operator"],
)
def test_bytes_that_are_no_model_are_refused(content, capfd):
    with pytest.raises(InvalidInputError, match="export it to ONNX again"):
        Session(content)
    assert capfd.readouterr() == ("", "")


def test_a_damaged_byte_is_refused_or_harmless_and_always_silent(capfd):
    content, refused = linear_onnx(WEIGHT), 0
    for position in range(len(content)):
        try:
            Session(content[:position] + b"\xff" + content[position + 1 :])
        except InvalidInputError:
            refused += 1
    assert refused > len(content) / 4
    assert capfd.readouterr() == ("", "")


def test_weights_outside_the_digest_are_never_read(tmp_path, monkeypatch):
    (tmp_path / "weights.bin").write_bytes(np.ones(6, np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    for location in ("weights.bin", str(tmp_path / "weights.bin"), f"../{tmp_path.name}/weights.bin"):
        with pytest.raises(InvalidInputError, match="External data path"):
            Session(with_outside_weights(linear_onnx(WEIGHT), location))


def test_a_model_for_one_batch_size_is_refused():
    with pytest.raises(InvalidInputError, match="batches of 1 only"):
        Session(linear_onnx(WEIGHT, batch=1))


def test_softmax_by_hand_survives_large_logits():
    assert probabilities(np.array([[0.0, np.log(3.0)], [1e4, 1e4]], np.float32)) == pytest.approx(
        np.array([[0.25, 0.75], [0.5, 0.5]])
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_not_finite_is_no_answer(bad):
    logits = np.array([[1.0, bad], [1.0, 0.0]], np.float32)
    assert predictions(logits).tolist() == [NO_ANSWER, 0]
    assert np.isnan(probabilities(logits)[0]).all()
    assert probabilities(logits)[1].sum() == pytest.approx(1)
