"""A process that answers once and says what it took: started by `memory`, and small, so that little else is measured.

    python -m pruneguard.evaluation.efficiency.resident 64 3 32 32 < model.onnx

loads the file as it is served, answers a batch of zeros of that shape, and prints by how many bytes the peak resident
memory of the process (VmHWM) has grown since before it read the file.
"""

import sys
from pathlib import Path

import numpy as np

from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.sessions import Session

STATUS = Path("/proc/self/status")


def grown(onnx: bytes, shape: tuple[int, ...], *, before: int) -> int:
    """Bytes by which the peak is above `before` once the model has answered rows of this shape."""
    Session(onnx).run(np.zeros(shape, dtype=np.float32))
    return peak() - before


def peak() -> int:
    """The highest resident memory that this process ever had, in bytes."""
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    start = peak()
    try:
        print(grown(sys.stdin.buffer.read(), tuple(map(int, sys.argv[1:])), before=start))
    except InvalidInputError as error:
        sys.exit(str(error))
