"""An ONNX artefact, ready to answer. What is evaluated is what is served: both go through this file."""

import os
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from pruneguard.errors import InvalidInputError
from pruneguard.workload import Floats, Integers

NO_ANSWER = -1
"""The prediction for a row whose logits are not all finite: equal to no label, so never right."""

# onnxruntime's errors share no base class below Exception.
_REFUSALS = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
    ValueError,
)

_Node: TypeAlias = tuple[str, str, tuple[int | str | None, ...]]
"""Name, type and shape of an input or output; a dynamic dimension is a name or None."""


class Session:
    """One model in onnxruntime on the CPU: rows in, logits out. Safe to call from several threads.

    The model has one float32 input [batch, ...] and one float32 output, the batch dynamic: [batch, classes], or
    [batch, 1] or [batch] of a regression, whose number then stands in the place of the logits. `input_shape` is the
    shape of one row, -1 where a dimension is dynamic; `width` how many numbers an answer has, `classes` how many of
    them are logits, None of a regression.

    Raises InvalidInputError when the bytes are not such a model.
    """

    def __init__(self, onnx: bytes, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what it would log, it also raises
        # Spinning threads win microseconds and take the cores from everybody else in the process.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Weights in a file beside the model would not be covered by its digest; below this path there are no files.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        try:
            self._session = onnxruntime.InferenceSession(
                onnx, options, providers=["CPUExecutionProvider"], enable_fallback=False
            )
            inputs, outputs = (
                [(node.name, node.type, tuple(node.shape)) for node in nodes]  # decodes text, and can fail at it
                for nodes in (self._session.get_inputs(), self._session.get_outputs())
            )
        except _REFUSALS as error:
            raise InvalidInputError(
                f"these {len(onnx)} bytes are not a model that onnxruntime loads: {error}; export it to ONNX again"
            ) from error
        self._input, self.input_shape = _input(inputs)
        self.width = _width(outputs)
        self.classes = self.width if self.width > 1 else None

    def logits(self, x: Floats, *, batch: int = 256) -> Floats:
        """Answers [n, width] to rows [n, ...], computed `batch` rows at a time. What is not finite stays so.

        Raises InvalidInputError for rows of another type or shape, and for a model that fails on them.
        """
        self._require_rows(x)
        answers = np.empty((len(x), self.width), dtype=np.float32)
        for start in range(0, len(x), batch):
            rows = x[start : start + batch]
            answer = self.run(rows)
            if answer.shape != (len(rows), self.width) and not (self.width == 1 and answer.shape == (len(rows),)):
                raise InvalidInputError(
                    f"the model answered {len(rows)} rows with an array {list(answer.shape)}; "
                    f"expected {[len(rows), self.width]}; export it with a dynamic batch"
                )
            answers[start : start + batch] = answer.reshape(len(rows), self.width)
        return answers

    @property
    def said(self) -> str:
        """What one answer is, in words."""
        return "one number" if self.classes is None else f"{self.classes} logits"

    def run(self, x: Floats) -> Floats:
        """The model's bare answer to one batch, unchecked: what a latency measurement times."""
        try:
            answer: Floats = self._session.run(None, {self._input: x})[0]
        except _REFUSALS as error:
            raise InvalidInputError(
                f"the model failed on a batch {list(x.shape)}: {error}; export it with a dynamic batch and try again"
            ) from error
        return answer

    def _require_rows(self, x: Floats) -> None:
        if x.dtype != np.float32:
            raise InvalidInputError(f"the rows are {x.dtype}; the model expects float32; convert them")
        row = x.shape[1:]
        if len(row) != len(self.input_shape) or any(
            want not in (-1, got) for want, got in zip(self.input_shape, row, strict=True)
        ):
            raise InvalidInputError(
                f"the rows have the shape {list(x.shape)}; the model expects {['batch', *self.input_shape]}"
            )


def probabilities(logits: Floats) -> npt.NDArray[np.float64]:
    """Softmax over the last axis, in double precision; a row with a logit that is not finite becomes NaN."""
    wide = logits.astype(np.float64)
    finite = np.isfinite(wide).all(axis=-1, keepdims=True)
    wide = np.where(finite, wide, 0.0)
    odds = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.where(finite, odds / odds.sum(axis=-1, keepdims=True), np.nan)


def predictions(logits: Floats) -> Integers:
    """The most likely class of each row, the lowest on a tie; NO_ANSWER where a logit is not finite."""
    best = logits.argmax(axis=1).astype(np.int64)
    return np.where(np.isfinite(logits).all(axis=1), best, NO_ANSWER)


def _input(inputs: list[_Node]) -> tuple[str, tuple[int, ...]]:
    if len(inputs) != 1 or inputs[0][1] != "tensor(float)" or not inputs[0][2]:
        raise InvalidInputError(f"the model's inputs are {inputs}; expected one float32 tensor [batch, ...]")
    name, _, (batch, *row) = inputs[0]
    if isinstance(batch, int):
        raise InvalidInputError(f"the model takes batches of {batch} only; export it with a dynamic batch")
    return name, tuple(size if isinstance(size, int) else -1 for size in row)


def _width(outputs: list[_Node]) -> int:
    if len(outputs) != 1 or outputs[0][1] != "tensor(float)" or len(outputs[0][2]) not in (1, 2):
        raise InvalidInputError(
            f"the model's outputs are {outputs}; expected one float32 tensor [batch, classes], or [batch] for numbers"
        )
    _, width = outputs[0][2] if len(outputs[0][2]) == 2 else (None, 1)
    if not isinstance(width, int):
        raise InvalidInputError(f"the model's output is {outputs[0]}; its number of classes must be fixed")
    return width
