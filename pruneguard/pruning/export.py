"""A network as the ONNX file that is judged, released and served."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.workload import Floats

DEVIATION_MAX = 1e-3
BATCH_MAX = 1 << 20
TRACED_ROWS = 64
CHATTER = ("torch.onnx", "onnxscript", "onnx_ir")


def to_onnx(model: nn.Module, example: Floats, *, classes: int | None) -> bytes:
    """ONNX bytes of `model` in eval mode: `input` [batch, ...] float32 in, `logits` [batch, classes] float32 out, or
    without classes `number` [batch, 1] or [batch], as the network has it.

    The same weights make the same bytes, and nothing of the machine they were made on is in them: source paths and
    other notes of the exporter are removed. `example` are real rows; the file is run on all of them and compared.

    Raises InvalidInputError when the model cannot be exported with a free batch size or answers in another shape,
    IntegrityError when the file's logits are more than 0.001 away from the model's, or its numbers more than that share
    of the largest.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            expected = model(torch.from_numpy(example)).numpy()
        flat = classes is None and expected.shape == (len(example),)
        if expected.shape != (len(example), classes or 1) and not flat:
            what = "one number" if classes is None else "one logit for each class of the data"
            raise InvalidInputError(
                f"the model answers {len(example)} rows with shape {expected.shape}; "
                f"expected {(len(example), classes or 1)}, {what}"
            )
        output = "number" if classes is None else "logits"
        program = _export(model, example[:TRACED_ROWS], output)
        content: bytes = _strip(program).SerializeToString(deterministic=True)
    finally:
        model.train(training)
    _compare(content, example, expected, output)
    return content


def _export(model: nn.Module, example: Floats, output: str) -> onnx.ModelProto:
    # A single row would be taken for a constant batch of one.
    rows = torch.from_numpy(example if len(example) > 1 else np.repeat(example, 2, axis=0))
    batch = torch.export.Dim("batch", min=1, max=BATCH_MAX)
    try:
        with _silence():
            program = torch.onnx.export(
                model,
                (rows,),
                dynamo=True,
                verbose=False,
                external_data=False,
                input_names=["input"],
                output_names=[output],
                dynamic_shapes=({0: batch},),
            )
    except Exception as error:  # the exporter passes on whatever the user's forward or its own passes raise
        first = next(iter(str(error).strip().splitlines()), "")
        raise InvalidInputError(
            f"{type(model).__name__} cannot be exported to ONNX with a free batch size: "
            f"{type(error).__name__}: {first}; forward() must not depend on the number of rows or on their values"
        ) from error
    assert program is not None  # None is what dynamo=False returns
    return program.model_proto


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporter talks about its own insides: deprecations in torch, passes, operators of the absent torchvision."""
    levels = {name: logging.getLogger(name).level for name in CHATTER}
    try:
        for name in CHATTER:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _strip(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove what says how the file was made; inferred shapes go too, as quantisation stumbles over them."""
    _forget(model)
    del model.graph.value_info[:]
    return model


def _forget(message: Any) -> None:
    """Clear the notes of a protobuf message and of every message in it."""
    names = message.DESCRIPTOR.fields_by_name
    for note in ("doc_string", "metadata_props"):
        if note in names:
            message.ClearField(note)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else (value,):
                _forget(part)


def _compare(content: bytes, example: Floats, expected: Floats, output: str) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (whole,) = session.run([output], {"input": example})
    (single,) = session.run([output], {"input": example[:1]})
    found = np.concatenate([whole, single])
    deviation = float(np.abs(found - np.concatenate([expected, expected[:1]])).max())
    # Logits are of the size of ones; a number has its own unit.
    most = DEVIATION_MAX * (1.0 if output == "logits" else max(1.0, float(np.abs(expected).max())))
    if not deviation <= most:  # NaN is a deviation too
        raise IntegrityError(
            f"the exported file's {output} are up to {deviation:g} away from the model's; at most {most:g} is "
            "rounding. Do not deploy it; export with the pinned torch and onnxruntime, or change the layer at fault"
        )
