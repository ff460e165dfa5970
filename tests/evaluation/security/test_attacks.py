from dataclasses import replace

import numpy as np
import pytest
import torch

from pruneguard import canonical
from pruneguard.evaluation.contender import Contender, Pair
from pruneguard.evaluation.domain import Domain
from pruneguard.evaluation.security import attacks
from pruneguard.evaluation.security.attacks import Siege
from pruneguard.evaluation.security.attacks import siege as sieges
from pruneguard.evaluation.security.attacks.families import EPSILONS
from pruneguard.evidence import PairedTable
from pruneguard.pruning import quantising
from pruneguard.statistics import tango_lower, tango_upper
from pruneguard.workload import Split
from tests.evaluation.security.test_whitebox import Wrapped
from tests.evaluation.small import linear


@pytest.fixture
def siege(pair, digits) -> Siege:
    return Siege.of(pair, digits.gate.taken(np.arange(100)), Domain.of(digits), seed=0)


def crossed() -> tuple[Contender, Contender, Siege]:
    """Two that look at a feature of their own each, near its boundary at 0: no row that fools one fools the other."""
    sign = np.where(np.arange(40) % 2, 1, -1)
    x = (0.02 * sign[:, None] * np.ones(2)).astype(np.float32)
    first, second = linear([[40.0, -40.0], [0.0, 0.0]]), linear([[0.0, 0.0], [40.0, -40.0]])
    domain = Domain(low=-1.0, high=1.0, kind="table", mean=np.zeros(2, "f4"), spread=np.ones(2, "f4"))
    pair = Pair.load(first, second, classes=2)
    return first, second, Siege.of(pair, Split(x, (sign < 0).astype(np.int64)), domain, seed=0)


def test_each_model_is_attacked_through_its_own_gradients():
    _, _, siege = crossed()
    for attack in ("fgsm", "pgd"):
        assert attacks.paired_under(siege, attack=attack) == {f"robustness.{attack}.paired": PairedTable(0, 0, 0, 40)}
    assert attacks.square_paired(siege) == {"robustness.square.paired": PairedTable(0, 0, 0, 40)}


def test_a_transfer_turns_each_models_rows_on_the_other():
    _, _, siege = crossed()
    assert attacks.transfer(siege) == {"robustness.transfer.paired": PairedTable(40, 0, 0, 0)}


def test_a_twin_against_itself_gets_the_same_rows_under_every_attack(twin, digits):
    siege = Siege.of(Pair.load(twin, twin, classes=10), digits.gate, Domain.of(digits), seed=0)
    assert (
        attacks.transfer(siege)["robustness.transfer.paired"]
        == attacks.paired_under(siege, attack="pgd")["robustness.pgd.paired"]
    )
    assert attacks.masking(siege)["robustness.masking.share_increase"].value == 0


def test_many_rows_are_sampled(pair, digits, monkeypatch):
    monkeypatch.setattr(sieges, "ROWS_MAX", 50)
    siege = Siege.of(pair, digits.gate, Domain.of(digits), seed=0)
    (found,) = attacks.paired_under(siege, attack="fgsm").values()
    assert found.n == 50


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_a_sweep_has_a_table_for_every_size_of_ball_and_nobody_gets_up_again(siege, attack):
    tables = attacks.sweep(siege, attack=attack)
    assert list(tables) == [f"robustness.{attack}_sweep.paired.slice.epsilon={e:g}" for e in EPSILONS]
    ours = [table.both_right + table.candidate_only for table in tables.values()]
    theirs = [table.both_right + table.twin_only for table in tables.values()]
    for standing in (ours, theirs):
        assert standing == sorted(standing, reverse=True)
        assert standing[0] > standing[-1] + 50
    assert {table.n for table in tables.values()} == {100}


def test_a_sweep_falls_at_least_as_deep_as_one_attack_of_its_size(siege):
    at_epsilon = attacks.sweep(siege, attack="pgd")["robustness.pgd_sweep.paired.slice.epsilon=0.05"]
    alone = attacks.paired_under(siege, attack="pgd")["robustness.pgd.paired"]
    assert at_epsilon.both_right + at_epsilon.candidate_only <= alone.both_right + alone.candidate_only


def test_an_attack_is_made_once_and_the_twins_answers_outlive_the_candidate(pair, digits, monkeypatch):
    made = []
    pgd = sieges.ATTACKS["pgd"]
    counted = {"pgd": lambda model, *args, **kwargs: made.append(model) or pgd(model, *args, **kwargs)}
    monkeypatch.setattr(sieges, "ATTACKS", counted)
    fresh = Pair.load(pair.candidate, pair.twin, classes=10)
    rows = digits.gate.taken(np.arange(20))
    for _ in range(2):
        siege = Siege.of(fresh, rows, Domain.of(digits), seed=0)
        first = attacks.paired_under(siege, attack="pgd")
        assert attacks.paired_under(siege, attack="pgd") == first
    assert made == [pair.twin.model, pair.candidate.model, pair.candidate.model]


# -- masking ------------------------------------------------------------------------------------------------------


def test_gradients_that_show_the_way_mask_little(siege):
    found = attacks.masking(siege)
    assert found["robustness.masking.share"].value <= 0.05
    assert found["robustness.masking.share_increase"].low < 0 < found["robustness.masking.share_increase"].high


def saturated(contender: Contender) -> Contender:
    """The same file; the network's logits so large that most gradients of its loss are zero."""
    return replace(contender, digest="sha256:saturated", network=Wrapped(contender.model, lambda x: x, after=1e4))


def test_a_candidate_whose_gradients_vanish_looks_strong_to_pgd_and_is_found_masked(pair, digits):
    masked = Pair.load(saturated(pair.candidate), pair.twin, classes=10)
    siege = Siege.of(masked, digits.gate.taken(np.arange(100)), Domain.of(digits), seed=0)
    assert siege.obstacle is None
    plain = Siege.of(pair, digits.gate.taken(np.arange(100)), Domain.of(digits), seed=0)
    seen, true = (attacks.paired_under(each, attack="pgd")["robustness.pgd.paired"] for each in (siege, plain))
    assert seen.difference >= true.difference + 0.08
    found = attacks.masking(siege)
    assert found["robustness.masking.share"].value >= 0.1
    assert found["robustness.masking.share_increase"].low > 0


def test_the_increase_in_masking_is_paired_on_the_same_rows(siege, monkeypatch):
    ours = np.arange(100) < 30
    theirs = (np.arange(100) >= 20) & (np.arange(100) < 25)
    nobody = np.zeros(100, dtype=bool)
    everybody = ~nobody
    monkeypatch.setattr(siege, "square", lambda: (~ours, ~theirs))
    monkeypatch.setattr(siege, "transfer", lambda: (everybody, everybody))
    monkeypatch.setattr(
        siege, "gradient", lambda attack, *, epsilon=0: (nobody, nobody) if epsilon else (everybody, everybody)
    )
    found = attacks.masking(siege)["robustness.masking.share_increase"]
    table = PairedTable(5, 25, 0, 70)
    assert (found.value, found.low, found.high) == (
        0.25,
        tango_lower(table, alpha=0.025),
        tango_upper(table, alpha=0.025),
    )


def test_who_is_right_nowhere_proves_nothing_about_masking(digits, twin):
    rows = digits.gate.taken(np.arange(30))
    wrong = Split(rows.x, (rows.y + 1) % 10)
    never = Pair.load(replace(twin, digest="sha256:other"), twin, classes=10)
    siege = Siege.of(never, wrong, Domain.of(digits), seed=0)
    siege.y[:] = (never.twin_session.logits(siege.x).argmax(1) + 1) % 10
    assert all(np.isnan(each.value) for each in attacks.masking(siege).values())


# -- where no attack is possible ----------------------------------------------------------------------------------


def test_the_obstacle_names_whose_it_is(pair, digits):
    rows, domain = digits.gate.taken(np.arange(9)), Domain.of(digits)
    rounded = replace(pair.candidate, digest="sha256:rounded", network=Wrapped(pair.candidate.model, torch.round))
    found = Siege.of(Pair.load(rounded, pair.twin, classes=10), rows, domain, seed=0).obstacle
    assert found == "the gradient is zero on all 9 rows (candidate)"
    alone = replace(pair.twin, network=None)
    found = Siege.of(Pair.load(pair.candidate, alone, classes=10), rows, domain, seed=0).obstacle
    assert found == "takes the network, and there is only the twin's file"


def test_square_needs_no_network_and_leaves_ids_alone(pair, digits):
    rows, domain = digits.gate.taken(np.arange(9)), Domain.of(digits)
    files = Pair.load(replace(pair.candidate, network=None), replace(pair.twin, network=None), classes=10)
    siege = Siege.of(files, rows, domain, seed=0)
    assert siege.ids is None
    assert attacks.square_paired(siege)["robustness.square.paired"].n == 9
    whole = Siege.of(files, Split(np.rint(rows.x), rows.y), domain, seed=0)
    assert whole.ids == "the rows are whole numbers that no gradient reaches"
    assert Siege.of(pair, Split(np.rint(rows.x), rows.y), domain, seed=0).ids is None
    assert Siege.of(pair, rows, replace(domain, kind="text"), seed=0).ids == "the rows are token ids"


def test_what_8_bits_do_to_the_answers_counts_under_attack(pair, digits):
    made = quantising.int8(pair.candidate.onnx, digits.train.x).content
    broken = Contender(canonical.digest(made), made, pair.candidate.model, unrounded=pair.candidate.onnx)
    siege = Siege.of(Pair.load(broken, pair.candidate, classes=10), digits.gate, Domain.of(digits), seed=0)
    table = attacks.square_paired(siege)["robustness.square.paired"]
    assert table.discordance > 0  # one network, two files, each asked itself
    assert abs(table.difference) < 0.1


def test_rows_of_one_class_are_attacked_like_any(pair, digits):
    ones = digits.gate.taken(digits.gate.y == 1)
    siege = Siege.of(pair, ones, Domain.of(digits), seed=0)
    assert attacks.paired_under(siege, attack="pgd")["robustness.pgd.paired"].n == len(ones)
    assert attacks.masking(siege)["robustness.masking.share"].n == len(ones)
