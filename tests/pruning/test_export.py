import logging
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import parts
from pruneguard.pruning.export import to_onnx
from pruneguard.pruning.lineage import Part
from pruneguard.pruning.workpiece import Workpiece
from tests.pruning import networks


@pytest.fixture(scope="module")
def pruned():
    groups = parts.find(Part.CHANNELS, dense := networks.plain(), networks.IMAGES).groups
    return Workpiece.of(dense).cut(groups, {0: range(8), 1: range(16)}).model


@pytest.fixture(scope="module")
def content(pruned):
    return to_onnx(pruned, networks.IMAGES, classes=networks.CLASSES)


def test_the_file_answers_any_number_of_rows_as_the_model_does(pruned, content):
    session = onnxruntime.InferenceSession(content)
    rows = np.random.default_rng(3).random((17, 1, 8, 8), dtype=np.float32)
    for some in (rows, rows[:1]):
        (found,) = session.run(["logits"], {"input": some})
        with torch.no_grad():
            np.testing.assert_allclose(found, pruned.eval()(torch.from_numpy(some)).numpy(), atol=1e-5)


def test_names_and_shapes_are_the_ones_that_serving_expects(content):
    graph = onnx.load_from_string(content).graph
    (given,), (answer,) = graph.input, graph.output
    assert (given.name, answer.name) == ("input", "logits")
    dims = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (given, answer)]
    assert dims == [["batch", 1, 8, 8], ["batch", networks.CLASSES]]


def test_the_file_says_nothing_about_the_machine_it_was_made_on(content):
    for trace in (b".py", b"site-packages", b"stack_trace", b"pkg.torch", b"namespace"):
        assert trace not in content


def test_the_same_model_makes_the_same_bytes_quietly_and_keeps_its_mode(pruned, content, capfd, caplog):
    caplog.set_level(logging.INFO)
    level = logging.getLogger("torch.onnx").level
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert to_onnx(pruned.train(), networks.IMAGES[:1], classes=networks.CLASSES) == content
    assert pruned.training
    told = [record for record in caplog.records if record.levelno >= logging.INFO]
    assert (*heard, *told, *capfd.readouterr()) == ("", "")
    assert logging.getLogger("torch.onnx").level == level


class RowCounter(nn.Module):
    """Depends on the values of its rows, which no graph can hold."""

    def forward(self, x):
        return torch.zeros(len(x), 3) if x.sum() > 0 else torch.ones(len(x), 3)


def test_a_model_that_cannot_be_exported_is_named():
    with pytest.raises(InvalidInputError, match="RowCounter cannot be exported to ONNX with a free batch size"):
        to_onnx(RowCounter(), networks.TABLE, classes=3)


def test_a_model_of_another_number_of_classes_is_refused(pruned):
    with pytest.raises(InvalidInputError, match=r"shape \(6, 3\); expected \(6, 7\)"):
        to_onnx(pruned, networks.IMAGES, classes=7)
