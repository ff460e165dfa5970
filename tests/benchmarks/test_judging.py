"""What the benchmark of the gates draws is what it says, and what it counts is what the real gates say."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks import gates
from benchmarks.judging import groups, margins
from benchmarks.judging.margins import NAME, Rate, Scene
from benchmarks.judging.passes import Bill
from benchmarks.judging.sieges import Fallen
from benchmarks.rows import Row
from pruneguard.evidence import Estimate


def mean(draw: Callable[[np.random.Generator], object], *, of: int) -> float:
    random = np.random.default_rng(0)
    return float(np.mean([draw(random)[NAME].value for _ in range(of)]))  # type: ignore[index]


def quiet(label: str, total: int) -> Callable[[int], None]:
    return lambda done: None


def test_every_scene_is_of_a_model_that_lies_where_it_says() -> None:
    assert mean(lambda random: margins._flips(1000, 0.1, random), of=200) == pytest.approx(0.1, abs=0.003)
    assert mean(lambda random: margins._divergence(1000, 0.1, random), of=200) == pytest.approx(0.1, abs=0.006)
    assert mean(lambda random: margins._auroc_drop(500, 300, 0.02, random), of=400) == pytest.approx(0.02, abs=0.002)
    assert mean(lambda random: margins._latency(60, 0.9, random), of=50) == pytest.approx(0.9, abs=0.01)
    assert mean(lambda random: margins._calibration(1000, "brier", 0.02, random), of=10) == pytest.approx(
        0.02, abs=5e-3
    )
    tables = [margins._drawn(1000, 0.1, 0.03, np.random.default_rng(seed)) for seed in range(200)]
    assert np.mean([table.difference for table in tables]) == pytest.approx(-0.03, abs=0.002)
    assert np.mean([table.discordance for table in tables]) == pytest.approx(0.1, abs=0.003)


@pytest.mark.parametrize(("value", "passed"), [(0.1, 50), (0.2, 0)])
def test_a_rate_counts_what_the_real_gate_lets_pass(value: float, passed: int) -> None:
    scene = Scene("at_most", "", {"limit": 0.15}, lambda random: {NAME: Estimate(value, n=10)})
    assert margins.rate(scene, repetitions=50, seed=0).passed == passed


def test_the_worst_scene_is_the_row_and_all_are_told() -> None:
    scenes = [Scene("at_most", words, {}, lambda random: {}) for words in ("mild", "hard")]
    row = gates._worst([Rate(scenes[0], 3, 100), Rate(scenes[1], 9, 100)], name="false", goal="<= 0.055")
    assert (row.value, row.met) == (0.09, False)
    assert "mild: 3.00 %" in row.how
    assert "hard: 9.00 %" in row.how


def test_passes_count_attacks_apart() -> None:
    bill = Bill({"quality": 2.0, "robustness.noise": 4.0, "robustness.pgd": 10.0}, 0.5, 1000)
    assert (bill.passes(attacks=False), bill.passes(attacks=True)) == (12, 20)


def test_a_stronger_attack_of_a_peer_is_a_gap_above_zero() -> None:
    assert Fallen("art", "pgd", ours=0.5, theirs=0.47).gap_points == pytest.approx(3)


def test_groups_differ_in_size_and_in_how_well_they_are_answered() -> None:
    answers = groups.Answers.drawn(rows=4000, groups=4, seed=0)
    sizes = [int((answers.groups == name).sum()) for name in np.unique(answers.groups)]
    assert sizes == sorted(sizes)
    right = answers.y == answers.predicted
    assert right[answers.groups == "g00"].mean() > right[answers.groups == "g03"].mean()


def test_error_rates_become_two_rows_and_the_powers(monkeypatch: pytest.MonkeyPatch) -> None:
    few = [s for s in margins.scenes() if "n 300, discordance" in s.words or "slices of 100" in s.words]
    monkeypatch.setattr(margins, "scenes", lambda: iter(few))
    rows: list[Row] = list(gates.error_rates(quick=True, progress=quiet))
    names = [row.name.partition(":")[0] for row in rows]
    assert names[:2] == ["false_pass_at_margin", "slices_false_refusal_at_margin"]
    assert set(names[2:]) == {"power"}
    assert all(0 <= row.low <= row.value <= row.high <= 1 for row in rows)
