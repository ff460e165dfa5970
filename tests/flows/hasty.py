"""`python -m tests.flows.hasty ARGUMENTS`: the command line, with drills of one bad and one good network in a hurry."""

import sys
from functools import partial

from pruneguard.cli import main
from pruneguard.drill import bench, holding
from pruneguard.drill.faults import FAULTS
from pruneguard.drill.suite import artefact_test
from pruneguard.evaluation.efficiency import latency

BAD = "shuffled channels"


def hurry() -> None:
    """Teach the networks little, and make two of them."""
    bench.TWIN_EPOCHS, bench.CANDIDATE_EPOCHS, latency.SECONDS_MAX = 5, 1, 0.01
    faults = [fault for fault in FAULTS if fault.name == BAD]
    vars(holding).update(artefact_test=partial(artefact_test, faults=faults, clean=1))


if __name__ == "__main__":
    hurry()
    sys.exit(main(sys.argv[1:]))
