"""Runs in MLServer's own environment: a runtime as its documentation shows one, around onnxruntime."""

import base64
import os

import numpy as np
import onnxruntime
from mlserver import MLModel  # type: ignore[import-not-found]
from mlserver.codecs import NumpyCodec  # type: ignore[import-not-found]
from mlserver.types import InferenceRequest, InferenceResponse  # type: ignore[import-not-found]


class Answers(MLModel):  # type: ignore[misc]
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["ONNX"], options)
        self._shape = tuple(int(size) for size in os.environ["SHAPE"].split(","))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        given = payload.inputs[0]
        if given.datatype == "BYTES":
            rows = np.frombuffer(base64.b64decode(given.data[0]), np.float32).reshape(-1, *self._shape)
        else:
            rows = NumpyCodec.decode_input(given)
        (logits,) = self._session.run(None, {"input": rows})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("logits", logits)])
