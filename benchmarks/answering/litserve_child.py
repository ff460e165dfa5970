"""Runs in LitServe's own environment: `python -m benchmarks.answering.litserve_child PORT WORKERS`."""

import base64
import os
import sys
from typing import Any

import litserve  # type: ignore[import-not-found]
import numpy as np
import onnxruntime


class Answers(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["ONNX"], options)
        self._shape = tuple(int(size) for size in os.environ["SHAPE"].split(","))

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201  # read as a query otherwise
        if "base64" in request:
            return np.frombuffer(base64.b64decode(request["base64"]), np.float32).reshape(-1, *self._shape)
        return np.asarray(request["rows"], np.float32).reshape(-1, *self._shape)

    def predict(self, x: Any) -> Any:
        return self._session.run(None, {"input": x})[0]

    def encode_response(self, output: Any) -> Any:
        return {"logits": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Answers(), accelerator="cpu", workers_per_device=int(sys.argv[2]), timeout=30)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="error", generate_client_file=False)
