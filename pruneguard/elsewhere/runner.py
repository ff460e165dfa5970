"""Answers with a released model on a device, and keeps sealed observations: needs onnxruntime and numpy, nothing else.

    python run.py DIGEST DEVICE rows.npy     DIGEST is what `pruneguard export edge` printed. Learn it another way than
                                             by this folder: who changes the folder could change a digest in it

As a library: `Edge(folder, DIGEST, DEVICE).answer(rows)`. Rows are float32 [n, ...] as the model takes them, finite.

Each answered row is a line of JSON in `observations/`: when, the SHA-256 of the row's bytes (not the row), the answer,
and the SHA-256 of the line before. So no line is changed, taken out or put in between without breaking the chain; that
the device tells the truth, no chain can say. `pruneguard import edge` takes the files in and checks them.
"""

import hashlib
import json
import os
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

LINES_MAX = 10_000
"""Lines of a file; all but the newest file can be taken away while this runs."""


class Edge:
    """The model of a folder, once every file in it is what it was at the export. `device`: a-z 0-9 . _ -, its own."""

    def __init__(self, folder: Path, digest: str, device: str) -> None:
        if not re.fullmatch("[a-z0-9][a-z0-9._-]{0,63}", device):
            raise SystemExit(f"{device!r} names no device; expected a-z 0-9 . _ -, 64 at most")
        about = (folder / "release" / "release.json").read_bytes()
        if (found := digest_of(about)) != digest:
            raise SystemExit(f"release.json is {found}, not {digest}: this is not the folder that was exported")
        self.about = json.loads(about)
        for name, expected in self.about["files"].items():
            if (found := digest_of((folder / name).read_bytes())) != expected:
                raise SystemExit(f"{name} is {found}, not {expected}: it was changed after the export")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        model = (folder / "model.onnx").read_bytes()
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0]
        self._chain = Chain(folder / "observations", {"release": digest, "device": device})

    def answer(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The model's answers [n, ...], after they were written down. Raises ValueError for rows that are none."""
        shape = self._input.shape[1:]
        fits = rows.ndim == len(shape) + 1 and all(
            size == want or not isinstance(want, int) for size, want in zip(rows.shape[1:], shape, strict=True)
        )
        if rows.dtype != np.float32 or not fits or not np.isfinite(rows).all():
            raise ValueError(f"{rows.dtype} {list(rows.shape)}; expected finite float32 {['rows', *shape]}")
        answers: npt.NDArray[np.float32] = self._session.run(None, {self._input.name: rows})[0]
        if not np.isfinite(answers).all():
            raise ValueError("these rows overflow the model: its answer is not finite")
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        inputs = [digest_of(np.ascontiguousarray(row, dtype="<f4").tobytes()) for row in rows]
        told = zip(inputs, answers.reshape(len(rows), -1).tolist(), strict=True)
        self._chain.add([{"time": now, "input": digest, "answer": answer} for digest, answer in told])
        return answers


class Chain:
    """Lines that each name the one before by its digest, in files that are full at LINES_MAX, durably."""

    def __init__(self, folder: Path, first: dict[str, Any]) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._first, self._last, self._lines, self._number = folder, first, "", 0, 0
        for path in sorted(folder.glob("[0-9]*.jsonl"))[-1:]:
            content = path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            os.truncate(path, len(whole))  # a line that a power cut tore was acknowledged to nobody
            lines, self._number = whole.splitlines(), int(path.stem)
            self._last, self._lines = digest_of(lines[-1]) if lines else "", len(lines)

    def add(self, told: list[dict[str, Any]]) -> None:
        """Write these lines down. Where that fails, none of them is there, and the error is raised."""
        if self._number == 0 or self._lines >= LINES_MAX:
            self._number, self._lines = self._number + 1, 0
        path, last, lines = self._folder / f"{self._number:08}.jsonl", self._last, list[bytes]()
        for one in [*([self._first] if self._lines == 0 else []), *told]:
            line = json.dumps({**one, "before": last}, sort_keys=True, allow_nan=False).encode()
            last = digest_of(line)
            lines.append(line + b"\n")
        size = path.stat().st_size if path.exists() else 0
        try:
            with path.open("ab") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                os.truncate(path, size)
            raise
        self._last, self._lines = last, self._lines + len(lines)


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    edge = Edge(Path(__file__).parent, sys.argv[1], sys.argv[2])
    for row in edge.answer(np.load(sys.argv[3], allow_pickle=False)):
        print(json.dumps(row.tolist()))
