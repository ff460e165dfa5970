"""Runs in BentoML's own environment: `bentoml serve benchmarks.answering.bentoml_child:Answers`."""

import base64
import os

import bentoml  # type: ignore[import-not-found]
import numpy as np
import onnxruntime


@bentoml.service(workers=int(os.environ["WORKERS"]), metrics={"enabled": False}, tracing={"sample_rate": 0.0})
class Answers:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["ONNX"], options)
        self._shape = tuple(int(size) for size in os.environ["SHAPE"].split(","))

    @bentoml.api  # type: ignore[untyped-decorator]
    def infer(self, rows: list[list[float]]) -> list[list[float]]:
        return self._answer(np.asarray(rows, np.float32).reshape(-1, *self._shape))

    @bentoml.api  # type: ignore[untyped-decorator]
    def packed(self, rows: str) -> list[list[float]]:
        return self._answer(np.frombuffer(base64.b64decode(rows), np.float32).reshape(-1, *self._shape))

    def _answer(self, rows: "np.ndarray") -> list[list[float]]:
        logits: list[list[float]] = self._session.run(None, {"input": rows})[0].tolist()
        return logits
