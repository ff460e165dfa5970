"""The benchmark of the gates from its first row to its last, on little work and where no peer can be installed."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks import gates
from benchmarks.judging import margins, passes
from benchmarks.peers import environments
from benchmarks.peers.peer import Unable
from benchmarks.rows import Row
from pruneguard.drill import bench, digits
from pruneguard.drill.faults import FAULTS
from pruneguard.evaluation.efficiency import latency
from pruneguard.workload import Snapshot, Split
from tests.flows.conftest import TINY

pytestmark = pytest.mark.slow

SCENES = (
    ("non_inferior", False),
    ("non_inferior", True),
    ("slices_non_inferior", False),
    ("slices_non_inferior", True),
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str, packages: object) -> None:
        raise Unable(f"{name} cannot be installed here")

    every = list(margins.scenes())
    few = [next(scene for scene in every if (scene.gate, scene.power) == wanted) for wanted in SCENES]
    monkeypatch.setattr(environments, "python", absent)
    monkeypatch.setattr(margins, "scenes", lambda: iter(few))
    monkeypatch.setattr(passes, "_snapshot", lambda rows: clothes())
    monkeypatch.setattr(gates, "POLICY", TINY.parent / "policy.yaml")  # the standard one has everything measured
    monkeypatch.setattr(bench, "TWIN_EPOCHS", 5)
    monkeypatch.setattr(bench, "CANDIDATE_EPOCHS", 1)
    monkeypatch.setattr(latency, "SECONDS_MAX", 0.01)
    monkeypatch.setattr(gates, "FAULTS", [fault for fault in FAULTS if fault.name == "shuffled channels"])


def clothes() -> Snapshot:
    """Noise in the shape of Fashion-MNIST."""
    random = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.int64) % digits.CLASSES
    train, gate, release = (Split(random.random((60, 1, 28, 28)).astype(np.float32), labels) for _ in range(3))
    return Snapshot(train, gate, release, classes=digits.CLASSES, bounds=(0.0, 1.0))


def quiet(label: str, total: int) -> Callable[[int], None]:
    return lambda done: None


@pytest.mark.usefixtures("small")
def test_every_row_is_measured_or_says_why_not() -> None:
    rows = {row.name: row for row in gates.run(quick=True, progress=quiet)}
    measured = ("false_pass_at_margin", "slices_false_refusal_at_margin", "suite_passes", "attack_passes")
    judged = ("bad_artefacts_refused", "clean_passed")
    absent = (
        "bootstrap_speedup",
        *(f"{attack} of {peer}" for peer in ("art", "foolbox") for attack in ("fgsm", "pgd")),
    )
    powers = [name for name in rows if name.startswith("power: ")]
    assert rows.keys() == {*measured, *judged, *absent, *powers}
    assert len(powers) == 2
    for name in (*measured, *judged):
        assert np.isfinite(rows[name].value), name
    assert rows["bad_artefacts_refused"].value == 1
    for name in absent:
        assert not rows[name].met
        assert "cannot be installed here" in rows[name].how
    assert told(rows["suite_passes"]) >= {"quality", "calibration", "efficiency", "robustness.noise", "robustness.pgd"}


def told(row: Row) -> set[str]:
    """The families that a bill names."""
    return {part.rpartition(" ")[0] for part in row.how.partition("in passes of the twin: ")[2].split(", ")}
