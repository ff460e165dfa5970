"""What the real client does with a running gateway. Runs in the client's own environment and prints JSON.

Usage: python tritonclient_child.py HOST:PORT
"""

import json
import sys


def main(address):
    import numpy as np
    from tritonclient import http
    from tritonclient.utils import InferenceServerException

    client = http.InferenceServerClient(address)
    rows = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)

    def infer(*, sent=True, output=True, version="", datatype="FP32", values=rows, **options):
        given = http.InferInput("input", list(values.shape), datatype)
        given.set_data_from_numpy(values, binary_data=sent)
        wanted = [http.InferRequestedOutput("logits", binary_data=output)]
        answer = client.infer("digits", [given], model_version=version, outputs=wanted, request_id="a-1", **options)
        found = answer.get_response()
        return [found["model_version"], found["id"], answer.as_numpy("logits").tolist()]

    def error(act):
        try:
            act()
        except InferenceServerException as refused:
            return [refused.status(), refused.message()]
        return None

    found = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready("digits"),
        "version_ready": client.is_model_ready("digits", "1"),
        "unknown_ready": client.is_model_ready("letters"),
        "server": client.get_server_metadata(),
        "model": client.get_model_metadata("digits"),
        "index": client.get_model_repository_index(),
        "four": [infer(sent=sent, output=output) for sent in (True, False) for output in (True, False)],
        "old": infer(version="1"),
        "gzip": infer(request_compression_algorithm="gzip"),
        "deflate": infer(request_compression_algorithm="deflate", response_compression_algorithm="gzip"),
        "no_version": error(lambda: infer(version="9")),
        "no_model": error(lambda: client.get_model_metadata("letters")),
        "datatype": error(lambda: infer(datatype="FP64", values=rows.astype(np.float64))),
        "shape": error(lambda: infer(values=rows[:, :3])),
        "nan": error(lambda: infer(values=rows * np.nan)),
    }
    client.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
