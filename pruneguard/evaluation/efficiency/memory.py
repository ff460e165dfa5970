"""How much memory a file takes while it answers: measured in a process of its own, as a server would start it.

Peaks of a process only grow, so one that did other things before cannot tell. What is measured is the file in memory,
the weights, the runtime's buffers and the activations of one batch; a repetition differs by less than a hundredth.
"""

import os
import subprocess
import sys

import numpy as np
import numpy.typing as npt

from pruneguard.errors import InvalidInputError, UnavailableError
from pruneguard.evaluation.contender import Contender, Pair
from pruneguard.evaluation.efficiency import resident
from pruneguard.evaluation.estimates import exact
from pruneguard.evidence import Measurement
from pruneguard.workload import Floats

BATCH = 64
TIMEOUT_S = 120.0
_QUIET = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
"""Threads bring heaps of their own, whose size is chance."""


def measure(pair: Pair, rows: Floats) -> dict[str, Measurement]:
    """`efficiency.memory.peak` in bytes while BATCH rows are answered, and `efficiency.memory.ratio` to the twin's.

    Costs the start of a process, and of one more for the first candidate of a twin. Raises InvalidInputError where the
    model fails on the batch, UnavailableError where no process comes to an end.
    """
    shape = (BATCH, *rows.shape[1:])

    def taken(contender: Contender) -> npt.NDArray[np.int64]:
        return np.array([peak(contender.onnx, shape)])

    about = np.array(shape)
    twins = pair.yardstick.once(f"peak memory of {pair.twin.digest}", about, compute=lambda: taken(pair.twin))
    ours = int((twins if pair.same else taken(pair.candidate))[0])
    return {
        "efficiency.memory.peak": exact(ours, n=1, unit="By"),
        "efficiency.memory.ratio": exact(ours / int(twins[0]), n=1),
    }


def lacks() -> str | None:
    """Why it cannot be measured here."""
    return None if resident.STATUS.is_file() else "peak memory is read from /proc, which this system does not have"


def peak(onnx: bytes, shape: tuple[int, ...]) -> int:
    """Bytes that loading a model and answering one batch of this shape add to a fresh process at its peak."""
    command = [sys.executable, "-m", resident.__name__, *map(str, shape)]
    try:
        ended = subprocess.run(  # noqa: S603 - this interpreter and a module of ours
            command, input=onnx, capture_output=True, timeout=TIMEOUT_S, env=os.environ | _QUIET, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"peak memory could not be measured: {error}; try again on a calmer machine") from error
    if ended.returncode:
        said = " ".join(ended.stderr.decode(errors="replace").split())[-400:]
        raise InvalidInputError(
            f"the model failed on a batch {list(shape)} in a process of its own (exit {ended.returncode}): "
            f"{said or 'it was killed; give it more memory'}"
        )
    return int(ended.stdout)
