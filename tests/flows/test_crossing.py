"""Cross-validation as runs do it: on demand, once for a recipe, with the same numbers for the final verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from pruneguard import attempts, lifecycle, pruning
from pruneguard.crossing import Crossing
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation.correctness import crossing
from pruneguard.evidence import Evidence, Measurement, PairedTable
from pruneguard.lifecycle import Job, Twin
from pruneguard.manifest import load_manifest
from pruneguard.policy import Rule
from pruneguard.pruning import recipe
from pruneguard.reporting import listener
from pruneguard.search import Trial
from pruneguard.verdict import Outcome
from pruneguard.workload import Snapshot, Workload, load
from tests.evaluation.small import table
from tests.flows.test_lifecycle import TINY, Bench, Heard

RULE = Rule("recipe", "non_inferior", "quality.cross_validated.paired", {"margin": 0.3, "alpha": 0.05}, "few", "more")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.policy = replace(made.policy, rules=(*made.policy.rules, RULE))
    made.adopt()
    return made


def begun(bench: Bench) -> tuple[Job, Evidence, Twin]:
    job = bench.begin()
    return job, lifecycle.admit(job), lifecycle.train(job)


def crossed(evidence: Evidence) -> dict[str, object]:
    return {name: m for name, m in evidence.measurements.items() if name.startswith(crossing.NAME)}


@pytest.mark.slow
def test_the_search_measures_it_and_the_final_verdict_rests_on_the_same_numbers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, data, twin = begun(bench)
    tried = attempts.attempt(job, twin, data, Trial("channels", 0.25))
    found = tried.evidence.get("quality.cross_validated.paired")
    assert isinstance(found, PairedTable)
    assert found.n == len(job.snapshot.train) + len(job.snapshot.gate)
    assert len(job.folds) == crossing.FOLDS
    assert "judges the recipe" in tried.evidence.context["cross-validation"]

    monkeypatch.setattr(pruning, "candidate", lambda *args, **kwargs: pytest.fail("made again"))
    evidence, verdict = lifecycle.judge(job, tried.candidate, twin.contender, data)
    assert crossed(evidence) == crossed(tried.evidence)
    assert verdict.findings[-1].outcome is Outcome.PASSED
    own, _ = lifecycle.judge(job, twin.contender, twin.contender, data)  # the dense networks of the folds are kept
    table = own.get("quality.cross_validated.paired")
    assert (table.candidate_only, table.twin_only, table.both_right) == (0, 0, found.both_right + found.twin_only)


def test_no_fold_is_trained_where_no_rule_names_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.adopt()
    job, data, twin = begun(bench)
    tried = attempts.attempt(job, twin, data, Trial("channels", 0.25))
    assert job.folds == []
    assert crossed(tried.evidence) == {}


CHANNELS = recipe.recipe("channels", [recipe.step({"prune": "channels"})])
BLOBS = """
from torch import nn
class Blobs:
    def build(self): return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 2))
    def data(self, directory): ...
"""


@dataclass
class Crossed:
    """Cross-validation of two blobs, 40 train and 20 gate rows, and what the candidates of its folds were made of."""

    crossing: Crossing
    measured: Mapping[str, Measurement]
    seen: list[Snapshot]


def measure(each: Crossing) -> Mapping[str, Measurement]:
    return each.of_candidate(CHANNELS, ratio=0.5, source=None, told="channels").measure()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Crossed:
    file = tmp_path_factory.mktemp("blobs") / "blobs.py"
    file.write_text(BLOBS)
    data = table(rows=40)
    for split in data.splits.values():
        split.x[:] = split.x / 4 + split.y[:, None] / 2
    made = Crossing(load(file, "Blobs"), data, replace(load_manifest(TINY), train_epochs=30, finetune_epochs=2))
    real, seen = pruning.candidate, []

    def watched(workload: Workload, twin: nn.Module, snapshot: Snapshot, *args: Any, **kwargs: Any) -> object:
        seen.append(snapshot)
        return real(workload, twin, snapshot, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pruning, "candidate", watched)
        return Crossed(made, measure(made), seen)


@pytest.mark.slow
def test_held_out_rows_are_shown_to_no_training_and_release_rows_to_nobody(small: Crossed) -> None:
    assert len(small.seen) == crossing.FOLDS
    release = {row.tobytes() for row in small.crossing.snapshot.release.x}
    for fold in small.seen:
        train, gate, held = ({row.tobytes() for row in split.x} for split in fold.splits.values())
        assert not (train | gate) & held
        assert not release & (train | gate | held)


@pytest.mark.slow
def test_the_networks_of_the_folds_are_trained_once_and_the_numbers_come_again(
    small: Crossed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "twin", lambda *args, **kwargs: pytest.fail("trained again"))
    assert measure(small.crossing) == small.measured
    assert small.measured["quality.cross_validated.paired"].n == 60


@pytest.mark.slow
def test_a_fold_that_lets_no_network_be_made_counts_as_answered_wrongly_and_is_told(
    small: Crossed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: Any, **kwargs: Any) -> None:
        raise InvalidInputError("nothing can leave")

    monkeypatch.setattr(pruning, "candidate", refused)
    heard = Heard()
    token = listener.set(heard)
    try:
        found = measure(small.crossing)
    finally:
        listener.reset(token)
    right = small.measured["quality.cross_validated.paired"]
    twin_right = right.both_right + right.twin_only
    assert found["quality.cross_validated.paired"] == PairedTable(0, 0, twin_right, 60 - twin_right)
    assert sum("answered wrongly: nothing can leave" in said for said in heard.said) == crossing.FOLDS
